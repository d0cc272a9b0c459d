// Input that cannot be learned from, or hardly: each kind has a defined result or a clear error, and the trainer works on.

import { describe, expect, it } from 'vitest'
import { fromLightgbm, toLightgbm } from '../../lib/export/lightgbm.js'
import { binding } from '../../lib/native.js'
import { Forest } from '../../lib/ops/forest_predict.js'
import { NativeTrainer, type TrainerNumbers } from '../../lib/ops/gbrt_trainer.js'
import { BinnedMatrix, type NumberArray } from '../../lib/runtime/binned_matrix.js'
import { type FitInput, type GbrtOptions, GbrtTrainer } from '../../lib/trees/gbrt.js'
import { IsolationForest } from '../../lib/trees/isolation_forest.js'
import { kmeans } from '../../lib/trees/kmeans.js'
import { RandomForestTrainer } from '../../lib/trees/random_forest.js'
import { expectClose } from '../support/close.js'
import { openDevice } from '../support/devices.js'
import { queueLongWork } from '../support/long_work.js'
import { smallTable } from '../support/tables.js'

const ROWS = 600
const device = openDevice()
const { columns, labels } = smallTable(ROWS)
const matrix = await BinnedMatrix.from(device, { columns })
const trainer = new GbrtTrainer(matrix, { numIterations: 3 })
const forest = new RandomForestTrainer(matrix, { numIterations: 3 })
const usual = toLightgbm((await trainer.fit({ targets: labels })).model)

async function fitted(
  table: readonly NumberArray[],
  input: FitInput,
  options: GbrtOptions = {},
  categorical: number[] = [],
) {
  const own = new GbrtTrainer(await BinnedMatrix.from(device, { columns: table }, { categorical }), options)
  const { model } = await own.fit(input)
  const scores = await own.scores()
  // What was learned can be written and read, and says the same of values.
  const read = fromLightgbm(toLightgbm(model))
  const raw = await read.predict(device, { columns: table }, { raw: true })
  if (model.info.numClass === 1) expect(raw).toEqual(scores)
  return { model, scores }
}

/** Boosted trees and random forests refuse it alike; afterwards they fit as before. */
async function refuse(input: object, error: RegExp): Promise<void> {
  await expect(trainer.fit({ targets: labels, ...input })).rejects.toThrow(error)
  await expect(forest.fit({ targets: labels, ...input })).rejects.toThrow(error)
  expect(toLightgbm((await trainer.fit({ targets: labels })).model)).toBe(usual)
}

/** For the native trainer: squared loss, stumps. */
const numbers: TrainerNumbers = {
  objective: 0,
  numClass: 1,
  numLeaves: 2,
  maxDepth: -1,
  learningRate: 0.1,
  minDataInLeaf: 20,
  minSumHessianInLeaf: 1e-3,
  minGainToSplit: 0,
  lambdaL1: 0,
  lambdaL2: 0,
  baggingFraction: 1,
  baggingFreq: 0,
  featureFraction: 1,
  seed: 0,
  maxCatThreshold: 32,
  maxCatToOnehot: 4,
  catL2: 10,
  catSmooth: 10,
  minDataPerGroup: 100,
  boostFromAverage: 1,
  featureFractionBynode: 1,
  forest: 0,
  maxDeltaStep: 0,
}
const filled = (value: number, rows = ROWS) => new Float32Array(rows).fill(value)
const with5 = (value: number) => labels.map((label, r) => (r === 5 ? value : label))
const half = Float32Array.from({ length: ROWS }, (_, r) => r % 2)

describe('has a defined result', () => {
  it.each([
    ['a constant column', filled(3)],
    ['a column of NaN', filled(Number.NaN)],
    ['a column of +∞', filled(Number.POSITIVE_INFINITY)],
    ['a column of −∞', filled(Number.NEGATIVE_INFINITY)],
  ])('%s', async (_, column) => {
    // Alone it says nothing; beside others it is not used.
    const { model, scores } = await fitted([column], { targets: half })
    expect(model.trees.splitFeature.length).toBe(0)
    expect([...scores]).toEqual(new Array(ROWS).fill(0))
    const beside = await fitted([...columns, column], { targets: labels }, { numIterations: 3 })
    expect(beside.model.importance('split')[columns.length]).toBe(0)
    expect(beside.scores).toEqual((await fitted(columns, { targets: labels }, { numIterations: 3 })).scores)
    const scored = await (await IsolationForest.fit(device, { columns: [column] })).score({ columns: [column] })
    expect(new Set(scored).size).toBe(1)
    expect(scored[0] >= 0 && scored[0] <= 1).toBe(true)
  })

  it('infinities are values', async () => {
    const x = Float32Array.from({ length: 900 }, (_, r) => [-Infinity, 0.5, Infinity, Number.NaN][r % 4])
    const targets = Float32Array.from({ length: 900 }, (_, r) => [0.1, 0.9, 0.3, 0.6][r % 4])
    const { scores } = await fitted([x], { targets }, { objective: 'squared', numIterations: 1, learningRate: 1 })
    expectClose(scores, targets, { absolute: 1e-6 })
  })

  it('one row', async () => {
    const { scores } = await fitted([Float32Array.of(1)], { targets: Float32Array.of(0.25) })
    expect(scores[0]).toBeCloseTo(Math.log(1 / 3), 5)
    const own = new RandomForestTrainer(await BinnedMatrix.from(device, { columns: [Float32Array.of(1)] }))
    expect((await own.fit({ targets: Float32Array.of(0.25) })).predictRow([1])[0]).toBeCloseTo(0.25, 5)
    const lonely = await IsolationForest.fit(device, { columns: [Float32Array.of(1)] })
    expect((await lonely.score({ columns: [Float32Array.of(1)] })).every(Number.isFinite)).toBe(true)
    expect((await kmeans(device, { columns: [Float32Array.of(1)] }, { clusters: 1 })).assigned[0]).toBe(0)
  })

  it.each([
    ['logistic, all 1', { objective: 'logistic' }, 1],
    ['logistic, all 0', { objective: 'logistic' }, 0],
    ['squared', { objective: 'squared' }, 5],
    ['softmax', { objective: 'softmax', numClass: 3 }, 1],
  ] as const)('one class: %s', async (_, options, target) => {
    const { model, scores } = await fitted(columns, { targets: filled(target) }, { ...options, numIterations: 3 })
    expect(scores.every(Number.isFinite)).toBe(true)
    const [first, second = 0] = model.predictRow(columns.map(column => column[7]))
    // Of classes the second is the one that all rows have.
    expect(options.objective === 'softmax' ? second : first).toBeCloseTo(target === 0 ? 0 : target === 5 ? 5 : 1, 6)
  })

  it('more categories than bins: the most frequent are kept, the others are one', async () => {
    const rows = 8000
    // Code c < 1000 stands in four rows each, the last four codes in a thousand.
    const codes = Int32Array.from({ length: rows }, (_, r) => (r < 4000 ? r >> 2 : 2000 + (r % 4)))
    const targets = Float32Array.from(codes, code => (code === 2001 ? 1 : code < 1000 ? 0.5 : 0))
    const options = { objective: 'squared', numIterations: 60, minDataPerGroup: 1, catSmooth: 0, catL2: 0 } as const
    const { model } = await fitted([codes], { targets }, options, [0])
    const said = [2000, 2001, 2002, 999, 5_000, -1, Number.NaN].map(code => model.predictRow([code])[0])
    expectClose(said, [0, 1, 0, 0.5, 0.5, 0.5, 0.5], { absolute: 0.02 })
  })
})

describe('is refused with a clear error', () => {
  it('negative weights', () =>
    refuse({ weights: with5(-1) }, /weights to be finite and at least 0 but received -1.0+ at row 5/))

  it('weights that are NaN or infinite', async () => {
    await refuse({ weights: with5(Number.NaN) }, /weights to be finite and at least 0 but received -?nan at row 5/)
    await refuse({ weights: with5(Number.POSITIVE_INFINITY) }, /weights to be finite/)
  })

  it('a total weight of zero, and no row that trains', async () => {
    await refuse({ weights: filled(0) }, /at least one row that trains/)
    await refuse({ mask: new Uint8Array(ROWS) }, /at least one row that trains/)
  })

  it('targets outside the range of the objective', async () => {
    const fit = (options: GbrtOptions, target: number) =>
      new GbrtTrainer(matrix, options).fit({ targets: with5(target) })
    await expect(fit({}, 1.5)).rejects.toThrow(/targets in \[0, 1\] but received 1.500000 at row 5/)
    await expect(fit({}, -0.1)).rejects.toThrow(/targets in \[0, 1\]/)
    await expect(fit({}, Number.NaN)).rejects.toThrow(/targets in \[0, 1\]/)
    await expect(fit({ objective: 'squared' }, Number.POSITIVE_INFINITY)).rejects.toThrow(/targets to be finite/)
    const classes = { objective: 'softmax', numClass: 3 } as const
    for (const target of [3, 0.5, -1]) {
      await expect(fit(classes, target)).rejects.toThrow(/classes from 0 to 2 but received/)
    }
    await expect(forest.fit({ targets: with5(Number.NaN) })).rejects.toThrow(/targets to be finite/)
  })

  it('wrong lengths and kinds', async () => {
    await refuse({ targets: labels.subarray(1) }, /600 targets but received 599/)
    await refuse({ weights: labels.subarray(1) }, /600 weights but received 599/)
    await refuse({ mask: new Uint8Array(5) }, /mask of 600 rows but received 5/)
    await refuse({ mask: labels }, /mask to be a Uint8Array/)
    await expect(trainer.fit({})).rejects.toThrow(/expected targets but received null/)
    await expect(trainer.fit({ targets: labels, scores: new Float64Array(7) })).rejects.toThrow(RangeError)
    const nan = new Float64Array(ROWS).fill(Number.NaN)
    await expect(trainer.fit({ targets: labels, scores: nan })).rejects.toThrow(RangeError)
    await expect(trainer.fit({ targets: labels, custom: () => {} })).rejects.toThrow(TypeError)
    await expect(matrix.like({ columns: columns.slice(1) })).rejects.toThrow(/5 columns but received 4/)
    const { model } = await trainer.fit({ targets: labels })
    await expect(model.predict(device, { columns: columns.slice(1) })).rejects.toThrow(/5 features but received 4/)
    expect(() => model.predictRow([1])).toThrow(/5 values but received 1/)
  })

  it('a column that is named like a member of Object, and missing', async () => {
    const named = { constructor: columns[0], valueOf: columns[1] }
    const own = await BinnedMatrix.from(device, { columns: named })
    const { model } = await new GbrtTrainer(own, { numIterations: 1 }).fit({ targets: labels })
    const { valueOf: _, ...fewer } = named
    await expect(model.predict(device, { columns: fewer })).rejects.toThrow(/column 'valueOf'/)
  })

  it('gradients of the caller that are no numbers', async () => {
    const custom = new GbrtTrainer(matrix, { objective: 'custom', numIterations: 1 })
    const fill = (gradient: number, hessian: number) =>
      custom.fit({
        custom: (_, gradients, hessians) => {
          gradients.fill(gradient)
          hessians.fill(hessian)
        },
      })
    await expect(fill(Number.NaN, 1)).rejects.toThrow(/finite gradients/)
    await expect(fill(0, -1)).rejects.toThrow(/Hessians of at least 0/)
    expect((await fill(1, 1)).rounds).toBe(1)
  })

  it('options that are unknown or outside their range', () => {
    const make = (options: object) => () => new GbrtTrainer(matrix, options)
    expect(make({ numLeaves: 1 })).toThrow(/numLeaves in \[2, 131072\] but received 1/)
    expect(make({ numLeafs: 1 })).toThrow(/did you mean 'numLeaves'/)
    expect(make({ objective: 'softmax' })).toThrow(/numClass of at least 2/)
    expect(make({ objective: 'poisson' })).toThrow(/one of squared/)
  })

  it('a damaged model file, wherever it ends', async () => {
    let refused = 0
    for (let end = 0; end < usual.length; end += 7) {
      try {
        const model = fromLightgbm(usual.slice(0, end))
        expect(model.predictRow(columns.map(column => column[0])).length).toBe(1)
      } catch (error) {
        refused++
        expect(error).toMatchObject({
          code: 'BAD_MODEL',
          message: expect.stringMatching(/^\[\w+\] expected .+ but received/),
        })
      }
    }
    expect(refused).toBeGreaterThan(usual.length / 14)
  })

  it('a model that is a graph and no tree, with as many leaves: it is walked', async () => {
    // Both children of the root are node 1, and node 2 is nobody's.
    const graph = new Forest(1, 1, 1, {
      numLeaves: Int32Array.of(4),
      splitFeature: Int32Array.of(0, 0, 0),
      threshold: Float64Array.of(0, 0, 0),
      decision: Uint8Array.of(0, 0, 0),
      leftChild: Int32Array.of(1, -1, -3),
      rightChild: Int32Array.of(1, -2, -4),
      leafValue: Float64Array.of(1, 2, 3, 4),
      categoryStart: Int32Array.of(0),
      categoryWords: new Int32Array(0),
    })
    const rows = Float32Array.of(-1, 1, Number.NaN)
    expect([...(await graph.predict(device, rows, 3, 'raw'))]).toEqual([1, 2, 1])
  })

  it('scores of a trainer that has not been fitted', async () => {
    const own = new GbrtTrainer(matrix)
    await expect(own.scores()).rejects.toThrow(/has begun before scores/)
  })

  it('rounds of a trainer whose start was cancelled', async () => {
    const alone = openDevice()
    const table = await BinnedMatrix.from(alone, { columns })
    const own = new NativeTrainer(table, numbers, null)
    await expect(own.boost(1, 0, null)).rejects.toThrow(/has begun before boost/)
    await expect(own.watch(table, labels, null, null)).rejects.toThrow(/has begun before watch/)
    // Behind other work, so that it has not begun when it is cancelled.
    queueLongWork(alone, 5)
    const begun = own.begin(labels, null, null, null, 0)
    alone.cancel()
    await expect(begun).rejects.toMatchObject({ code: 'ABORTED' })
    await expect(own.boost(1, 0, null)).rejects.toThrow(/has begun before boost/)
    await own.begin(labels, null, null, null, 0)
    await own.boost(1, 0, null)
    expect(own.rounds).toBe(1)
  })

  it('scores of a forest whose growing was cancelled in the middle', async () => {
    const alone = openDevice()
    const size = 1 << 15
    const values = Float32Array.from({ length: size }, (_, i) => (i * 7919) % size)
    const forest = binding.iforest_create(alone.handle, 1, 64, size, 0, 1)
    const growing = binding.iforest_grow(forest, 0, 64, values, size)
    await new Promise(resolve => setTimeout(resolve, 20))
    alone.cancel()
    await expect(growing).rejects.toMatchObject({ code: 'ABORTED' })
    await expect(binding.iforest_score(forest, values, 0, 9)).rejects.toThrow(/received a forest without tree 0/)
  })

  it('a matrix that the list of options frees', async () => {
    const { handle } = await BinnedMatrix.from(device, { columns })
    const list = Object.values(numbers)
    Object.defineProperty(list, 3, {
      get() {
        binding.binned_dispose(handle)
        return numbers.maxDepth
      },
    })
    expect(() => binding.gbrt_trainer_create(handle, list, null)).toThrow(/an empty or freed one/)
  })

  it('a trainer that was freed', async () => {
    const own = new GbrtTrainer(matrix)
    own.dispose()
    await expect(own.fit({ targets: labels })).rejects.toThrow(/freed/)
  })
})
