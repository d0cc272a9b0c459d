import fc from 'fast-check'
import { expect, test } from 'vitest'
import { accuracy, auc, averagePrecision, macroAuc, rankCorrelation, spread } from '../../lib/report/metrics.js'

/** Pairs of every positive with every negative, as the definition says. */
function naiveAuc(scores: number[], targets: number[]): number {
  let wins = 0
  let pairs = 0
  for (let i = 0; i < scores.length; i++) {
    for (let j = 0; j < scores.length; j++) {
      if (targets[i] !== 1 || targets[j] !== 0) continue
      pairs++
      if (scores[i] > scores[j]) wins += 1
      else if (scores[i] === scores[j]) wins += 0.5
    }
  }
  return wins / pairs
}

/** For each positive: the precision among the rows that score at least as high. */
function naiveAveragePrecision(scores: number[], targets: number[]): number {
  let sum = 0
  let positives = 0
  for (let i = 0; i < scores.length; i++) {
    if (targets[i] !== 1) continue
    positives++
    const reported = targets.filter((_, j) => scores[j] >= scores[i])
    sum += reported.filter(target => target === 1).length / reported.length
  }
  return sum / positives
}

// Few different scores make many ties; the wide doubles bring −0, infinities and subnormals.
const score = fc.oneof(fc.integer({ min: -3, max: 3 }), fc.double({ noNaN: true }))
const rows = fc
  .array(fc.record({ score, target: fc.integer({ min: 0, max: 1 }) }), { minLength: 2, maxLength: 60 })
  .filter(list => new Set(list.map(row => row.target)).size === 2)

test('auc equals the count over all pairs', () => {
  fc.assert(
    fc.property(rows, list => {
      const scores = list.map(row => row.score)
      const targets = list.map(row => row.target)
      expect(auc(scores, targets)).toBe(naiveAuc(scores, targets))
      // Mirrored scores give the mirrored area.
      expect(
        auc(
          Float64Array.from(scores, value => -value),
          targets,
        ),
      ).toBeCloseTo(1 - auc(scores, targets), 12)
    }),
  )
})

test('average precision equals its definition', () => {
  fc.assert(
    fc.property(rows, list => {
      const scores = list.map(row => row.score)
      const targets = list.map(row => row.target)
      expect(averagePrecision(scores, targets)).toBeCloseTo(naiveAveragePrecision(scores, targets), 12)
    }),
  )
})

test('known values', () => {
  expect(auc([0.1, 0.4, 0.35, 0.8], [0, 0, 1, 1])).toBe(0.75)
  expect(auc([1, 1, 1], [0, 1, 0])).toBe(0.5)
  expect(averagePrecision([0.1, 0.4, 0.35, 0.8], [0, 0, 1, 1])).toBeCloseTo(0.8333333333, 9)
  expect(accuracy([1, 0, 2, 2], [1, 1, 2, 0])).toBe(0.5)
  expect(spread([1, 2, 3, 4])).toEqual({ mean: 2.5, sd: Math.sqrt(1.25) })
  expect(spread([0.7])).toEqual({ mean: 0.7, sd: 0 })
})

test('macro AUC is the mean over classes, of those that occur', () => {
  const scores = [0.9, 0.1, 0, 0.2, 0.8, 0, 0.6, 0.3, 0.1, 0.5, 0.4, 0.1]
  const truth = [0, 1, 1, 0]
  const of = (c: number) =>
    auc(
      [0, 1, 2, 3].map(i => scores[i * 3 + c]),
      truth.map(t => (t === c ? 1 : 0)),
    )
  expect(macroAuc(scores, truth, 3)).toBeCloseTo((of(0) + of(1)) / 2, 12)
})

// Each row with each other would be 10¹⁰ steps. Other processes may keep this one from the cores: hence the further tries.
test('one hundred thousand rows take well under a second', { retry: 4 }, () => {
  const n = 100_000
  const scores = Float64Array.from({ length: n }, (_, i) => Math.sin(i * 12.9898) * 43758.5453)
  const targets = Uint8Array.from({ length: n }, (_, i) => i & 1)
  const start = performance.now()
  const area = auc(scores, targets)
  expect(performance.now() - start).toBeLessThan(1000)
  expect(Math.abs(area - 0.5)).toBeLessThan(0.01)
})

test('NaN, empty, one class and unequal lengths are errors', () => {
  expect(() => auc([], [])).toThrow('[auc] expected at least one row')
  expect(() => auc([1, 2], [1, 1])).toThrow('[auc] expected positives and negatives but received [2, 0]')
  expect(() => auc([1, Number.NaN], [0, 1])).toThrow('[auc] expected score 1 to be a number')
  expect(() => auc([1, 2], [0, 2])).toThrow('[auc] expected target 1 to be 0 or 1')
  expect(() => auc([1, 2], [0])).toThrow(RangeError)
  expect(() => averagePrecision([1], [0])).toThrow('[averagePrecision] expected at least one positive')
  expect(() => accuracy([], [])).toThrow(RangeError)
  expect(() => accuracy([Number.NaN], [Number.NaN])).toThrow('[accuracy] expected numbers in row 0 but received NaN')
  expect(() => macroAuc([1, 2], [0], 2)).toThrow('[macroAuc] expected at least two classes')
  expect(() => spread([])).toThrow(RangeError)
  expect(() => spread([1, Number.NaN])).toThrow('[spread] expected finite values')
})

test('rank correlation: by hand, for ties, for any rising function', () => {
  expect(rankCorrelation([1, 2, 3], [10, 100, 1000])).toBeCloseTo(1, 12)
  expect(rankCorrelation([1, 2, 3], [3, 2, 1])).toBeCloseTo(-1, 12)
  // 1 − 6·Σd²/(n·(n² − 1)) with d = 0, 1, −1, 0.
  expect(rankCorrelation([1, 2, 3, 4], [1, 3, 2, 4])).toBeCloseTo(0.8, 12)
  // Ranks −1.5, 0, 0, 1.5 against −1.5, −0.5, 0.5, 1.5.
  expect(rankCorrelation([1, 2, 2, 3], [1, 2, 3, 4])).toBeCloseTo(4.5 / Math.sqrt(4.5 * 5), 12)
  expect(rankCorrelation([1, 1], [1, 2])).toBeNaN()
  expect(() => rankCorrelation([1], [1])).toThrow(RangeError)
  const hole = [1, Number.NaN, 3]
  expect(() => rankCorrelation(hole, [1, 2, 3])).toThrow('[rankCorrelation] expected value 1 to be a number')
  expect(() => rankCorrelation([1, 2, 3], hole)).toThrow('[rankCorrelation] expected value 1 to be a number')
})
