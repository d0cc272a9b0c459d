import { describe, expect, it } from 'vitest'
import { fromLightgbm, toLightgbm } from '../../lib/export/lightgbm.js'
import { auc } from '../../lib/report/metrics.js'
import { BinnedMatrix } from '../../lib/runtime/binned_matrix.js'
import { type ForestInput, type RandomForestOptions, RandomForestTrainer } from '../../lib/trees/random_forest.js'
import { everywhere, openDevice } from '../support/devices.js'
import { smallTable, takeRows } from '../support/tables.js'

const device = openDevice()
const ROWS = 6000
const { columns, labels } = smallTable(ROWS)
const test = smallTable(4000, 5, 7)
const matrix = await BinnedMatrix.from(device, { columns })

async function grown(options: RandomForestOptions, input: ForestInput = { targets: labels }, own = matrix) {
  const trainer = new RandomForestTrainer(own, { numIterations: 60, ...options })
  const model = await trainer.fit(input)
  const outside = await trainer.outOfBagScores()
  trainer.dispose()
  return { model, outside }
}

describe('random forest', () => {
  it('predicts shares, and its out-of-bag scores tell how well', async () => {
    const { model, outside } = await grown({ numIterations: 100 })
    const shares = await model.predict(device, { columns: test.columns })
    for (const share of shares) expect(share >= 0 && share <= 1).toBe(true)
    const quality = auc(shares, test.labels)
    // The label is a noisy threshold; knowing the score without its noise gives about 0.85.
    expect(quality).toBeGreaterThan(0.8)
    expect(outside.every(Number.isFinite)).toBe(true)
    // Standard errors of both AUC are about 0.006.
    expect(Math.abs(auc(outside, labels) - quality)).toBeLessThan(0.02)
    // Rows that a tree saw are known to it.
    const seen = await model.predict(device, { columns })
    expect(auc(seen, labels)).toBeGreaterThan(quality + 0.08)
    const one = await grown({ numIterations: 1 })
    expect(auc(await one.model.predict(device, { columns: test.columns }), test.labels)).toBeLessThan(quality - 0.05)
  })

  it('draws rows as a bootstrap does', async () => {
    const { model, outside } = await grown({ numIterations: 1 })
    // A share of 1/e is not drawn; three standard deviations.
    const kept = outside.filter(score => !Number.isNaN(score)).length / ROWS
    expect(Math.abs(kept - Math.exp(-1))).toBeLessThan(3 * Math.sqrt((0.368 * 0.632) / ROWS))
    // Those that are drawn count as often as they were: as many as there are rows, in sum.
    const counted = model.trees.leafCount.reduce((sum, count) => sum + count, 0)
    expect(Math.abs(counted - ROWS)).toBeLessThan(3 * Math.sqrt(ROWS))
  })

  it('out-of-bag scores are those of the trees that a row was no part of', async () => {
    const mask = Uint8Array.from({ length: ROWS }, (_, r) => (r % 3 ? 1 : 0))
    const { model, outside } = await grown({ numIterations: 20 }, { targets: labels, mask })
    const all = await model.predict(device, { columns })
    // Rows that do not train are part of no tree.
    for (let r = 0; r < ROWS; r += 3) expect(Math.abs(outside[r] - all[r])).toBeLessThan(1e-12)
    let differs = 0
    for (let r = 1; r < ROWS; r += 3) if (Math.abs(outside[r] - all[r]) > 1e-3) differs++
    expect(differs).toBeGreaterThan(ROWS / 4)
  })

  it('takes numbers, weights and classes', async () => {
    const numbers = columns[0].map((value, r) => 2 * value + (Number.isNaN(columns[1][r]) ? 3 : 0))
    const regression = await grown({ featureFractionBynode: 1 }, { targets: numbers })
    let error = 0
    let spread = 0
    for (let r = 0; r < ROWS; r++) {
      error += (regression.outside[r] - numbers[r]) ** 2
      spread += numbers[r] ** 2
    }
    expect(error).toBeLessThan(0.02 * spread)
    // Weight 0 is no row; weights of 2 change the mean.
    const weights = Float32Array.from(labels, label => (label ? 2 : 1))
    const plain = await grown({}, { targets: labels })
    const weighted = await grown({}, { targets: labels, weights })
    const mean = (values: Float64Array) => values.reduce((sum, value) => sum + value, 0) / values.length
    expect(mean(weighted.outside)).toBeGreaterThan(mean(plain.outside) + 0.05)
    const halves = await grown({}, { targets: labels, weights: weights.map(weight => weight * 0.37) })
    expect(Math.abs(mean(halves.outside) - mean(weighted.outside))).toBeLessThan(0.02)
    const classes = labels.map((label, r) => label + (columns[4][r] > 0.5 ? 1 : 0))
    const three = await grown({ numClass: 3 }, { targets: classes })
    const shares = await three.model.predict(device, { columns: test.columns })
    const want = test.labels.map((label, r) => label + (test.columns[4][r] > 0.5 ? 1 : 0))
    let hits = 0
    let off = 0
    for (let r = 0; r < 4000; r++) {
      const own = shares.subarray(3 * r, 3 * r + 3)
      off += Math.abs(own[0] + own[1] + own[2] - 1) / 4000
      if (own[want[r]] === Math.max(...own)) hits++
    }
    // Each class has trees of its own: their shares come to about 1.
    expect(off).toBeLessThan(0.1)
    expect(hits / 4000).toBeGreaterThan(0.65)
  })

  const devices = everywhere()

  it('is the same for any number of threads, variant and device, and in a file', async () => {
    const options = { numIterations: 12, seed: 3, featureFractionBynode: 0.5 }
    const { model, outside } = await grown(options)
    const text = toLightgbm(model)
    expect(text).toContain('\naverage_output\n')
    for (const [, own] of devices) {
      const other = await BinnedMatrix.from(own, { columns })
      const same = await grown(options, { targets: labels }, other)
      expect(toLightgbm(same.model)).toBe(text)
      expect(same.outside).toEqual(outside)
    }
    expect(toLightgbm((await grown({ ...options, seed: 4 })).model)).not.toBe(text)
    const back = fromLightgbm(text)
    const want = await model.predict(device, { columns: test.columns })
    expect(await back.predict(device, { columns: test.columns })).toEqual(want)
    expect(back.predictRow(test.columns.map(column => column[5]))[0]).toBe(want[5])
  })

  it('splits each node on some features only', async () => {
    const all = await grown({ featureFractionBynode: 1, numIterations: 30 })
    const one = await grown({ featureFractionBynode: 0.2, numIterations: 30 })
    const roots = ({ model }: typeof all) => {
      const { numLeaves, splitFeature } = model.trees
      const found = new Set<number>()
      for (let t = 0, node = 0; t < numLeaves.length; node += numLeaves[t++] - 1) found.add(splitFeature[node])
      return found.size
    }
    expect(roots(all)).toBeLessThan(3)
    expect(roots(one)).toBe(5)
  })

  it('refits in the same memory, on few rows as well', async () => {
    const own = openDevice({ guard: false })
    const bins = await BinnedMatrix.from(own, { columns })
    const trainer = new RandomForestTrainer(bins, { numIterations: 3 })
    const first = toLightgbm(await trainer.fit({ targets: labels }))
    const { liveBytes, peakBytes } = own.info()
    for (let i = 0; i < 5; i++) await trainer.fit({ targets: labels, weights: labels.map(label => 1 + label) })
    expect(toLightgbm(await trainer.fit({ targets: labels }))).toBe(first)
    expect(own.info()).toMatchObject({ liveBytes, peakBytes })
    for (const rows of [1, 2, 3]) {
      const few = await BinnedMatrix.from(own, {
        columns: columns.map(column => takeRows(column, [4, 5, 6].slice(0, rows))),
      })
      const { model } = await grown({ numIterations: 9 }, { targets: Float32Array.of(1, 0, 1).subarray(0, rows) }, few)
      for (const share of await model.predict(own, { columns: test.columns }))
        expect(share >= 0 && share <= 1).toBe(true)
    }
  })

  it('refuses what it cannot use', async () => {
    expect(() => new RandomForestTrainer(matrix, { numIterations: 0 })).toThrow(/numIterations/)
    expect(() => new RandomForestTrainer(matrix, { numLeaves: 1 })).toThrow(/numLeaves/)
    expect(() => new RandomForestTrainer(matrix, { featureFractionBynode: 2 })).toThrow(/featureFractionBynode/)
    expect(() => new RandomForestTrainer(matrix, { numLeafs: 9 } as never)).toThrow(/did you mean 'numLeaves'/)
    await expect(grown({ numClass: 2 }, { targets: labels.map(label => label * 2) })).rejects.toThrow(
      /classes from 0 to 1/,
    )
    await expect(grown({}, { targets: labels.map(() => Number.NaN) })).rejects.toThrow(/finite/)
    await expect(grown({}, { targets: labels, mask: new Uint8Array(ROWS) })).rejects.toThrow(/at least one row/)
    await expect(new RandomForestTrainer(matrix).outOfBagScores()).rejects.toThrow(/has begun before scores/)
  })
})
