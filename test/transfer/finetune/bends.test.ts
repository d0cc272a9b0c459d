// Curves before the head: what they do to columns, and that all that a head goes through takes them along.

import { describe, expect, it } from 'vitest'
import { Encoder, type FinetuneOptions, finetuneEncoded, loadFinetuned } from '../../../lib/index.js'
import { piecewiseLinearForward } from '../../../lib/reference/piecewise_linear.js'
import { bendSteps } from '../../../lib/transfer/finetune/bends.js'
import { Head } from '../../../lib/transfer/finetune/head.js'
import { Scaler } from '../../../lib/transfer/linear/scaling.js'
import { atOnce, Pace } from '../../../lib/util/pace.js'
import { expectClose, expectSameBits } from '../../support/close.js'
import { openDevice } from '../../support/devices.js'
import { temporaryFolder } from '../../support/folder.js'
import { plantedEvents, plantedSchema } from '../../support/planted.js'
import { TestRandom } from '../../support/random.js'
import { stopAfter } from '../../support/stops.js'

const rows = 700

/** Columns side by side, and as their curves leave them. */
function bend(columns: readonly (readonly number[])[]) {
  const width = columns.length
  const vectors = Float32Array.from({ length: rows * width }, (_, i) => columns[i % width][Math.floor(i / width)])
  const values = atOnce(bendSteps(vectors, width))
  const curves = values && {
    knots: Float64Array.from(values.knots),
    slopes: Float64Array.from(values.slopes),
    offset: Float64Array.from(values.offset),
  }
  const through = (x: Float64Array) => (curves ? piecewiseLinearForward(x, curves) : x)
  const bent = through(Float64Array.from(vectors))
  return { vectors, values, through, bent: columns.map((_, c) => bent.filter((_, i) => i % width === c)) }
}

const moments = (values: ArrayLike<number>) => {
  const all = Array.from(values)
  const mean = all.reduce((a, b) => a + b) / all.length
  return { mean, deviation: Math.sqrt(all.reduce((sum, v) => sum + (v - mean) ** 2, 0) / all.length) }
}

const random = new TestRandom(11)
const tame = Array.from({ length: rows }, () => 3 + random.normal())
const wild = Array.from({ length: rows }, () => Math.sinh(3 * random.normal()))
const counts = Array.from({ length: rows }, () => Math.max(0, Math.floor(Math.exp(1.5 * random.normal()) - 1)))

describe('curves of vectors', () => {
  it('are none where all tails are light, or nothing differs', () => {
    expect(bend([tame, tame.map(() => 7)]).values).toBeNull()
  })

  it('take values that rounding tells apart for one', () => {
    // As sums of the same few terms in another order: ties, and ties with noise.
    const ties = counts.map(value => Math.log1p(value) ** 3)
    const noisy = ties.map(value => value * (1 + 1e-7 * random.normal()))
    const [exact, apart] = [bend([ties]), bend([noisy])]
    const { deviation } = moments(ties)
    // A curve is at most 1000 times as steep as the column (LEAST_GAP), and noise is some 1e-7 of a value of 10 deviations.
    expectClose(apart.bent[0], exact.bent[0], { absolute: 2e-3 * deviation, relative: 0 }, 'bent')
    expectClose(apart.values!.knots, exact.values!.knots, { absolute: 1e-5 * deviation, relative: 0 }, 'knots')
  })

  it('are for heavy tails alone: the probe’s normal scores, in the mean and deviation of the column', async () => {
    const { vectors, bent } = bend([tame, wild, counts])
    expectSameBits(Float32Array.from(bent[0]), Float32Array.from(tame))
    const columns = [1, 2].map(start => ({ name: `v${start}`, values: vectors, start, stride: 3 }))
    const block = { columns, rows: Int32Array.from({ length: rows }, (_, r) => r) }
    const scaler = await Scaler.fit(block, 'auto', new Pace())
    const probed = new Float32Array(rows * 2)
    scaler.write(block, 0, rows, probed, 2, 1)
    for (const [i, given] of [wild, counts].entries()) {
      const before = moments(given)
      const after = moments(bent[i + 1])
      // Normal scores of mid-ranks have mean 0 and deviation 1 without ties; half of the counts are 0, which makes both less exact.
      expect(Math.abs(after.mean - before.mean) / before.deviation).toBeLessThan(0.2)
      expect(after.deviation / before.deviation).toBeGreaterThan(0.7)
      expect(after.deviation / before.deviation).toBeLessThan(1.1)
      const own = bent[i + 1].map(value => (value - after.mean) / after.deviation)
      // Knots are 0.2 scores apart, and the curve is straight between them.
      const wanted = probed.filter((_, at) => at % 2 === i)
      expectClose(own, wanted, { absolute: 0.2 })
      const order = given.map((_, r) => r).sort((a, b) => given[a] - given[b])
      // Rounding of sums apart.
      for (let k = 1; k < rows; k++) expect(own[order[k]]).toBeGreaterThanOrEqual(own[order[k - 1]] - 1e-6)
    }
  })

  it('are flat beyond what was seen', () => {
    const { through, values } = bend([wild])
    const [low, high] = [Math.min(...wild), Math.max(...wild)]
    const [atLow, atHigh, below, above] = through(Float64Array.of(low, high, low - 1e6, high + 1e6))
    const { mean, deviation } = moments(wild)
    // A knot is a float32.
    expect(Math.abs(below - atLow) / deviation).toBeLessThan(1e-6)
    expect(Math.abs(above - atHigh) / deviation).toBeLessThan(1e-6)
    expect(Math.abs(above - mean) / deviation).toBeLessThan(4)
    expect([values!.slopes[0], values!.slopes.at(-1)]).toEqual([0, 0])
  })

  it('are straight for two values, and not steep for values that are nearly one', () => {
    const rare = Array.from({ length: rows }, (_, r) => (r < 5 ? 1 : 0))
    const { values, bent } = bend([rare])
    expect(values!.slopes.filter(slope => slope > 0)).toHaveLength(1)
    expect(new Set(bent[0]).size).toBe(2)
    const nearly = rare.map((value, r) => value + r * 1e-7)
    const { slopes } = bend([nearly]).values!
    // Scores reach from −3.2 to 3.2, and pieces are at least a thousandth of a deviation long.
    expect(Math.max(...slopes)).toBeLessThanOrEqual(6.4 * 1000)
  })
})

const { encoded, encoding, labels } = await plantedEvents(160)
const device = openDevice()
const config = { width: 16, blocks: 1, heads: 2, attentionSize: 8 }
const init = new Encoder(encoding, config, { device, seed: 5 })
const small = {
  init,
  epochs: 3,
  batchSize: 16,
  seed: 1,
  validation: 0.25,
  schema: plantedSchema,
  mixing: 1,
  patience: 0,
}
const run = (options: Partial<FinetuneOptions> = {}) => finetuneEncoded(encoded, labels.order, { ...small, ...options })

describe('a head with curves', () => {
  it('is that of an encoder that is pre-trained, fitted to its vectors', async () => {
    expect((await (await run({ epochs: 0 })).readHead()).has('head.knots')).toBe(true)
    for (const options of [
      { warmHead: false },
      { init: { encoding, config } },
      { init: { encoding, config }, warmHead: true },
    ]) {
      expect((await (await run({ ...options, epochs: 1 })).readHead()).has('head.knots')).toBe(false)
    }
  })

  it('keeps them while everything learns, and passes gradients on to the encoder', async () => {
    const [fitted, tuned] = await Promise.all([run({ epochs: 0 }), run()].map(async model => (await model).readHead()))
    for (const part of ['knots', 'slopes', 'offset']) {
      expectSameBits(tuned.get(`head.${part}`)!.values, fitted.get(`head.${part}`)!.values)
    }
    // The scores hang on a column that is bent, and training changes it: the embeddings learn.
    const changed = await run({ epochs: 1, headLearningRate: 0, validation: 0 })
    const before = await init.parameters[0].value.read()
    expect(await changed.encoder.parameters[0].value.read()).not.toEqual(before)
  })

  it('comes back from a folder to the same bits, and without curves from an older one', async () => {
    const model = await run()
    const out = temporaryFolder()
    await model.save(out)
    const loaded = await loadFinetuned(out, { device })
    expect([...(await loaded.scoreEncoded(encoded))]).toEqual([...(await model.scoreEncoded(encoded))])
    const stored = await model.readHead()
    for (const part of ['knots', 'slopes', 'offset']) stored.delete(`head.${part}`)
    const older = new Head(init, 2, stored)
    expect([...(await older.read()).keys()]).toEqual([...stored.keys()])
    older.dispose()
  })

  it('is refused where its curves are damaged', async () => {
    const stored = await (await run({ epochs: 0 })).readHead()
    const { shape, values } = stored.get('head.slopes')!
    const damaged = [
      { shape, values: values.subarray(1) },
      { shape, values: values.map(() => Number.NaN) },
    ]
    for (const slopes of damaged) {
      const head = new Map(stored).set('head.slopes', slopes)
      expect(() => new Head(init, 2, head)).toThrow(expect.objectContaining({ code: 'MODEL_INVALID' }))
    }
  })

  it('resumes to the same bits as an uninterrupted run', async () => {
    const whole = await (await run()).scoreEncoded(encoded)
    const out = temporaryFolder()
    await stopAfter(9, control => run({ out, ...control }))
    const resumed = await run({ out, resume: true })
    expect([...(await resumed.scoreEncoded(encoded))]).toEqual([...whole])
  })
})
