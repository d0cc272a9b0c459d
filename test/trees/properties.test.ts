// What must hold of every fit, whatever the data and the options: shapes and parameters are drawn, and shrunk when one fails.

import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { fromLightgbm, toLightgbm } from '../../lib/export/lightgbm.js'
import { BinnedMatrix } from '../../lib/runtime/binned_matrix.js'
import type { Device } from '../../lib/runtime/device.js'
import { type GbrtOptions, GbrtTrainer, type Objective } from '../../lib/trees/gbrt.js'
import type { GbrtModel } from '../../lib/trees/model.js'
import { openDevice } from '../support/devices.js'
import { TestRandom } from '../support/random.js'
import { permutation, takeRows } from '../support/tables.js'

const one = openDevice({ threads: 1 })
const two = openDevice({ threads: 2 })

const CLASSES = 3
const shapes = fc.record({
  seed: fc.integer({ min: 0, max: 1e6 }),
  rows: fc.integer({ min: 1, max: 9000 }),
  kinds: fc.array(fc.constantFrom('normal', 'few', 'missing', 'constant', 'empty', 'infinite', 'category', 'huge'), {
    minLength: 1,
    maxLength: 20,
  }),
  wide: fc.boolean(),
  objective: fc.constantFrom<Objective>('squared', 'logistic', 'softmax'),
  maxBin: fc.integer({ min: 2, max: 255 }),
  options: fc.record({
    numIterations: fc.integer({ min: 1, max: 6 }),
    numLeaves: fc.integer({ min: 2, max: 70 }),
    maxDepth: fc.constantFrom(-1, 1, 4),
    learningRate: fc.constantFrom(0.1, 1),
    minDataInLeaf: fc.constantFrom(0, 1, 20),
    minSumHessianInLeaf: fc.constantFrom(0.001, 1),
    lambdaL1: fc.constantFrom(0, 0.3),
    lambdaL2: fc.constantFrom(0, 3),
    featureFraction: fc.constantFrom(1, 0.5),
    featureFractionBynode: fc.constantFrom(1, 0.5),
    maxCatToOnehot: fc.constantFrom(2, 30),
    minDataPerGroup: fc.constantFrom(1, 100),
    catSmooth: fc.constantFrom(0, 10),
  }),
})
type Shape = typeof shapes extends fc.Arbitrary<infer T> ? T : never
type Columns = (Float32Array | Float64Array)[]

function dataOf({ seed, rows, kinds, wide, objective }: Shape) {
  const random = new TestRandom(seed)
  const cell = (kind: string) => {
    const value = random.normal()
    if (kind === 'few') return Math.round(value)
    if (kind === 'missing') return random.next() < 0.3 ? Number.NaN : value
    if (kind === 'constant') return 7
    if (kind === 'empty') return Number.NaN
    if (kind === 'infinite') return random.next() < 0.1 ? Math.sign(value) * Number.POSITIVE_INFINITY : value
    if (kind === 'category') return random.integer(-1, 40)
    if (kind === 'huge') return value * (wide ? 1e300 : 1e38)
    return value
  }
  const columns: Columns = kinds.map(kind => {
    const column = new (wide ? Float64Array : Float32Array)(rows)
    for (let r = 0; r < rows; r++) column[r] = cell(kind)
    return column
  })
  const targets = Float32Array.from({ length: rows }, (_, r) => {
    const score = Math.tanh(columns[0][r] || 0) + random.normal() / 2
    if (objective === 'softmax') return score < -0.3 ? 0 : score < 0.3 ? 1 : 2
    // Anything between 0 and 1 as well.
    return objective === 'logistic' ? Math.min(1, Math.max(0, score)) : score
  })
  return { columns, targets }
}

const binned = (device: Device, columns: Columns, { kinds, maxBin }: Shape) =>
  BinnedMatrix.from(
    device,
    { columns },
    { categorical: kinds.flatMap((kind, f) => (kind === 'category' ? [f] : [])), maxBin },
  )

async function fitted(
  matrix: BinnedMatrix,
  { objective, options }: Shape,
  input: { targets: Float32Array; weights?: Float32Array },
  more: GbrtOptions = {},
) {
  const numClass = objective === 'softmax' ? CLASSES : 1
  const trainer = new GbrtTrainer(matrix, { ...options, objective, numClass, ...more })
  const { model } = await trainer.fit(input)
  const scores = await trainer.scores()
  trainer.dispose()
  return { model, scores, text: toLightgbm(model) }
}

/** Each run of a property gets data, a matrix that is freed at its end, and the shape. */
const holds = (
  numRuns: number,
  check: (shape: Shape, matrix: BinnedMatrix, data: ReturnType<typeof dataOf>) => Promise<void>,
) =>
  fc.assert(
    fc.asyncProperty(shapes, async shape => {
      const data = dataOf(shape)
      const matrix = await binned(two, data.columns, shape)
      try {
        await check(shape, matrix, data)
      } finally {
        matrix.dispose()
      }
    }),
    // The same cases in every run of the tests, and an end whatever the machine.
    { numRuns, seed: 20_26, interruptAfterTimeLimit: 20_000, markInterruptAsFailure: false },
  )

/** Splits whose counts do not add up. */
function unevenNodes({ trees }: GbrtModel): number {
  let uneven = 0
  let [firstNode, firstLeaf] = [0, 0]
  for (const leaves of trees.numLeaves) {
    const count = (at: number) => (at < 0 ? trees.leafCount[firstLeaf - 1 - at] : trees.internalCount[firstNode + at])
    for (let node = firstNode; node < firstNode + leaves - 1; node++) {
      if (trees.internalCount[node] !== count(trees.leftChild[node]) + count(trees.rightChild[node])) uneven++
    }
    firstNode += leaves - 1
    firstLeaf += leaves
  }
  return uneven
}

describe('for any data and options', { timeout: 60_000 }, () => {
  it('scores are the predictions from bins, from values and from the file', async () => {
    let splits = 0
    await holds(60, async (shape, matrix, { columns, targets }) => {
      const { model, scores, text } = await fitted(matrix, shape, { targets })
      const { rows } = shape
      const { numClass } = model.info
      const want = scores.map((_, i) => scores[(i % numClass) * rows + Math.floor(i / numClass)])
      expect(want.every(Number.isFinite)).toBe(true)
      expect(await model.predictBinned(matrix, { raw: true })).toEqual(want)
      expect(await model.predict(two, { columns }, { raw: true })).toEqual(want)
      const read = fromLightgbm(text)
      expect(toLightgbm(read)).toBe(text)
      expect(await read.predict(two, { columns }, { raw: true })).toEqual(want)
      splits += model.trees.splitFeature.length
    })
    expect(splits).toBeGreaterThan(1000)
  })

  it('one thread gives the bytes of two, and permuted rows those of rows in order', async () => {
    await holds(40, async (shape, matrix, { columns, targets }) => {
      const { text } = await fitted(matrix, shape, { targets })
      const alone = await binned(one, columns, shape)
      expect((await fitted(alone, shape, { targets })).text).toBe(text)
      alone.dispose()
      const order = permutation(shape.rows, shape.seed)
      const mixed = await binned(
        two,
        columns.map(column => takeRows(column, order)),
        shape,
      )
      expect((await fitted(mixed, shape, { targets: takeRows(targets, order) })).text).toBe(text)
      mixed.dispose()
    })
  })

  it('weight k gives the bytes of k copies, and rows of weight 0 none', async () => {
    await holds(40, async (shape, matrix, { columns, targets }) => {
      const random = new TestRandom(shape.seed + 1)
      const weights = Float32Array.from({ length: shape.rows }, (_, r) => (r === 0 ? 9 : random.integer(0, 3)))
      const copies = [...weights].flatMap((weight, r) => new Array<number>(weight).fill(r))
      const copied = await matrix.like({ columns: columns.map(column => takeRows(column, copies)) })
      const { text } = await fitted(matrix, shape, { targets, weights })
      expect(text).toBe((await fitted(copied, shape, { targets: takeRows(targets, copies) })).text)
      copied.dispose()
    })
  })

  it('a parent has the rows of its children', async () => {
    await holds(40, async (shape, matrix, { targets }) => {
      const { model } = await fitted(matrix, shape, { targets }, { baggingFraction: 0.7, baggingFreq: 1 })
      expect(unevenNodes(model)).toBe(0)
    })
  })

  it('SHAP values sum to the prediction', async () => {
    await holds(25, async (shape, matrix, { columns, targets }) => {
      const { model } = await fitted(matrix, shape, { targets })
      const some = { columns: columns.map(column => column.subarray(0, 200)) }
      const values = await model.shap(two, some)
      const raw = await model.predict(two, some, { raw: true })
      const width = model.features + 1
      const sums = raw.map((_, i) => values.subarray(i * width, (i + 1) * width).reduce((a, b) => a + b))
      // Sums of a few hundred float64 leaves in another order.
      const scale = model.trees.leafValue.reduce((most, value) => Math.max(most, Math.abs(value)), 1)
      for (let i = 0; i < raw.length; i++) expect(Math.abs(sums[i] - raw[i])).toBeLessThanOrEqual(1e-10 * scale)
    })
  })
})
