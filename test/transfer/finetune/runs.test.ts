// Fine-tuning as a long call: checkpoints, cancel, divergence, files, folds, and what it refuses.

import { readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it, vi } from 'vitest'
import {
  Encoder,
  type FineTuned,
  type FinetuneOptions,
  finetune,
  finetuneEncoded,
  finetuneFolds,
  fromRows,
  loadEncoder,
  loadFinetuned,
  saveEncoder,
  sliceBatch,
  wholeSequences,
} from '../../../lib/index.js'
import { expectSameBits } from '../../support/close.js'
import { openDevice } from '../../support/devices.js'
import { temporaryFolder } from '../../support/folder.js'
import { queueLongWork } from '../../support/long_work.js'
import { plantedEvents, plantedSchema } from '../../support/planted.js'
import { expectStopAtOnce, expectStopBehindOthers, stopAfter } from '../../support/stops.js'
import { watchTurns } from '../../support/turns.js'

// No sketch: what it knows the head learns at once, and no later epoch would be better.
const config = { width: 16, blocks: 1, heads: 2, attentionSize: 8, sketch: 0 }
const { source, encoded, encoding, labels } = await plantedEvents(160)
const device = openDevice()
const init = new Encoder(encoding, config, { device, seed: 5 })
const small = { init, epochs: 4, batchSize: 16, seed: 1, validation: 0.25, schema: plantedSchema }
const table = { ids: labels.ids, values: labels.order }
const kinds = Float64Array.from(labels.kind)
const foldOf = (row: number) => row % 4
// Other processes may keep this one from the cores for longer than a bound on time: hence the further tries.
const timing = { retry: 4 }

async function scoresAndWeights(model: FineTuned): Promise<Float32Array> {
  const scores = await model.scoreEncoded(encoded)
  const weights = await Promise.all(model.encoder.parameters.map(({ value }) => value.read()))
  return Float32Array.from([...scores, ...weights.flatMap(values => [...values])])
}

/** Runs until so many steps are done, and leaves a checkpoint. */
function interrupted(options: FinetuneOptions, steps: number): Promise<void> {
  return stopAfter(steps, control => finetuneEncoded(encoded, labels.order, { ...options, ...control }))
}

describe('a run of fine-tuning', () => {
  it.each([
    ['rows kept out', { validation: 0.25, learningRate: 0.003 }],
    ['half of the way to go', { validation: 0.25, learningRate: 0.003, mixing: 0.5 }],
    ['a cross-validation', { validation: 'cross' as const, learningRate: 0.003 }],
    ['from scratch', { init: { encoding, config }, validation: 0.25 }],
  ])('resumes to the same bits as an uninterrupted run, with %s', async (_, given) => {
    const options = { ...small, ...given, dropout: 0.2, encoderDropout: 0.2 }
    const model = await finetuneEncoded(encoded, labels.order, options)
    const whole = await scoresAndWeights(model)
    expect(model.best!.epochs).toBeGreaterThan(2)
    for (const stopAt of [1, 9, 17]) {
      const out = temporaryFolder()
      await interrupted({ ...options, out }, stopAt)
      const resumed = await finetuneEncoded(encoded, labels.order, { ...options, out, resume: true })
      expectSameBits(await scoresAndWeights(resumed), whole, `stopped at step ${stopAt}`)
      expect((await readdir(out)).sort()).toEqual(['config.json', 'training.json', 'weights.safetensors'])
    }
  })

  it('gives the model again when it resumes a run that has ended', async () => {
    const out = temporaryFolder()
    const first = await finetuneEncoded(encoded, labels.order, { ...small, out })
    const phases = new Set<string>()
    const onProgress = ({ phase }: { phase: string }) => phases.add(phase)
    const again = await finetuneEncoded(encoded, labels.order, { ...small, out, resume: true, onProgress })
    expect([...phases]).toEqual([])
    expect([again.log, again.best]).toEqual([first.log, first.best])
    expectSameBits(await scoresAndWeights(again), await scoresAndWeights(first))
    // What a process that ended at the last moment could not remove.
    await writeFile(join(out, 'cross.json'), '{}')
    ;(await finetuneEncoded(encoded, labels.order, { ...small, out, resume: true, onProgress })).dispose()
    expect((await readdir(out)).sort()).toEqual(['config.json', 'training.json', 'weights.safetensors'])
    expect([...phases]).toEqual([])
    // Other labels are another run, whose model is not written over.
    const other = finetuneEncoded(encoded, kinds, { ...small, out, resume: true })
    await expect(other).rejects.toMatchObject({ code: 'CHECKPOINT_MISMATCH' })
    expectSameBits(await scoresAndWeights(await loadFinetuned(out, { device })), await scoresAndWeights(first))
    ;(await finetuneEncoded(encoded, kinds, { ...small, out })).dispose()
  })

  it('scores no fold again when it resumes a run that has ended', async () => {
    const out = temporaryFolder()
    const { schema: _, ...options } = { ...small, epochs: 1, validation: 0, out }
    const fold = Int32Array.from(labels.ids, (_, row) => foldOf(row))
    const first = await finetune(source, { ...table, fold }, options)
    expect((await readdir(out)).sort()).toEqual(['config.json', 'training.json', 'weights.safetensors'])
    const phases = new Set<string>()
    const onProgress = ({ phase }: { phase: string }) => phases.add(phase)
    const again = await finetune(source, { ...table, fold }, { ...options, resume: true, onProgress })
    expect(again.folds).toEqual(first.folds)
    expect([...phases]).toEqual(['events'])
    // Other folds are another run, and refused before any is learnt.
    phases.clear()
    const others = finetune(source, { ...table, fold: fold.map(f => f + 1) }, { ...options, resume: true, onProgress })
    await expect(others).rejects.toMatchObject({ code: 'CHECKPOINT_MISMATCH' })
    expect([...phases]).toEqual(['events'])
    // A model that is saved over itself, loaded or not, keeps what its run left: it is still that run.
    const kept = await readFile(join(out, 'training.json'), 'utf8')
    expect(JSON.parse(kept).folds.parts).toHaveLength(4)
    await first.model.save(out)
    expect(await readFile(join(out, 'training.json'), 'utf8')).toBe(kept)
    const loaded = await loadFinetuned(out, { device })
    expect([loaded.log, loaded.best, loaded.mixing]).toEqual([first.model.log, first.model.best, first.model.mixing])
    await loaded.save(out)
    expect(await readFile(join(out, 'training.json'), 'utf8')).toBe(kept)
    for (const { model } of [first, again]) model.dispose()
  })

  it('refuses to resume folds over the model of a run without any, before one is learnt', async () => {
    const out = temporaryFolder()
    const { schema: _, ...options } = { ...small, epochs: 1, validation: 0, out }
    ;(await finetune(source, table, options)).model.dispose()
    const kept = await readFile(join(out, 'weights.safetensors'))
    const fold = Int32Array.from(labels.ids, (_, row) => foldOf(row))
    const phases = new Set<string>()
    const onProgress = ({ phase }: { phase: string }) => phases.add(phase)
    const other = finetune(source, { ...table, fold }, { ...options, seed: 2, resume: true, onProgress })
    await expect(other).rejects.toMatchObject({ code: 'CHECKPOINT_MISMATCH' })
    expect([...phases]).toEqual(['events'])
    expect(await readFile(join(out, 'weights.safetensors'))).toEqual(kept)
    expect((await readdir(out)).sort()).toEqual(['config.json', 'training.json', 'weights.safetensors'])
  })

  it('resumes folds in a folder where others have been scored', async () => {
    const out = temporaryFolder()
    const fold = Int32Array.from(labels.ids, (_, row) => foldOf(row))
    const options = { ...small, epochs: 1, validation: 0, out }
    await finetuneFolds(encoded, labels.order, fold, options)
    const other = { ...options, seed: 2 }
    const stop = (control: object) => finetuneFolds(encoded, labels.order, fold, { ...other, ...control })
    await stopAfter(3, stop)
    const resumed = await finetuneFolds(encoded, labels.order, fold, { ...other, resume: true })
    expect(resumed).toEqual(await finetuneFolds(encoded, labels.order, fold, { ...other, out: undefined }))
    // A model that is trained there without folds leaves nothing of those that were under way.
    await stopAfter(3, control => finetuneFolds(encoded, labels.order, fold, { ...options, seed: 3, ...control }))
    const { schema: _, ...plain } = options
    ;(await finetune(source, table, { ...plain, resume: true })).model.dispose()
    expect((await readdir(out)).sort()).toEqual(['config.json', 'training.json', 'weights.safetensors'])
  })

  it('goes on in the midst of a fold, and says what is left of all of them', async () => {
    const fold = Int32Array.from(labels.ids, (_, row) => foldOf(row))
    const options = { ...small, epochs: 3, checkpointSeconds: 0 }
    const whole = await finetuneFolds(encoded, labels.order, fold, options)
    const out = temporaryFolder()
    type Report = { phase: string; fold: number; folds: number; epoch: number; secondsLeft: number; at: number }
    const reports: Report[] = []
    const controller = new AbortController()
    const onProgress = (now: { phase: string }) => {
      if (now.phase !== 'train') return
      const report = { ...now, at: performance.now() } as Report
      reports.push(report)
      if (report.fold === 2 && report.epoch === 1) controller.abort(new Error('stop'))
    }
    const stopped = { ...options, out, onProgress, signal: controller.signal }
    await expect(finetuneFolds(encoded, labels.order, fold, stopped)).rejects.toThrow('stop')
    expect((await readdir(out)).sort()).toEqual(['folds', 'folds.json'])
    expect(await readdir(join(out, 'folds', '1'))).toContain('checkpoint.safetensors')
    const [first] = reports
    expect([first.fold, first.folds]).toEqual([1, 4])
    // At the end of the first fold three others are to come, each as long.
    const last = reports.findLast(report => report.fold === 1)!
    expect(last.secondsLeft).toBeGreaterThan((3 * (last.at - first.at)) / 1000)
    await expect(finetuneFolds(encoded, labels.order, fold, { ...options, out })).rejects.toMatchObject({
      code: 'RUN_UNFINISHED',
    })
    reports.length = 0
    const again = { ...options, out, onProgress: (now: { phase: string }) => void reports.push(now as Report) }
    expect(await finetuneFolds(encoded, labels.order, fold, { ...again, resume: true })).toEqual(whole)
    const trained = reports.filter(({ phase }) => phase === 'train')
    expect([trained[0].fold, trained[0].epoch]).toEqual([2, 1])
    expect(await readdir(out)).toEqual(['folds.json'])
  })

  it('says what is wrong with a model that takes the place of one that a run has ended with', async () => {
    const out = temporaryFolder()
    ;(await finetuneEncoded(encoded, labels.order, { ...small, out })).dispose()
    const path = join(out, 'config.json')
    const { head: _, ...config } = JSON.parse(await readFile(path, 'utf8'))
    await writeFile(path, JSON.stringify(config))
    const again = finetuneEncoded(encoded, labels.order, { ...small, out, resume: true })
    await expect(again).rejects.toMatchObject({ code: 'MODEL_INVALID' })
  })

  it('goes on behind the parts of a cross-validation that are done', async () => {
    const options = { ...small, validation: 'cross' as const, learningRate: 0.003 }
    const whole = await scoresAndWeights(await finetuneEncoded(encoded, labels.order, options))
    const out = temporaryFolder()
    const controller = new AbortController()
    const parts: number[] = []
    const watched = (stopAt: number) => ({
      ...options,
      out,
      signal: controller.signal,
      onProgress: (progress: Parameters<NonNullable<FinetuneOptions['onProgress']>>[0]) => {
        if (progress.phase !== 'validate') return
        expect(progress.loss).toBeGreaterThan(0)
        parts.push(Math.floor(progress.done))
        if (progress.done > stopAt) controller.abort(new Error('stop'))
      },
    })
    await expect(finetuneEncoded(encoded, labels.order, watched(2))).rejects.toThrow('stop')
    const stored = JSON.parse(await readFile(join(out, 'cross.json'), 'utf8'))
    expect(stored.parts).toHaveLength(2)
    parts.length = 0
    const { signal: _, ...again } = watched(Number.POSITIVE_INFINITY)
    const resumed = await finetuneEncoded(encoded, labels.order, { ...again, resume: true })
    expect(Math.min(...parts)).toBe(2)
    expectSameBits(await scoresAndWeights(resumed), whole)
    expect((await readdir(out)).sort()).toEqual(['config.json', 'training.json', 'weights.safetensors'])
  })

  it('keeps what an unfinished run left until it is told to begin anew', async () => {
    const out = temporaryFolder()
    await interrupted({ ...small, out }, 9)
    const unfinished = { code: 'RUN_UNFINISHED', message: /; resume that run, restart to give it up, or/ }
    const kept = await readFile(join(out, 'checkpoint.safetensors'))
    await expect(finetuneEncoded(encoded, labels.order, { ...small, out })).rejects.toMatchObject(unfinished)
    await expect(finetune(source, table, { init, out, resume: false })).rejects.toMatchObject(unfinished)
    expect(await readFile(join(out, 'checkpoint.safetensors'))).toEqual(kept)
    const anew = { ...small, epochs: 1, out }
    ;(await finetuneEncoded(encoded, labels.order, { ...anew, restart: true })).dispose()
    ;(await finetuneEncoded(encoded, labels.order, anew)).dispose()
    await writeFile(join(out, 'cross.json'), '{}')
    await expect(finetuneEncoded(encoded, labels.order, anew)).rejects.toMatchObject(unfinished)
  })

  it('removes what a run left that is given up, so that the new one is resumed as its own', async () => {
    const out = temporaryFolder()
    const left = ['checkpoint.safetensors', 'cross.json', 'folds.json']
    for (const name of left) await writeFile(join(out, name), 'of another run')
    const { schema: _, ...options } = { ...small, epochs: 1, validation: 0, out }
    const stoppedIn = async (phase: string) => {
      const controller = new AbortController()
      const onProgress = (now: { phase: string }) => now.phase === phase && controller.abort(new Error('stop'))
      const begun = finetune(source, table, { ...options, restart: true, signal: controller.signal, onProgress })
      await expect(begun).rejects.toThrow('stop')
    }
    // While events are read, the new run may still be refused.
    await stoppedIn('events')
    expect((await readdir(out)).sort()).toEqual(left)
    await stoppedIn('encode')
    expect(await readdir(out)).toEqual([])
    const fold = Int32Array.from(labels.ids, (_, row) => foldOf(row))
    for (const name of left) await writeFile(join(out, name), 'of another run')
    ;(await finetune(source, table, { ...options, restart: true })).model.dispose()
    // Folds that the new run has not would bar the way to all later ones.
    ;(await finetune(source, { ...table, fold }, options)).model.dispose()
    expect((await readdir(out)).sort()).toEqual(['config.json', 'training.json', 'weights.safetensors'])
  })

  it('keeps what a run left when labels refuse the new one', async () => {
    const out = temporaryFolder()
    await writeFile(join(out, 'folds.json'), 'of another run')
    const options = { init, validation: 0, out, restart: true }
    // Each fold has one class.
    const folds = { ...table, fold: Int32Array.from(labels.order) }
    await expect(finetune(source, folds, options)).rejects.toMatchObject({ code: 'ONE_CLASS' })
    expect(await readdir(out)).toEqual(['folds.json'])
  })

  it('removes folds that are given up before it has others', async () => {
    const out = temporaryFolder()
    await writeFile(join(out, 'folds.json'), '{"fingerprint":"of another run","parts":[{}]}')
    const fold = Int32Array.from(labels.ids, (_, row) => foldOf(row))
    const options = { ...small, epochs: 1, validation: 0, out }
    const controller = new AbortController()
    const onProgress = () => controller.abort(new Error('stop'))
    const given = { ...options, restart: true, signal: controller.signal, onProgress }
    await expect(finetuneFolds(encoded, labels.order, fold, given)).rejects.toThrow('stop')
    expect(await readdir(out)).toEqual([])
    const { folds } = await finetuneFolds(encoded, labels.order, fold, { ...options, resume: true })
    expect(folds).toHaveLength(4)
  })

  it('refuses to resume a run with other options or labels', async () => {
    const out = temporaryFolder()
    await interrupted({ ...small, out }, 9)
    for (const change of [{ learningRate: 0.01 }, { classWeights: 'balanced' as const }, { seed: 2 }]) {
      const other = finetuneEncoded(encoded, labels.order, { ...small, ...change, out, resume: true })
      await expect(other).rejects.toMatchObject({ code: 'CHECKPOINT_MISMATCH' })
    }
    const others = finetuneEncoded(encoded, kinds, { ...small, out, resume: true })
    await expect(others).rejects.toMatchObject({ code: 'CHECKPOINT_MISMATCH' })
  })

  it('stops within 100 ms of a cancel', timing, async () => {
    const large = new Encoder(encoding, { width: 128, blocks: 3 }, { device })
    const options = { init: large, epochs: 1000, batchSize: 160, validation: 0 }
    await expectStopAtOnce(control => finetuneEncoded(encoded, labels.order, { ...options, ...control }))
    // The encoder that it started from serves on.
    expect((await large.encodeBlock(encoded)).vectors.every(Number.isFinite)).toBe(true)
    large.dispose()
  })

  it('leaves the other calls on its device alone when it is aborted', timing, async () => {
    await expectStopBehindOthers(device, control =>
      finetuneEncoded(encoded, labels.order, { ...small, epochs: 1000, ...control }),
    )
  })

  it('scores on when another call on its device is aborted', async () => {
    const model = await finetuneEncoded(encoded, labels.order, { ...small, epochs: 0 })
    const want = await model.scoreEncoded(encoded)
    queueLongWork(device, 5)
    const controller = new AbortController()
    const aborted = expect(model.scoreEncoded(encoded, undefined, { signal: controller.signal })).rejects.toThrow(
      'stop',
    )
    const other = model.scoreEncoded(encoded)
    await new Promise(resolve => setTimeout(resolve, 5))
    controller.abort(new Error('stop'))
    await aborted
    expect([...(await other)]).toEqual([...want])
  })

  it('never holds the event loop for long', { retry: 2 }, async () => {
    const many = await plantedEvents(3000)
    const out = temporaryFolder()
    const own = new Encoder(many.encoding, { width: 64, blocks: 2 }, { device })
    const table = { ids: many.labels.ids, values: many.labels.order }
    const { turns, longest } = await watchTurns(async () => {
      const { model } = await finetune(many.source, table, { init: own, epochs: 1, out, checkpointSeconds: 0.2 })
      await model.score(many.source)
    })
    own.dispose()
    expect(turns).toBeGreaterThan(20)
    expect(longest).toBeLessThan(20)
  })

  it('says which step diverged and where the last good checkpoint is', async () => {
    const out = temporaryFolder()
    const wild = { learningRate: 10, headLearningRate: 10, weightDecay: 10, warmup: 0, epochs: 200, validation: 0 }
    const run = finetuneEncoded(encoded, labels.order, { ...small, ...wild, out })
    await expect(run).rejects.toMatchObject({ code: 'TRAINING_DIVERGED' })
    await expect(run).rejects.toThrow(/in step \d+ of epoch \d+; last good checkpoint: epoch \d+, step \d+ in /)
  })

  it('saves a model that scores to the same bits, and that encodes', async () => {
    for (const values of [labels.order, labels.kind, labels.size]) {
      const model = await finetuneEncoded(encoded, values, small)
      const out = temporaryFolder()
      await model.save(out)
      const loaded = await loadFinetuned(out, { device })
      const [{ ids, scores, width }, again] = [await model.score(source), await loaded.score(source)]
      expect(ids).toEqual(labels.ids)
      expect([again.ids, again.width, [...again.scores]]).toEqual([ids, width, [...scores]])
      expect([...(await model.scoreEncoded(encoded))]).toEqual([...scores])
      const { encoder, head } = await loadEncoder(out, { device })
      expect(head).not.toBeNull()
      const vectors = await encoder.encode(source)
      expectSameBits(vectors.vectors, (await model.encodeEncoded(encoded)).vectors)
      const log = JSON.parse(await readFile(join(out, 'training.json'), 'utf8'))
      expect(log.epochs.map((row: { epoch: number }) => row.epoch)).toEqual([0, 1, 2, 3, 4])
      expect(log.best.quality.score).toBe(model.best!.quality.score)
    }
  })

  it('refuses a model without a head, and a damaged one', async () => {
    const out = temporaryFolder()
    await saveEncoder(out, init, plantedSchema)
    await expect(loadFinetuned(out, { device })).rejects.toThrow(/a fine-tuned model but received 'an encoder/)
    const model = await finetuneEncoded(encoded, labels.order, { ...small, epochs: 0 })
    await model.save(out)
    const path = join(out, 'config.json')
    const config = JSON.parse(await readFile(path, 'utf8'))
    for (const head of [null, {}, { ...config.head, classes: [1, 0] }, { ...config.head, classes: [0, 1, 2] }]) {
      await writeFile(path, JSON.stringify({ ...config, head }))
      await expect(loadFinetuned(out, { device })).rejects.toMatchObject({ code: 'MODEL_INVALID' })
    }
    // Without the head in its config, the head's tensors belong to nobody.
    await writeFile(path, JSON.stringify({ ...config, head: undefined }))
    await expect(loadEncoder(out, { device })).rejects.toThrow(/another tensor 'head\./)
  })
})

describe('fine-tuning from a source', () => {
  it('joins by id, leaves out unknown labels, and is the same as on those encoded events', async () => {
    const values = Float64Array.from(labels.order, (value, row) => (row % 3 === 0 ? Number.NaN : value))
    const extra = { ids: ['nobody', ...labels.ids], values: Float64Array.from([1, ...values]) }
    const { schema: _, ...options } = { ...small, validation: 0 }
    const { model, rows, absent, folds } = await finetune(source, extra, options)
    const known = Int32Array.from(values.keys()).filter(row => row % 3 !== 0)
    expect([rows, absent, folds]).toEqual([known.length, 1, null])
    const some = sliceBatch(encoded, wholeSequences(encoded.offsets, known))
    const ids = Array.from(known, row => labels.ids[row])
    const targets = Float64Array.from(known, row => values[row])
    const same = await finetuneEncoded({ ...some, ids }, targets, { ...small, validation: 0 })
    expectSameBits(await scoresAndWeights(model), await scoresAndWeights(same))
  })

  it('fits an encoding of its own from scratch', async () => {
    const { model } = await finetune(source, table, { init: { config }, epochs: 1, validation: 0 })
    expect(model.encoder.encoding.inputs.map(input => input.name)).toEqual(encoding.inputs.map(input => input.name))
    model.dispose()
  })

  it('scores folds that their models never saw', async () => {
    const fold = Int32Array.from(labels.ids, (_, row) => foldOf(row))
    const { folds, model } = await finetune(source, { ...table, fold }, { init, epochs: 2, validation: 0, seed: 1 })
    expect(folds!.folds.map(one => [one.fold, one.rows])).toEqual([0, 1, 2, 3].map(name => [name, 40]))
    const held = labels.order.map((value, row) => (foldOf(row) === 2 ? Number.NaN : value))
    const own = await finetuneEncoded(encoded, held, { init, epochs: 2, validation: 0, seed: 1 })
    const rows = Int32Array.from(fold.keys()).filter(row => fold[row] === 2)
    const scores = await own.scoreEncoded(encoded, rows)
    const loss = rows.reduce((sum, row, i) => sum - Math.log(labels.order[row] === 1 ? scores[i] : 1 - scores[i]), 0)
    expect(folds!.folds[2].loss).toBe(loss / 40)
    expect(folds!.score.mean).toBeCloseTo(
      folds!.folds.reduce((sum, one) => sum + one.score / 4, 0),
      12,
    )
    expect(model.classes).toEqual([0, 1])
  })

  it('goes on behind the folds that are done', async () => {
    const fold = Int32Array.from(labels.ids, (_, row) => foldOf(row))
    const options = { init, epochs: 2, validation: 0, seed: 1, schema: plantedSchema, out: temporaryFolder() }
    const whole = await finetuneFolds(encoded, labels.order, fold, options)
    const path = join(options.out, 'folds.json')
    const stored = JSON.parse(await readFile(path, 'utf8'))
    // A sign that tells what was read from what was computed.
    stored.parts = stored.parts.slice(0, 2)
    stored.parts[0].score = 0.125
    await writeFile(path, JSON.stringify(stored))
    const unfinished = { code: 'RUN_UNFINISHED' }
    await expect(finetuneFolds(encoded, labels.order, fold, options)).rejects.toMatchObject(unfinished)
    await expect(finetune(source, { ...table, fold }, { init, out: options.out })).rejects.toMatchObject(unfinished)
    const resumed = await finetuneFolds(encoded, labels.order, fold, { ...options, resume: true })
    expect(resumed.folds.map(one => one.score)).toEqual([0.125, ...whole.folds.slice(1).map(one => one.score)])
    const other = finetuneFolds(encoded, labels.order, fold, { ...options, epochs: 3, resume: true })
    await expect(other).rejects.toMatchObject({ code: 'CHECKPOINT_MISMATCH' })
    for (const damaged of ['{"fingerprint":', 'null', '{"fingerprint":"f"}']) {
      await writeFile(path, damaged)
      const again = finetuneFolds(encoded, labels.order, fold, { ...options, resume: true })
      await expect(again).rejects.toMatchObject({ code: 'CHECKPOINT_INVALID' })
      expect(await readFile(path, 'utf8')).toBe(damaged)
    }
  })
})

describe('fine-tuning refuses', () => {
  const refused = (values: ArrayLike<number>, options: object = {}) =>
    finetuneEncoded(encoded, Float64Array.from(values), { ...small, ...options })
  const with01 = (change: Record<number, number>) => labels.order.map((value, row) => change[row] ?? value)

  it('labels that nothing can be learnt from', async () => {
    await expect(refused(labels.order.map(() => 1))).rejects.toMatchObject({ code: 'ONE_CLASS' })
    await expect(refused(labels.order.map(() => Number.NaN))).rejects.toMatchObject({ code: 'TOO_FEW_LABELS' })
    await expect(refused(with01({ 3: 7 }))).rejects.toThrow(/two entities or more of class 7 but received 1/)
    await expect(refused(with01({ 3: Number.POSITIVE_INFINITY }))).rejects.toThrow(/a finite label of 'user 3'/)
    await expect(refused([0, 1])).rejects.toThrow(/160 labels, one for each entity but received 2/)
    const rare = Array.from(labels.order, (_, row) => (row < 2 ? 1 : 0))
    await expect(refused(rare, { validation: Int32Array.of(0, 1, 2) })).rejects.toThrow(/2 values in the training rows/)
    await expect(refused(labels.size, { task: 'classification' })).rejects.toThrow(/two entities or more of class/)
  })

  it('folds that nothing can be learnt from, before the first is learnt', async () => {
    const fold = Int32Array.from(labels.ids, (_, row) => foldOf(row))
    const onProgress = vi.fn()
    const refusedFolds = (values: Float64Array, folds: Int32Array) =>
      finetuneFolds(encoded, values, folds, { ...small, onProgress })
    await expect(refusedFolds(labels.order, Int32Array.from(labels.order))).rejects.toMatchObject({
      code: 'ONE_CLASS',
      message: expect.stringMatching(/labels of two values or more in fold 0/),
    })
    // Class 7 in fold 3 alone, and but for one.
    const [first, second, third] = [...fold.keys()].filter(row => fold[row] === 3)
    const other = fold.indexOf(0)
    for (const [rows, count] of [
      [[first, second, third], 0],
      [[first, second, other], 1],
    ] as const) {
      await expect(refusedFolds(with01(Object.fromEntries(rows.map(row => [row, 7]))), fold)).rejects.toMatchObject({
        code: 'TOO_FEW_LABELS',
        message: `[finetune] expected two entities or more of class 7 outside fold 3 but received ${count}; spread its entities over folds, or label more`,
      })
    }
    expect(onProgress).not.toHaveBeenCalled()
  })

  it('options that cannot be', async () => {
    const wrong: [object, RegExp][] = [
      [{ epoch: 3 }, /did you mean 'epochs'/],
      [{ epochs: -1 }, /epochs to be a whole number/],
      [{ init: 'model' }, /init to be an encoder/],
      [{ init: { config } }, /init to be an encoder, .* but received 'no encoding'/],
      [{ init: { encoding, sizes: 3 } }, /known options but received 'sizes'/],
      [{ task: 'ranking' }, /task 'auto', 'classification' or 'regression'/],
      [{ classWeights: [1] }, /classWeights 'balanced', 'none' or 2 numbers/],
      [{ classWeights: [1, -1] }, /classWeights above 0/],
      [{ validation: Int32Array.of(999) }, /validation rows with a label/],
      [{ validation: 0.9 }, /validation to be in/],
      [{ resume: true }, /out with resume/],
      [{ resume: true, restart: true, out: 'somewhere' }, /resume or restart but received 'both'/],
      [{ out: 'somewhere', schema: undefined }, /schema with out/],
      [{ stopOn: 'auc' }, /stopOn 'score' or 'loss'/],
    ]
    for (const [options, message] of wrong) await expect(refused(labels.order, options)).rejects.toThrow(message)
    const weighted = refused(labels.size, { classWeights: 'balanced' })
    await expect(weighted).rejects.toThrow(/no classWeights with regression/)
  })

  it('sizes and a folder that cannot be, before it reads anything', async () => {
    const unread = { schema: plantedSchema, summary: () => Promise.reject(new Error('read')) } as never
    const odd = finetune(unread, table, { init: { encoding, config: { width: 16, heads: 3 } } })
    await expect(odd).rejects.toThrow(/heads to divide the width of 16/)
    // From scratch, with an encoding that is still to be fitted.
    const wrong: [object, RegExp][] = [
      [{ init: { config: { width: -1 } } }, /width to be a whole number in \[1, 8192\] but received -1/],
      [{ init: { config }, epochz: 3 }, /did you mean 'epochs'/],
      [{ init: { config }, dropout: 1 }, /dropout to be in \[0, 0.95\] but received 1/],
      [{ init: 'model' }, /init to be an encoder/],
      [{}, /init to be an encoder/],
    ]
    for (const [options, message] of wrong) {
      await expect(finetune(unread, table, options as never)).rejects.toThrow(message)
    }
    const file = join(temporaryFolder(), 'file')
    await writeFile(file, '')
    await expect(finetune(unread, table, { init, out: file })).rejects.toMatchObject({ code: 'WRITE_FAILED' })
  })

  it('labels that cannot be, before it reads events', async () => {
    const unread = { schema: plantedSchema, summary: () => Promise.reject(new Error('read')) } as never
    const wrong: [string[], number[], RegExp][] = [
      [['a', 'b', 'a'], [0, 1, 0], /every id of the labels once but received \[a, a\]/],
      [['a', 'b', 'c'], [0, 1, Number.POSITIVE_INFINITY], /a finite label of 'c'/],
      [['a', 'b', 'c'], [1, 1, Number.NaN], /labels of two values or more but received 1/],
      [['a', 'b'], [Number.NaN, Number.NaN], /entities with a known label .* check the name of the label/],
      [['a', 'b'], [1], /2 labels, one for each id but received 1/],
    ]
    for (const [ids, values, message] of wrong) {
      for (const from of [init, { config }]) {
        const run = finetune(unread, { ids, values: Float64Array.from(values) }, { init: from })
        await expect(run).rejects.toThrow(message)
      }
    }
    for (const labels of [new Map([['a', 1]]), { ids: ['a'] }, [1, 0], undefined]) {
      const run = finetune(unread, labels as never, { init })
      await expect(run).rejects.toThrow(TypeError)
      await expect(run).rejects.toThrow(
        /^\[finetune\] expected labels as \{ ids, values, fold\? \} but received .*; pickLabel/,
      )
    }
  })

  it('labels without events, ids that repeat, and events of another schema', async () => {
    const strangers = { ids: ['a', 'b'], values: Float64Array.of(0, 1) }
    await expect(finetune(source, strangers, { init })).rejects.toMatchObject({ code: 'NO_COMMON_IDS' })
    const twice = { ids: ['user 1', 'user 1'], values: Float64Array.of(0, 1) }
    await expect(finetune(source, twice, { init })).rejects.toThrow(/every id of the labels once/)
    const rows = [{ user: 'user 1', time: 1, type: 'first', amount: 'large' }]
    const other = fromRows(
      { ...plantedSchema, fields: { type: { kind: 'categorical' }, amount: { kind: 'categorical' } } },
      rows,
    )
    const run = finetune(other as never, table, { init })
    await expect(run).rejects.toMatchObject({ code: 'SCHEMA_MISMATCH' })
    await expect(run).rejects.toThrow(/a numeric field 'amount' but received 'categorical'/)
    const model = await finetuneEncoded(encoded, labels.order, { ...small, epochs: 0 })
    await expect(model.score(other as never)).rejects.toMatchObject({ code: 'SCHEMA_MISMATCH' })
  })
})
