import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { gruConfig } from '../../lib/encoder/config.js'
import { loadEncoder, saveEncoder } from '../../lib/encoder/model_files.js'
import { defineSchema, Encoder, type EventSource, fromRows, type PretrainOptions, pretrain } from '../../lib/index.js'
import { expectSameBits } from '../support/close.js'
import { openDevice } from '../support/devices.js'
import { temporaryFolder } from '../support/folder.js'
import { smallSource } from '../support/small_source.js'
import { expectStopAtOnce, expectStopBehindOthers, stopAfter } from '../support/stops.js'

const source = smallSource()
const small: PretrainOptions = {
  width: 16,
  blocks: 1,
  heads: 2,
  attentionSize: 8,
  batchEvents: 256,
  epochs: 3,
  seed: 1,
}

// Other processes may keep this one from the cores for longer than a bound on time: hence the further tries.
const timing = { retry: 4 }

/** All weights of an encoder as one array. */
async function weights(options: PretrainOptions): Promise<Float32Array> {
  const { encoder } = await pretrain(source, options)
  return weightsOf(encoder)
}

async function weightsOf(encoder: Encoder): Promise<Float32Array> {
  const values = await Promise.all(encoder.parameters.map(parameter => parameter.value.read()))
  encoder.dispose()
  return Float32Array.from(values.flatMap(array => [...array]))
}

describe('pretrain', () => {
  it('lowers the loss, trained and held out, on both tasks', async () => {
    const { log, encoder } = await pretrain(source, { ...small, epochs: 12, heldOut: 0.2 })
    expect(log.length).toBe(12)
    expect(log.at(-1)!.loss).toBeLessThan(0.8 * log[0].loss)
    expect(log.at(-1)!.heldOutLoss!).toBeLessThan(log[0].heldOutLoss!)
    expect(Object.keys(log[0].terms)).toEqual(expect.arrayContaining(['quick']))
    encoder.dispose()
  })

  it.each([
    ['masked', ['masked']],
    ['quick', ['quick']],
  ] as const)('trains on %s alone', async (_, tasks) => {
    const { log, encoder } = await pretrain(source, { ...small, tasks, quick: { pieces: 'slices' } })
    expect(log.at(-1)!.loss).toBeLessThan(log[0].loss)
    encoder.dispose()
  })

  it('trains a recurrent encoder, to the same bits for 1 and 2 threads', async () => {
    const options = { ...small, ...gruConfig(16), epochs: 12, heldOut: 0.2 }
    const { log, encoder } = await pretrain(source, options)
    expect(log.at(-1)!.loss).toBeLessThan(0.8 * log[0].loss)
    expect(log.at(-1)!.heldOutLoss!).toBeLessThan(log[0].heldOutLoss!)
    encoder.dispose()
    const [one, two] = await Promise.all(
      [1, 2].map(threads => weights({ ...small, ...gruConfig(16), device: openDevice({ threads }) })),
    )
    expectSameBits(one, two)
  })

  it('ends in the same bits for 1 and 2 threads', async () => {
    const one = await weights({ ...small, dropout: 0.1, device: openDevice({ threads: 1 }) })
    const two = await weights({ ...small, dropout: 0.1, device: openDevice({ threads: 2 }) })
    expectSameBits(one, two)
  })

  it('takes any seed', async () => {
    for (const seed of [2 ** 31, 2 ** 32 + 1]) {
      const { log, encoder } = await pretrain(source, { ...small, seed, epochs: 1, heldOut: 0.2 })
      expect(log[0].heldOutLoss).toBeGreaterThan(0)
      encoder.dispose()
    }
  })

  it('resumes to the same bits as an uninterrupted run', async () => {
    const whole = await weights({ ...small, out: temporaryFolder() })
    for (const stopAt of [2, 5, 9]) {
      const out = temporaryFolder()
      await stopAfter(stopAt, control => pretrain(source, { ...small, out, ...control }))
      expectSameBits(await weights({ ...small, out, resume: true }), whole, `stopped at step ${stopAt}`)
    }
  })

  it('gives the model again when it resumes a run that has ended', async () => {
    const out = temporaryFolder()
    const first = await pretrain(source, { ...small, out })
    const phases = new Set<string>()
    const onProgress = ({ phase }: { phase: string }) => phases.add(phase)
    const again = await pretrain(source, { ...small, out, resume: true, onProgress })
    expect(phases.has('train')).toBe(false)
    expect(again.log).toEqual(first.log)
    expectSameBits(await weightsOf(again.encoder), await weightsOf(first.encoder))
    // On a device of its own, as that of the first run was not.
    const { device: _, ...own } = small
    const owned = await pretrain(source, { ...own, out, resume: true })
    expect(owned.log).toEqual(first.log)
    owned.encoder.dispose()
  })

  it('does not resume over the model of another run', async () => {
    const out = temporaryFolder()
    const first = await pretrain(source, { ...small, epochs: 1, out })
    const kept = await readFile(join(out, 'weights.safetensors'))
    const other = pretrain(source, { ...small, epochs: 1, seed: 5, out, resume: true })
    await expect(other).rejects.toMatchObject({
      code: 'CHECKPOINT_MISMATCH',
      message: expect.stringContaining('leave resume out to replace that model, or name another folder'),
    })
    // An encoder that was saved there since is no run's.
    await saveEncoder(out, first.encoder, source.schema)
    await pretrain(source, { ...small, epochs: 1, out, resume: true }).then(({ encoder }) => encoder.dispose())
    const encoder = new Encoder(first.encoder.encoding, first.encoder.config, { device: small.device, seed: 9 })
    await saveEncoder(out, encoder, source.schema)
    const again = pretrain(source, { ...small, epochs: 1, out, resume: true })
    await expect(again).rejects.toMatchObject({ code: 'CHECKPOINT_MISMATCH' })
    ;(await pretrain(source, { ...small, epochs: 1, out })).encoder.dispose()
    expect(await readFile(join(out, 'weights.safetensors'))).toEqual(kept)
    // Behind an older model stands the unfinished run alone.
    await stopped(source, { ...small, seed: 5, out })
    ;(await pretrain(source, { ...small, seed: 5, out, resume: true })).encoder.dispose()
    for (const one of [first.encoder, encoder]) one.dispose()
  })

  it('trains no further when it resumes a run that stopped early and could not be saved', async () => {
    // Nothing is learnt, so that no epoch is better than the first.
    const options = { ...small, learningRate: 0, heldOut: 0.2, patience: 1, epochs: 7 }
    const whole = await pretrain(source, options)
    expect(whole.log.length).toBe(2)
    const out = temporaryFolder()
    const inTheWay = join(out, 'weights.safetensors', 'in the way')
    await mkdir(inTheWay, { recursive: true })
    await expect(pretrain(source, { ...options, out })).rejects.toThrow()
    await rm(join(out, 'weights.safetensors'), { recursive: true })
    const resumed = await pretrain(source, { ...options, out, resume: true })
    expect(resumed.log.map(({ epoch }) => epoch)).toEqual([0, 1])
    for (const { encoder } of [whole, resumed]) encoder.dispose()
  })

  /** Stops in an epoch (the first is 0), and leaves a checkpoint. */
  async function stopped(from: EventSource, options: PretrainOptions, epoch = 1): Promise<void> {
    const controller = new AbortController()
    const run = pretrain(from, {
      ...options,
      checkpointSeconds: 0,
      signal: controller.signal,
      onProgress: progress => {
        if (progress.phase === 'train' && progress.epoch === epoch) controller.abort(new Error('stop'))
      },
    })
    await expect(run).rejects.toThrow('stop')
  }

  it('refuses what nothing would come of', async () => {
    await expect(pretrain(source, { ...small, heldOut: 0, patience: 2 })).rejects.toThrow(
      /a share of heldOut with patience but received 0; nothing would tell when to stop/,
    )
    await expect(pretrain(source, { ...small, restart: true })).rejects.toThrow(/out with restart/)
  })

  it('refuses to load or resume with other options what a run left that was stopped', async () => {
    const out = temporaryFolder()
    await stopped(source, { ...small, out })
    await expect(loadEncoder(out)).rejects.toMatchObject({
      code: 'RUN_UNFINISHED',
      message: `[model] expected a model but received an unfinished run in '${out}'; end it by resume (--resume)`,
    })
    const other = pretrain(source, { ...small, learningRate: 0.01, out, resume: true })
    await expect(other).rejects.toMatchObject({ code: 'CHECKPOINT_MISMATCH' })
  })

  it('removes what a run left that is given up, so that the new one is resumed as its own', async () => {
    const out = temporaryFolder()
    await stopped(source, { ...small, out })
    await writeFile(join(out, 'checkpoint.json'), '[]')
    const other = { ...small, learningRate: 0.01 }
    const stoppedIn = async (phase: string) => {
      const controller = new AbortController()
      const onProgress = (now: { phase: string }) => now.phase === phase && controller.abort(new Error('stop'))
      const begun = pretrain(source, { ...other, out, restart: true, signal: controller.signal, onProgress })
      await expect(begun).rejects.toThrow('stop')
    }
    // While events are read, the new run may still be refused.
    await stoppedIn('events')
    expect((await readdir(out)).sort()).toEqual(['checkpoint.json', 'checkpoint.safetensors'])
    await stoppedIn('train')
    expect(await readdir(out)).toEqual([])
    expectSameBits(await weights({ ...other, out, resume: true }), await weights(other))
  })

  it('keeps the checkpoint of an unfinished run until it is told to begin anew', async () => {
    const out = temporaryFolder()
    const checkpoint = join(out, 'checkpoint.safetensors')
    await stopped(source, { ...small, out })
    const kept = await readFile(checkpoint)
    for (const options of [{}, { resume: false }]) {
      const again = pretrain(source, { ...small, ...options, out })
      await expect(again).rejects.toMatchObject({
        code: 'RUN_UNFINISHED',
        message: `[pretrain] expected no unfinished run but received '${checkpoint}'; resume that run, restart to give it up, or name another folder`,
      })
    }
    expect(await readFile(checkpoint)).toEqual(kept)
    const whole = await weights(small)
    expectSameBits(await weights({ ...small, out, restart: true }), whole)
    // A folder with a model alone is free for the next one.
    expectSameBits(await weights({ ...small, out }), whole)
  })

  it('refuses to resume a run with texts that are cut otherwise', async () => {
    const out = temporaryFolder()
    const schema = defineSchema({ entity: 'u', time: 't', fields: { note: { kind: 'text' } } })
    // The same words in the same order, of other events.
    const notes = (...texts: string[]) =>
      fromRows(
        schema,
        Array.from({ length: 400 }, (_, i) => ({ u: `u${i % 20}`, t: i, note: texts[Math.floor(i / 20) % 2] })),
      )
    await stopped(notes('red blue', 'green'), { ...small, out })
    const other = pretrain(notes('red', 'blue green'), { ...small, out, resume: true })
    await expect(other).rejects.toMatchObject({ code: 'CHECKPOINT_MISMATCH' })
  })

  it('writes the model, its log, and no checkpoint in the end', async () => {
    const out = temporaryFolder()
    const { encoder } = await pretrain(source, { ...small, out })
    encoder.dispose()
    expect((await readdir(out)).sort()).toEqual(['config.json', 'training.json', 'weights.safetensors'])
    const log = JSON.parse(await readFile(join(out, 'training.json'), 'utf8'))
    expect(log.epochs.length).toBe(3)
    expect(log.epochs[2].terms.quick.accuracy).toBeGreaterThan(0)
  })

  it('leaves an older model as it is until the new one is there', async () => {
    const out = temporaryFolder()
    const older = await pretrain(source, { ...small, seed: 1, out })
    older.encoder.dispose()
    const files = async () => {
      const names = ['config.json', 'training.json', 'weights.safetensors']
      return Promise.all(names.map(name => readFile(join(out, name), 'base64')))
    }
    const before = await files()
    const again = { ...small, seed: 2, out }
    await stopped(source, again, 2)
    expect(await files()).toEqual(before)
    // The log so far stands beside the checkpoint.
    const running = JSON.parse(await readFile(join(out, 'checkpoint.json'), 'utf8'))
    expect(running.epochs.map((row: { epoch: number }) => row.epoch)).toEqual([0, 1])
    const resumed = await pretrain(source, { ...again, resume: true })
    resumed.encoder.dispose()
    expect((await readdir(out)).sort()).toEqual(['config.json', 'training.json', 'weights.safetensors'])
    const log = JSON.parse(await readFile(join(out, 'training.json'), 'utf8'))
    expect(log.epochs).toEqual(resumed.log)
  })

  it('stops within 100 ms of a cancel', timing, async () => {
    const large = { ...small, width: 128, blocks: 3, batchEvents: 4096, epochs: 1000 }
    await expectStopAtOnce(control => pretrain(source, { ...large, ...control }))
  })

  it('stops at once on a device that others use, and leaves their work alone', timing, async () => {
    const device = openDevice({ guard: false })
    await expectStopBehindOthers(device, control => pretrain(source, { ...small, epochs: 1000, device, ...control }))
  })

  it('says which step diverged and where the last good checkpoint is', async () => {
    // Weight decay of 10 at a rate of 10 multiplies the weights by −99 in every step.
    const out = temporaryFolder()
    const run = pretrain(source, { ...small, learningRate: 10, weightDecay: 10, warmup: 0, epochs: 200, out })
    await expect(run).rejects.toMatchObject({ code: 'TRAINING_DIVERGED' })
    await expect(run).rejects.toThrow(/in step \d+ of epoch \d+; last good checkpoint: /)
  })

  it('refuses sizes and a folder that cannot be before it reads anything', async () => {
    const unread = { schema: source.schema, summary: () => Promise.reject(new Error('read')) } as never
    await expect(pretrain(unread, { ...small, kernel: 4 })).rejects.toThrow(/kernel to be odd/)
    await expect(pretrain(unread, { width: 16, heads: 3 })).rejects.toThrow(/heads to divide the width of 16/)
    const file = join(temporaryFolder(), 'file')
    await writeFile(file, '')
    await expect(pretrain(unread, { out: file })).rejects.toMatchObject({ code: 'WRITE_FAILED' })
    await expect(pretrain(unread, small)).rejects.toThrow('read')
  })

  it('refuses what cannot be', async () => {
    await expect(pretrain(source, { epoch: 3 } as never)).rejects.toThrow(/did you mean 'epochs'/)
    await expect(pretrain(source, { ...small, tasks: ['mask'] as never })).rejects.toThrow(TypeError)
    await expect(pretrain(source, { ...small, epochs: 0 })).rejects.toThrow(RangeError)
    // The next one would see the hidden events of the held-out loss.
    const many = pretrain(source, { ...small, epochs: 2049, signal: AbortSignal.timeout(1000) })
    await expect(many).rejects.toThrow('[pretrain] expected epochs to be a whole number in [1, 2048] but received 2049')
    await expect(pretrain(source, { ...small, resume: true })).rejects.toThrow(/out with resume/)
    const both = pretrain(source, { ...small, out: 'x', resume: true, restart: true })
    await expect(both).rejects.toThrow(/resume or restart but received 'both'/)
  })
})
