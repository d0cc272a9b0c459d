// How far fine-tuning goes from a fitted head, and whose scale the head's columns have.

import { describe, expect, it } from 'vitest'
import { Encoder, type FineTuned, type FinetuneOptions, finetuneEncoded } from '../../../lib/index.js'
import { auc } from '../../../lib/report/metrics.js'
import { MIXES } from '../../../lib/transfer/finetune/mixing.js'
import { expectClose, expectSameBits } from '../../support/close.js'
import { openDevice } from '../../support/devices.js'
import { plantedEvents } from '../../support/planted.js'

const config = { width: 16, blocks: 1, heads: 2, attentionSize: 8, sketch: 0 }
const { encoded, encoding, labels } = await plantedEvents(240)
const device = openDevice()
const init = new Encoder(encoding, config, { device, seed: 5 })
const rows = (begin: number, end: number) => Int32Array.from({ length: end - begin }, (_, i) => begin + i)
const kept = rows(120, 180)
const tests = rows(180, 240)
const learnt = labels.order.map((value, row) => (row < 180 ? value : Number.NaN))
const base = { init, epochs: 12, batchSize: 16, seed: 1, learningRate: 0.003, patience: 0 }

function run(options: Partial<FinetuneOptions>, targets: Float64Array = learnt): Promise<FineTuned> {
  return finetuneEncoded(encoded, targets, { ...base, ...options })
}

async function weightsOf(model: FineTuned): Promise<Float32Array> {
  const encoder = await Promise.all(model.encoder.parameters.map(({ value }) => value.read()))
  const head = [...(await model.readHead()).values()].map(({ values }) => values)
  return Float32Array.from([...encoder, ...head].flatMap(values => [...values]))
}

const aucOn = async (model: FineTuned, held: Int32Array) =>
  auc(
    await model.scoreEncoded(encoded, held),
    held.map(row => labels.order[row]),
  )

describe('mixing with the weights before training', () => {
  it('goes a given share of the way, from the fitted head to the end', async () => {
    const at = async (mixing: number) => weightsOf(await run({ validation: 0, mixing }))
    const head = await weightsOf(await run({ validation: 0, epochs: 0 }))
    const end = await weightsOf(await run({ validation: 0 }))
    expect(end).not.toEqual(head)
    expectSameBits(await at(0), head)
    expectSameBits(await at(1), end)
    const short = await run({ validation: 0, mixing: 0.25 })
    expect([short.best, short.mixing]).toEqual([null, 0.25])
    const quarter = await weightsOf(short)
    // Two products and a sum in float32: three roundings of numbers that are no larger than the larger end.
    const most = (i: number) => 3 * 2 ** -24 * Math.max(Math.abs(head[i]), Math.abs(end[i]), 2 ** -100)
    const off = quarter.map((value, i) => Math.abs(value - (0.75 * head[i] + 0.25 * end[i])) / most(i))
    expect(Math.max(...off)).toBeLessThan(1)
  })

  it('takes the share that serves the rows kept out best', async () => {
    const found = await run({ validation: kept })
    const scores: number[] = []
    // The same epoch stands behind them: its weights are kept whatever is done with them.
    const { epochs } = found.best!
    expect(epochs).toBeGreaterThan(0)
    for (const mixing of MIXES) scores.push(await aucOn(await run({ validation: kept, mixing }), kept))
    expect(found.best!.quality.score).toBeCloseTo(Math.max(...scores), 12)
    expect(MIXES[scores.indexOf(Math.max(...scores))]).toBe(found.best!.mixing)
    expect(await aucOn(found, kept)).toBeCloseTo(found.best!.quality.score, 12)
  })

  it('goes to the end, or most of the way, where there is something to learn, and is better for it', async () => {
    const head = await run({ epochs: 0 })
    const tuned = await run({ validation: 'cross' })
    expect(tuned.best!.mixing).toBeGreaterThan(0)
    expect(await aucOn(tuned, tests)).toBeGreaterThan((await aucOn(head, tests)) + 0.05)
  })

  it('judges a share that was given as it is', async () => {
    const half = await run({ validation: kept, mixing: 0.5 })
    expect(half.best!.mixing).toBe(0.5)
    expect(await aucOn(half, kept)).toBeCloseTo(half.best!.quality.score, 12)
    const parts = await run({ validation: 'cross', mixing: 0.5 })
    expect(parts.best).toMatchObject({ epochs: base.epochs, mixing: 0.5 })
  })

  it('keeps the fitted head where no rate lets anything learn', async () => {
    const still = { validation: 'cross', learningRate: 0, headLearningRate: 0 } as const
    const head = await run({ ...still, epochs: 0 })
    expectSameBits(await weightsOf(await run(still)), await weightsOf(head))
  })

  it('trains nothing more where the parts are served best by the fitted head', async () => {
    // Labels at random: whatever is learnt of them makes the rows kept out worse.
    const random = learnt.map((value, row) => (Number.isNaN(value) ? value : ((row * 7919) % 31) % 2))
    const options = { validation: 'cross', learningRate: 0.01, stopOn: 'loss' } as const
    const model = await run(options, random)
    expect(model.best).toMatchObject({ epochs: 0, mixing: 0 })
    expect(model.log).toHaveLength(1)
    expectSameBits(await weightsOf(model), await weightsOf(await run({ ...options, epochs: 0 }, random)))
  })

  it('stays at the fitted head where nothing can judge', async () => {
    // One label of twenty differs: most parts have no variance to explain.
    const flat = learnt.map((_, row) => (row < 20 ? Number(row === 0) : Number.NaN))
    const options = { task: 'regression', validation: 'cross' } as const
    const model = await run(options, flat)
    expect(model.best).toBeNull()
    expectSameBits(await weightsOf(model), await weightsOf(await run({ ...options, epochs: 0 }, flat)))
  })

  it('refuses a share that cannot be, and to validate it on nothing', async () => {
    await expect(run({ mixing: 1.5 })).rejects.toThrow(/mixing to be in \[0, 1\] but received 1.5/)
    await expect(run({ mixing: 'validated', validation: 0 })).rejects.toThrow(/rows to validate mixing on/)
  })
})

it('takes the scale of the columns from sequences without a label too', async () => {
  const head = await (await run({ epochs: 0 }, labels.order)).readHead()
  // Six labels: the other 234 sequences tell the scale as well as if all were labelled.
  const few = labels.order.map((value, row) => (row < 6 ? value : Number.NaN))
  const own = await (await run({ epochs: 0, validation: 0 }, few)).readHead()
  const scale = head.get('head.scale')!.values
  const found = own.get('head.scale')!.values
  // The sums run over the sequences in another order.
  for (let i = 0; i < scale.length; i++) expect(found[i] / scale[i]).toBeCloseTo(1, 5)
})

describe('the scale of the columns, with sequences that have no label', () => {
  it('is that of 512 labelled ones alone, and of all from scratch', async () => {
    const many = await plantedEvents(600)
    const { vectors, width } = await init.encodeBlock(many.encoded)
    const meansOf = (rows: number) =>
      Float64Array.from({ length: width }, (_, c) => {
        let sum = 0
        for (let row = 0; row < rows; row++) sum += vectors[row * width + c]
        return sum / rows
      })
    const found = async (labelled: number, options: Partial<FinetuneOptions>) => {
      const targets = many.labels.order.map((value, row) => (row < labelled ? value : Number.NaN))
      const given = { ...base, ...options, epochs: 0, validation: 0 }
      const head = await (await finetuneEncoded(many.encoded, targets, given)).readHead()
      const scale = head.get('head.scale')!.values
      return head.get('head.shift')!.values.map((shift, c) => -shift / scale[c])
    }
    // Means of 500 numbers of size 1 in float64, then rounded with their scale.
    const tolerance = { absolute: 1e-5, relative: 1e-5 }
    expectClose(await found(512, {}), meansOf(512), tolerance)
    const distance = (means: Float32Array) => Math.max(...meansOf(500).map((mean, c) => Math.abs(means[c] - mean)))
    expect(distance(await found(500, {}))).toBeGreaterThan(1e-4)
    const scratch = { encoding, config, seed: 5 }
    expectClose(await found(512, { init: scratch }), meansOf(600), tolerance)
  })
})
