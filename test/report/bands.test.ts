import { describe, expect, it } from 'vitest'
import { bandsOf, deviateOf, labellingPlan, ranking, volumeAtEqualPrecision, wilson } from '../../lib/report/bands.js'
import { bandsPlot, bandsTable } from '../../lib/report/bands_plot.js'
import { auc, averagePrecision } from '../../lib/report/metrics.js'
import { toSvg } from '../../lib/report/plot.js'
import { watchTurns } from '../support/turns.js'

describe('wilson', () => {
  it('solves its equation, by hand', () => {
    // 8 of 10 at z = 1.96: middle (0.8 + 0.19208)/1.38416, half 1.96/1.38416 · √(0.016 + 0.009604).
    expect(wilson(8, 10, 1.96).low).toBeCloseTo(0.490158, 5)
    expect(wilson(8, 10, 1.96).high).toBeCloseTo(0.943318, 5)
    for (const [hits, trials] of [
      [3, 7],
      [50, 1000],
      [1, 2],
    ]) {
      const { low, high } = wilson(hits, trials, 2)
      for (const p of [low, high]) {
        expect(Math.abs(hits / trials - p)).toBeCloseTo(2 * Math.sqrt((p * (1 - p)) / trials), 12)
      }
    }
  })

  it('stays inside [0, 1] at the ends, and knows nothing of nothing', () => {
    expect(wilson(0, 20)).toMatchObject({ low: 0 })
    expect(wilson(20, 20)).toMatchObject({ high: 1 })
    expect(wilson(0, 20).high).toBeCloseTo(1.959963984540054 ** 2 / (20 + 1.959963984540054 ** 2), 12)
    expect(wilson(0, 0)).toEqual({ low: 0, high: 1 })
    expect(() => wilson(3, 2)).toThrow(/expected hits in \[0, trials\]/)
  })

  it.each([
    [0.5, 0.6744897501960817],
    [0.95, 1.959963984540054],
    [0.99, 2.5758293035489004],
  ])('the deviate of %f', (confidence, z) => expect(deviateOf(confidence)).toBeCloseTo(z, 12))
})

describe('bands', () => {
  // Twenty rows, score = row: the best is row 19. Positives 19, 18, 16, 10, 3; rows 17 and 2 are unknown.
  const scores = Float64Array.from({ length: 20 }, (_, row) => row)
  const labels = Float64Array.from({ length: 20 }, (_, row) =>
    row === 17 || row === 2 ? Number.NaN : Number([19, 18, 16, 10, 3].includes(row)),
  )

  it('counts by hand', async () => {
    const report = await bandsOf(scores, labels, { edges: [0, 50, 80, 90, 100] })
    const plain = report.bands.map(({ from, to, rows, labelled, positives }) => [from, to, rows, labelled, positives])
    expect(plain).toEqual([
      [0, 50, 10, 9, 1],
      [50, 80, 6, 6, 1],
      [80, 90, 2, 1, 1],
      [90, 100, 2, 2, 2],
    ])
    expect(report.bands.map(band => band.precision)).toEqual([1 / 9, 1 / 6, 1, 1])
    expect(report.bands.map(band => band.recall)).toEqual([0.2, 0.2, 0.2, 0.4])
    expect(report.bands[0].interval.low).toBeCloseTo(wilson(1, 9).low, 12)
    expect(report.bands[0].interval.high).toBeCloseTo(wilson(1, 9).high, 12)
    expect(report).toMatchObject({ rows: 20, labelled: 18, positives: 5 })
    // Of 65 pairs, negatives above a positive: 0 + 0 + 0 + 5 + 11.
    expect(report.auc).toBeCloseTo(49 / 65, 14)
    // Ranks of the positives among the labelled: 1, 2, 3, 9, 16.
    expect(report.averagePrecision).toBeCloseTo((1 + 1 + 1 + 4 / 9 + 5 / 16) / 5, 14)
  })

  it('a band without labels knows nothing; one class alone has no AUC', async () => {
    const report = await bandsOf([1, 2, 3, 4], [0, 0, Number.NaN, Number.NaN], { edges: [0, 50, 100] })
    expect(report.bands[1]).toMatchObject({ labelled: 0, precision: Number.NaN, interval: { low: 0, high: 1 } })
    expect(report.auc).toBeNaN()
    expect(report.bands[0].recall).toBeNaN()
  })

  it('equal scores: sizes hold, in an order that the seed alone decides', async () => {
    const same = new Float64Array(1000).fill(0.5)
    const truth = Float64Array.from({ length: 1000 }, (_, row) => Number(row < 100))
    const { bands } = await bandsOf(same, truth)
    expect(bands.map(band => band.rows)).toEqual([500, 250, 100, 50, 50, 40, 10])
    // The first rows are not favoured: 100 of 1000 are positive everywhere, within five deviations.
    for (const { rows, positives } of bands)
      expect(Math.abs(positives - rows / 10)).toBeLessThan(5 * Math.sqrt(rows * 0.09))
    const order = await ranking(same, 3)
    expect(await ranking(same, 3)).toEqual(order)
    expect(await ranking(same, 4)).not.toEqual(order)
    expect((await ranking([1, 3, 2])).join()).toBe('1,2,0')
  })

  it.each([
    [[1], [2], {}, /label 0 to be 0, 1 or unknown but received 2/],
    [[Number.NaN], [1], {}, /score 0 to be a number/],
    [[1, 2], [1], {}, /2 labels/],
    [[], [], {}, /at least one row/],
    [[1], [1], { edges: [50, 50] }, /rising percentiles/],
    [[1], [1], { edges: [0, 101] }, /rising percentiles/],
    [[1], [1], { confidence: 1 }, /confidence between/],
  ])('refuses %j %j %j', async (given, truth, options, message) => {
    await expect(bandsOf(given, truth, options)).rejects.toThrow(message)
  })

  it('gives the same numbers as in one go, with equal and infinite scores', async () => {
    const rows = 20_000
    const given = Float64Array.from({ length: rows }, (_, row) =>
      row % 97 === 0 ? Infinity : row % 89 === 0 ? -Infinity : Math.round(40 * Math.sin(row)) / 8,
    )
    const truth = given.map((score, row) => (row % 3 === 0 ? Number.NaN : Number(row % 11 < score)))
    const { bands, ...all } = await bandsOf(given, truth, { seed: 5 })
    // As a comparison sorted them, and as `auc` and `averagePrecision` say of the labelled rows.
    expect(bands.map(band => [band.rows, band.labelled, band.positives])).toEqual([
      [10_000, 6668, 0],
      [5000, 3328, 713],
      [2000, 1333, 558],
      [1000, 671, 299],
      [1000, 658, 296],
      [800, 543, 253],
      [200, 132, 132],
    ])
    const known = [...truth.keys()].filter(row => !Number.isNaN(truth[row]))
    const pick = (values: Float64Array) => known.map(row => values[row])
    expect(all).toEqual({
      rows,
      labelled: known.length,
      positives: known.reduce((sum, row) => sum + truth[row], 0),
      auc: auc(pick(given), pick(truth)),
      averagePrecision: averagePrecision(pick(given), pick(truth)),
    })
  })

  it('lets the event loop run, and stops when told', { retry: 2 }, async () => {
    const rows = 1_000_000
    const given = Float64Array.from({ length: rows }, (_, row) => Math.sin(row))
    const truth = given.map((_, row) => Number(row % 10 === 0))
    const { turns, longest } = await watchTurns(() => bandsOf(given, truth))
    expect(turns).toBeGreaterThan(20)
    expect(longest).toBeLessThan(30)
    const signal = AbortSignal.timeout(20)
    await expect(bandsOf(given, truth, { signal })).rejects.toMatchObject({ name: 'TimeoutError' })
  })

  it('as a table and a plot', async () => {
    const scorers = [
      { name: 'a', report: await bandsOf(scores, labels, { edges: [0, 90, 100] }) },
      { name: 'b', report: await bandsOf(scores.toReversed(), labels, { edges: [0, 90, 100] }) },
    ]
    expect(bandsTable(scorers).split('\n')[2]).toMatch(
      /^\| a +\| 90–100 \| +2 \| +2 \| +2 \| +1\.000 \| \[0\.342, 1\.000\] /,
    )
    const svg = await toSvg(bandsPlot({ title: 'Bands' }, scorers))
    expect(svg).toContain('90–100')
    // A bar for each band and scorer, in the scorer's colour.
    for (const { name } of scorers) {
      const bars = svg.match(new RegExp(`<path [^>]*name: ${name}[^>]*roledescription="bar"[^>]*>`, 'g')) ?? []
      expect(bars).toHaveLength(2)
      for (const bar of bars) expect(bar).toContain('fill="#')
    }
    expect(() => bandsPlot({ title: '' }, [])).toThrow(/at least one band/)
  })
})

describe('volume at equal precision', () => {
  it('counts by hand', async () => {
    const labels = [1, 1, 0, 1, 0, 0, 1, 0]
    const first = [8, 7, 6, 5, 4, 3, 2, 1]
    const second = [8, 1, 7, 6, 2, 3, 4, 5]
    // First: 1/1, 2/2, 2/3, 3/4, … 4/7. Second: rows 0, 2, 3, 7, 6, 5, 4, 1: 1/1, 1/2, 2/3, 2/4, 3/5, …
    const volume = await volumeAtEqualPrecision(first, second, labels, { precision: 0.75, samples: 0 })
    expect(volume).toMatchObject({ found: [3, 1], reported: [4, 1], ratio: 3 })
    const half = await volumeAtEqualPrecision(first, second, labels, { precision: 0.55, samples: 0 })
    expect(half).toMatchObject({ found: [4, 3], reported: [7, 5] })
    // The precision of the second one's best quarter: one of two.
    expect((await volumeAtEqualPrecision(first, second, labels, { share: 0.25, samples: 0 })).precision).toBe(0.5)
  })

  it('a list holds its own precision, whatever that rounds to', async () => {
    // Positives last: the whole list is the only one of that precision. 7/25 · 25 is more than 7.
    for (let rows = 1; rows <= 60; rows++) {
      for (let hits = 1; hits <= rows; hits++) {
        const labels = Array.from({ length: rows }, (_, row) => Number(row >= rows - hits))
        const scores = labels.map((_, row) => -row)
        const volume = await volumeAtEqualPrecision(scores, scores, labels, { share: 1, samples: 0 })
        expect([hits, rows, ...volume.found, ...volume.reported]).toEqual([hits, rows, hits, hits, rows, rows])
      }
    }
  })

  it('the bootstrap covers the ratio, tightly where rows are many, and repeats', async () => {
    const labels = Array.from({ length: 4000 }, (_, row) => Number(row % 10 === 0))
    const first = labels.map((label, row) => label * 2 + Math.sin(row))
    const second = labels.map((label, row) => label * (row % 20 === 0 ? 2 : 0) + Math.sin(row))
    const options = { precision: 0.9, samples: 200, seed: 1 }
    const volume = await volumeAtEqualPrecision(first, second, labels, options)
    const { ratio, interval } = volume
    expect(ratio).toBeGreaterThan(1.5)
    expect(interval.low).toBeLessThanOrEqual(ratio)
    expect(interval.high).toBeGreaterThanOrEqual(ratio)
    expect(interval.high - interval.low).toBeLessThan(1.2)
    expect(await volumeAtEqualPrecision(first, second, labels, options)).toEqual(volume)
    const same = await volumeAtEqualPrecision(first, first, labels, options)
    expect(same).toMatchObject({ ratio: 1, interval: { low: 1, high: 1 } })
  })

  it('none found is no crash', async () => {
    const volume = await volumeAtEqualPrecision([1, 2], [2, 1], [0, 0], { precision: 0.5, samples: 10 })
    expect(volume).toMatchObject({ found: [0, 0], ratio: Number.NaN, interval: { low: Number.NaN } })
  })

  it('gives the same numbers as in one go, with equal and infinite scores', async () => {
    const labels = Array.from({ length: 4000 }, (_, row) => Number(row % 10 === 0))
    const first = labels.map((label, row) => (row % 7 === 0 ? Infinity : Math.round(3 * (label + Math.sin(row)))))
    const second = labels.map((label, row) => (row % 9 === 0 ? -Infinity : Math.round(2 * (label + Math.cos(row)))))
    const options = { precision: 0.12, samples: 60, seed: 3 }
    expect(await volumeAtEqualPrecision(first, second, labels, options)).toEqual({
      precision: 0.12,
      found: [400, 355],
      reported: [2620, 2209],
      ratio: 400 / 355,
      interval: { low: 1.0974930362116992, high: 1.1666666666666667 },
    })
  })

  it('lets the event loop run, says how far it is, and stops when told', { retry: 2 }, async () => {
    const rows = 400_000
    const labels = Float64Array.from({ length: rows }, (_, row) => Number(row % 10 === 0))
    const scores = labels.map((label, row) => label + Math.sin(row))
    const told = new AbortController()
    const seen: number[] = []
    const onProgress = ({ done, total }: { done: number; total: number }) => {
      expect(total).toBe(1000)
      seen.push(done)
      if (done === 3) told.abort(new Error('enough'))
    }
    const begun = performance.now()
    const { turns, longest } = await watchTurns(async () => {
      const running = volumeAtEqualPrecision(scores, scores, labels, { signal: told.signal, onProgress })
      await expect(running).rejects.toThrow('enough')
    })
    expect(seen).toEqual([1, 2, 3])
    // Four of a thousand samples take less than a second of these.
    expect(performance.now() - begun).toBeLessThan(20_000)
    expect(turns).toBeGreaterThan(20)
    expect(longest).toBeLessThan(30)
  })
})

describe('the labelling plan', () => {
  it('without a budget: enough for the half width', () => {
    // 1.96² · 0.25 / 0.05² = 384.15; for 1000 rows 384.15/(1 + 383.15/1000) = 277.7, for 100: 79.5.
    const plan = labellingPlan(1100, { edges: [0, 1000 / 11, 100] })
    expect(plan.map(band => [band.rows, band.label])).toEqual([
      [1000, 278],
      [100, 80],
    ])
  })

  it('with a budget: all of it, in proportion to rows and deviation, one row each at least', () => {
    const options = { edges: [0, 50, 90, 100], budget: 100, expected: [0.01, 0.1, 0.5] }
    const plan = labellingPlan(10_000, options)
    expect(plan.reduce((sum, band) => sum + band.label, 0)).toBe(100)
    // 5000 · 0.1, 4000 · 0.3, 1000 · 0.5 = 500 : 1200 : 500; of equal claims the first goes first.
    expect(plan.map(band => band.label)).toEqual([23, 55, 22])
    expect(labellingPlan(1000, { budget: 3, edges: [0, 50, 90, 100] }).map(band => band.label)).toEqual([1, 1, 1])
    expect(labellingPlan(10, { budget: 50, edges: [0, 50, 100] }).map(band => band.label)).toEqual([5, 5])
  })

  it('draws nothing, so takes no seed', () => {
    expect(() => labellingPlan(10, { seed: 1 } as object)).toThrow(/known options but received 'seed'/)
  })
})
