import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { toLightgbm } from '../../lib/export/lightgbm.js'
import { BinnedMatrix } from '../../lib/runtime/binned_matrix.js'
import { type GbrtOptions, GbrtTrainer } from '../../lib/trees/gbrt.js'
import type { GbrtModel } from '../../lib/trees/model.js'
import { everyVariant, openDevice } from '../support/devices.js'
import { TestRandom } from '../support/random.js'
import { smallTable } from '../support/tables.js'

const device = openDevice()
const { columns, labels } = smallTable(3000)
const matrix = await BinnedMatrix.from(device, { columns })

async function fitted(options: GbrtOptions, targets: Float32Array = labels): Promise<GbrtModel> {
  const trainer = new GbrtTrainer(matrix, { numIterations: 10, numLeaves: 12, ...options })
  const { model } = await trainer.fit({ targets })
  trainer.dispose()
  return model
}

/** How far predictions go against `sign` as one column runs up, from some rows. */
function worstStep(model: GbrtModel, rows: readonly number[][], feature: number, sign: number): number {
  let worst = 0
  for (const row of rows) {
    const along = Array.from({ length: 41 }, (_, i) => {
      const moved = row.slice()
      moved[feature] = (i - 20) / 5
      return model.predictRow(moved, { raw: true })
    })
    for (let i = 1; i < along.length; i++) {
      for (let k = 0; k < along[i].length; k++) worst = Math.max(worst, sign * (along[i - 1][k] - along[i][k]))
    }
  }
  return worst
}

const devices = everyVariant()

describe('monotone constraints', () => {
  it('hold on random data, whatever the other options', async () => {
    const shapes = fc.record({
      seed: fc.integer({ min: 0, max: 1e6 }),
      rows: fc.integer({ min: 30, max: 600 }),
      objective: fc.constantFrom('squared', 'logistic', 'softmax'),
      lambdaL1: fc.constantFrom(0, 0.5),
      lambdaL2: fc.constantFrom(0, 5),
      numLeaves: fc.integer({ min: 2, max: 40 }),
      maxDepth: fc.constantFrom(-1, 3),
      signs: fc.tuple(...Array.from({ length: 3 }, () => fc.constantFrom(-1, 0, 1))),
      missing: fc.constantFrom(0, 0.2),
      weighted: fc.boolean(),
    })
    let constrained = 0
    const property = async (shape: Parameters<Parameters<typeof shapes.map>[0]>[0]) => {
      const { seed, rows, objective, signs, missing, weighted, ...options } = shape
      const random = new TestRandom(seed)
      const numClass = objective === 'softmax' ? 3 : 1
      const table = Array.from({ length: 4 }, (_, f) =>
        Float32Array.from({ length: rows }, () =>
          f === 3 ? random.integer(0, 9) : random.next() < missing ? Number.NaN : random.normal(),
        ),
      )
      // Against the constraints, for the most part.
      const targets = Float32Array.from({ length: rows }, (_, r) => {
        const score = signs.reduce<number>((sum, sign, f) => sum - sign * (table[f][r] || 0), random.normal())
        return objective === 'squared' ? score : objective === 'logistic' ? Number(score > 0) : random.integer(0, 2)
      })
      const weights = weighted ? Float32Array.from({ length: rows }, () => random.next() + 0.1) : undefined
      const own = await BinnedMatrix.from(device, { columns: table }, { categorical: [3], names: ['a', 'b', 'c', 'd'] })
      const monotoneConstraints = { a: signs[0], b: signs[1], c: signs[2] }
      const more = { numIterations: 8, minDataInLeaf: 3, minDataPerGroup: 3, catSmooth: 1 }
      const trainer = new GbrtTrainer(own, { ...options, ...more, objective, numClass, monotoneConstraints })
      const { model } = await trainer.fit({ targets, weights })
      trainer.dispose()
      own.dispose()
      const from = Array.from({ length: 6 }, () => [...[0, 1, 2].map(() => random.normal()), random.integer(0, 9)])
      for (const [f, sign] of signs.entries()) {
        if (sign === 0) continue
        constrained++
        // Leaves of two trees may differ in their last bit.
        expect(worstStep(model, from, f, sign)).toBeLessThan(1e-12)
      }
    }
    await fc.assert(fc.asyncProperty(shapes, property), { numRuns: 60 })
    expect(constrained).toBeGreaterThan(40)
  })

  it('are the same in every variant, and bind where the data would not obey', async () => {
    const rows = Array.from({ length: 5 }, (_, r) => columns.map(column => column[r * 31]))
    const free = await fitted({})
    // The label depends on the square of column 1.
    expect(worstStep(free, rows, 1, 1)).toBeGreaterThan(0.1)
    for (const [, own] of devices) {
      const same = await BinnedMatrix.from(own, { columns })
      const texts: string[] = []
      for (const monotoneConstraints of [[0, 1, 0, 0, 0], { Column_1: 1 }]) {
        const trainer = new GbrtTrainer(same, { numIterations: 10, numLeaves: 12, monotoneConstraints })
        const { model } = await trainer.fit({ targets: labels })
        texts.push(toLightgbm(model))
        expect(worstStep(model, rows, 1, 1)).toBe(0)
      }
      expect(texts[0]).toBe(texts[1])
      expect(texts[0]).toBe(toLightgbm(await fitted({ monotoneConstraints: [0, 1, 0, 0, 0] })))
    }
    expect(toLightgbm(await fitted({ monotoneConstraints: [0, 0, 0, 0, 0] }))).toBe(toLightgbm(free))
  })

  it('refuse what they cannot hold', async () => {
    expect(() => new GbrtTrainer(matrix, { monotoneConstraints: [1] })).toThrow(/5 monotone constraints/)
    expect(() => new GbrtTrainer(matrix, { monotoneConstraints: [2, 0, 0, 0, 0] })).toThrow(/0, 1 or −1/)
    expect(() => new GbrtTrainer(matrix, { monotoneConstraints: { nobody: 1 } })).toThrow(/to name columns/)
    const coded = await BinnedMatrix.from(device, { columns: [Int32Array.of(0, 1, 2)] }, { categorical: [0] })
    expect(() => new GbrtTrainer(coded, { monotoneConstraints: [1] })).toThrow(/columns of numbers/)
  })
})

describe('a largest step', () => {
  it('bounds what each leaf adds, the same in every variant, also beside constraints', async () => {
    const rare = labels.map((_, r) => Number(r % 200 === 0))
    const most = (model: GbrtModel) =>
      model.trees.leafValue
        // The first tree holds the start.
        .subarray(model.trees.numLeaves[0])
        .reduce((most, value) => Math.max(most, Math.abs(value)), 0)
    const options = { minDataInLeaf: 2, learningRate: 0.5 }
    expect(most(await fitted(options, rare))).toBeGreaterThan(0.75)
    for (const monotoneConstraints of [[], [1, 0, 0, -1, 0]]) {
      const bounded = { ...options, monotoneConstraints, maxDeltaStep: 1.5 }
      const want = await fitted(bounded, rare)
      expect(most(want)).toBe(0.75)
      for (const [, own] of devices) {
        const same = await BinnedMatrix.from(own, { columns })
        const trainer = new GbrtTrainer(same, { numIterations: 10, numLeaves: 12, ...bounded })
        expect(toLightgbm((await trainer.fit({ targets: rare })).model)).toBe(toLightgbm(want))
      }
    }
    expect(() => new GbrtTrainer(matrix, { maxDeltaStep: -1 })).toThrow(/maxDeltaStep in \[0, ∞\] but received -1/)
  })
})

describe('learning rates', () => {
  it('may change from round to round', async () => {
    const same = await fitted({ learningRate: () => 0.2 })
    expect(toLightgbm(same)).toBe(toLightgbm(await fitted({ learningRate: 0.2 })))
    const rounds: number[] = []
    const falling = await fitted({
      objective: 'squared',
      numLeaves: 2,
      numIterations: 3,
      learningRate: round => {
        rounds.push(round)
        return 1 / 2 ** round
      },
    })
    expect([...new Set(rounds)]).toEqual([0, 1, 2])
    const first = await fitted({ objective: 'squared', numLeaves: 2, numIterations: 1, learningRate: 0.5 })
    // The first tree's leaves without the mean that they start from: twice as far at twice the rate.
    const [mean] = [labels.reduce((sum, label) => sum + label, 0) / labels.length]
    const half = first.trees.leafValue.map(value => value - mean)
    for (const [l, value] of falling.trees.leafValue.subarray(0, 2).entries()) {
      expect(value - mean).toBeCloseTo(2 * half[l], 5)
    }
    const bad = new GbrtTrainer(matrix, { learningRate: () => 0 })
    await expect(bad.fit({ targets: labels })).rejects.toThrow(/learningRate\(0\) above 0/)
  })
})

describe('going on from a model', () => {
  const classes = labels.map((label, r) => label + (columns[4][r] > 0.5 ? 1 : 0))
  it.each([
    ['logistic', { objective: 'logistic' }, labels],
    ['bags and features', { baggingFraction: 0.5, baggingFreq: 3, featureFraction: 0.6 }, labels],
    ['a schedule', { learningRate: (round: number) => 0.3 / (1 + round) }, labels],
    ['softmax', { objective: 'softmax', numClass: 3 }, classes],
  ] as const)('gives what one fit gives: %s', async (_, options, targets) => {
    const trainer = new GbrtTrainer(matrix, { numLeaves: 12, ...options })
    const whole = await trainer.fit({ targets, numIterations: 9 })
    const first = await trainer.fit({ targets, numIterations: 4 })
    const second = await trainer.fit({ targets, numIterations: 5, from: first.model })
    expect(second.rounds).toBe(5)
    expect(toLightgbm(second.model)).toBe(toLightgbm(whole.model))
    const raw = await second.model.predictBinned(matrix, { raw: true })
    const scores = await trainer.scores()
    const { numClass } = second.model.info
    for (let i = 0; i < raw.length; i++) {
      if (raw[i] !== scores[(i % numClass) * 3000 + Math.floor(i / numClass)]) throw new Error(`${i} differs`)
    }
  })

  it('keeps category lists apart', async () => {
    const codes = Int32Array.from({ length: 3000 }, (_, r) => (r * 7) % 23)
    const own = await BinnedMatrix.from(device, { columns: [codes, columns[0]] }, { categorical: [0] })
    const targets = labels.map((label, r) => (codes[r] % 3 === 0 ? 1 - label : label))
    const trainer = new GbrtTrainer(own, { numLeaves: 8, minDataPerGroup: 5 })
    const whole = await trainer.fit({ targets, numIterations: 6 })
    expect(whole.model.trees.categoryStart.length).toBeGreaterThan(3)
    const { model } = await trainer.fit({ targets, numIterations: 2 })
    const joined = await trainer.fit({ targets, numIterations: 4, from: model })
    expect(toLightgbm(joined.model)).toBe(toLightgbm(whole.model))
  })

  it('stops early by itself', async () => {
    const validation = Uint8Array.from({ length: 3000 }, (_, r) => r % 2)
    const trainer = new GbrtTrainer(matrix, { learningRate: 0.3, earlyStoppingRound: 4 })
    const first = await trainer.fit({ targets: labels, validation, numIterations: 3 })
    const { model, rounds, losses } = await trainer.fit({ targets: labels, validation, from: first.model })
    expect(model.iterations).toBe(3 + rounds)
    expect(Math.min(...losses)).toBe(losses[rounds - 1])
    expect(await model.predict(device, { columns }, { raw: true })).toEqual(await trainer.scores())
  })

  it('refuses a model of another kind', async () => {
    const model = await fitted({ objective: 'squared', numIterations: 1 })
    const trainer = new GbrtTrainer(matrix)
    const scores = new Float64Array(3000)
    await expect(trainer.fit({ targets: labels, from: model })).rejects.toThrow(/objective logistic/)
    const logistic = await fitted({ numIterations: 1 })
    await expect(trainer.fit({ targets: labels, from: logistic, scores })).rejects.toThrow(/scores or a model/)
    const other = await BinnedMatrix.from(device, { columns: columns.map(column => column.map(v => v * 1.1)) })
    await expect(new GbrtTrainer(other).fit({ targets: labels, from: logistic })).rejects.toThrow(/a matrix with bound/)
  })
})
