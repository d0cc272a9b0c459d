import { describe, expect, it, test } from 'vitest'
import { INSTALL, loadOnnxruntime } from '../../bench/peers/onnxruntime.js'
import { exportTrees, floatBelow } from '../../lib/export/onnx_trees.js'
import { BinnedMatrix } from '../../lib/runtime/binned_matrix.js'
import { type GbrtOptions, GbrtTrainer } from '../../lib/trees/gbrt.js'
import { GbrtModel } from '../../lib/trees/model.js'
import { RandomForestTrainer } from '../../lib/trees/random_forest.js'
import { openDevice } from '../support/devices.js'
import { TestRandom } from '../support/random.js'

const ort = loadOnnxruntime()
const ROWS = 2000
const FEATURES = 4
const device = openDevice()

/** Two numbers, one of them at times missing, one that is never, and codes of which some are unknown to the model. */
function table(seed: number, missing: boolean): Float32Array {
  const random = new TestRandom(seed)
  return Float32Array.from({ length: ROWS * FEATURES }, (_, i) => {
    if (i % FEATURES === 3) return random.integer(0, missing ? 59 : 39)
    return missing && random.integer(0, 4) === 0 ? Number.NaN : random.normal()
  })
}

const values = table(1, true).map((value, i) => (i % FEATURES === 1 && Number.isNaN(value) ? 0 : value))
const score = Array.from({ length: ROWS }, (_, row) => {
  const [a, b, , code] = values.subarray(row * FEATURES, row * FEATURES + FEATURES)
  return (Number.isNaN(a) ? 1 : a) * b + ((code * 7) % 5) - 2
})

const TARGET = {
  squared: (value: number) => value,
  logistic: (value: number) => Number(value > 0),
  softmax: (value: number) => (value > 1 ? 2 : value > -1 ? 1 : 0),
}

async function trained(options: GbrtOptions): Promise<GbrtModel> {
  const matrix = await BinnedMatrix.from(device, { values, features: FEATURES }, { categorical: [3] })
  const targets = Float32Array.from(score, value => TARGET[options.objective as keyof typeof TARGET](value))
  return (await new GbrtTrainer(matrix, { minDataPerGroup: 5, catSmooth: 1, ...options }).fit({ targets })).model
}

const MODELS: Record<string, () => Promise<GbrtModel>> = {
  'squared loss': () => trained({ objective: 'squared', numIterations: 40 }),
  'a logistic objective': () => trained({ objective: 'logistic', numIterations: 40 }),
  'three classes': () => trained({ objective: 'softmax', numClass: 3, numIterations: 15 }),
  'a random forest': async () => {
    const matrix = await BinnedMatrix.from(device, { values, features: FEATURES }, { categorical: [3] })
    const targets = Float32Array.from(score, value => Number(value > 0))
    return new RandomForestTrainer(matrix, { numIterations: 20 }).fit({ targets })
  },
}

test('thresholds become the float below', () => {
  const random = new TestRandom(3)
  for (let i = 0; i < 10_000; i++) {
    const threshold = random.normal() * 10 ** random.integer(-50, 38)
    const below = floatBelow(threshold)
    expect(below).toBeLessThanOrEqual(threshold)
    expect(Math.fround(below)).toBe(below)
    const above = -floatBelow(-threshold)
    expect(above).toBeGreaterThanOrEqual(threshold)
    // Nothing between them but the threshold itself.
    const middle = Math.fround(below + (above - below) / 2)
    expect(middle === below || middle === above).toBe(true)
  }
})

test('splits that take zero for a missing value are refused', async () => {
  const { info, trees } = await trained({ objective: 'squared', numIterations: 1 })
  const zero = trees.decision.map(bits => (bits & 1 ? bits : (bits & 3) | 4))
  expect(() => exportTrees(new GbrtModel(info, { ...trees, decision: zero }))).toThrow(
    /expected NaN for missing values/,
  )
})

describe.skipIf(!ort)(`trees in onnxruntime-node${ort ? '' : `, which is not installed (${INSTALL})`}`, () => {
  it.each(Object.keys(MODELS))('predict the same: %s', async name => {
    const model = await MODELS[name]()
    const { numClass } = model.info
    if (model.info.isAverage) expect(() => exportTrees(model, { iterations: 0 })).toThrow(/iterations in \[1, 20\]/)
    const fewest = model.info.isAverage ? 1 : 0
    for (const options of [{}, { raw: true }, { iterations: 3 }, { iterations: fewest, raw: true }]) {
      const session = await ort!.session(exportTrees(model, options), 2)
      for (const rows of [values, table(2, true), table(3, false)]) {
        const feeds = ort!.feeds(session, { x: { type: 'float32', values: rows, shape: [ROWS, FEATURES] } })
        const { prediction } = await session.run(feeds)
        expect(prediction.dims).toEqual([ROWS, numClass])
        const ours = await model.predict(device, { values: rows, features: FEATURES }, options)
        // A wrong turn in a tree changes a prediction by far more than float32's sums of 40 leaves of size 1 do.
        for (let i = 0; i < ours.length; i++) expect(Math.abs(prediction.data[i] - ours[i])).toBeLessThan(2e-5)
      }
      await session.release()
    }
  })
})
