import fc from 'fast-check'
import { expect, test } from 'vitest'
import { innerPartsSteps, stratifiedParts, stratifiedSample } from '../../lib/transfer/folds.js'
import { atOnce } from '../../lib/util/pace.js'
import { Philox } from '../../lib/util/philox.js'

const problem = fc
  .array(fc.integer({ min: 0, max: 3 }), { minLength: 4, maxLength: 200 })
  .map(list => ({ classes: Int32Array.from(list), rows: Int32Array.from(list, (_, r) => r) }))

const count = (rows: ArrayLike<number>, classes: Int32Array, c: number) =>
  Array.from(rows).filter(row => classes[row] === c).length

test('parts hold every row once and every class evenly', () => {
  fc.assert(
    fc.property(problem, fc.integer({ min: 1, max: 7 }), fc.nat(), ({ rows, classes }, parts, seed) => {
      const split = stratifiedParts(rows, classes, parts, new Philox(seed))
      expect(split.flatMap(part => [...part]).sort((a, b) => a - b)).toEqual([...rows])
      for (const c of new Set(classes)) {
        const counts = split.map(part => count(part, classes, c))
        expect(Math.max(...counts) - Math.min(...counts)).toBeLessThanOrEqual(1)
      }
      const sizes = split.map(part => part.length)
      expect(Math.max(...sizes) - Math.min(...sizes)).toBeLessThanOrEqual(1)
    }),
  )
})

test('samples have the size asked for, no row twice, and each class its share', () => {
  fc.assert(
    fc.property(problem, fc.nat(), fc.nat(), ({ rows, classes }, pick, seed) => {
      const present = new Set(classes).size
      const size = present + (pick % (rows.length - present + 1))
      const sample = stratifiedSample(rows, classes, size, new Philox(seed))
      expect(sample.length).toBe(size)
      expect(new Set(sample).size).toBe(size)
      for (const c of new Set(classes)) {
        const exact = (size * count(rows, classes, c)) / rows.length
        const drawn = count(sample, classes, c)
        expect(drawn).toBeGreaterThanOrEqual(1)
        // Classes rounded up to one row are paid for by the others, at most one each.
        expect(Math.abs(drawn - exact)).toBeLessThan(1 + present)
      }
    }),
  )
})

test('same seed, same split; another, another', () => {
  const classes = Int32Array.from({ length: 60 }, (_, r) => r % 2)
  const rows = classes.map((_, r) => r)
  const split = (seed: number) => stratifiedParts(rows, classes, 3, new Philox(seed))
  expect(split(1)).toEqual(split(1))
  expect(split(1)).not.toEqual(split(2))
})

test('inner parts: five, three of many rows, fewer of rare classes, none of single ones', () => {
  const parts = (positives: number, total: number) => {
    const classes = Int32Array.from({ length: total }, (_, r) => (r < positives ? 1 : 0))
    const rows = classes.map((_, r) => r)
    return atOnce(innerPartsSteps(rows, classes, new Philox(0))).length
  }
  expect(parts(50, 100)).toBe(5)
  expect(parts(50, 6000)).toBe(3)
  expect(parts(2, 100)).toBe(2)
  expect(parts(1, 100)).toBe(0)
})

test('a budget that does not fit is an error', () => {
  const classes = Int32Array.of(0, 0, 1)
  const rows = Int32Array.of(0, 1, 2)
  expect(() => stratifiedSample(rows, classes, 4, new Philox(0))).toThrow('[probe] expected a label budget in [2, 3]')
  expect(() => stratifiedSample(rows, classes, 1, new Philox(0))).toThrow(RangeError)
})
