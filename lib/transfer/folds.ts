// Splits of labelled rows: folds and label budgets, stratified by class, a function of the seed.

import { expectRange } from '../util/errors.js'
import { atOnce, type Steps } from '../util/pace.js'
import type { Philox } from '../util/philox.js'

/** Rows between two looks at the clock: less than a millisecond. */
export const ROWS_PER_STEP = 16_384

/**
 * Cuts rows into `count` parts; every class is spread evenly.
 * @param classes  class of each row, by row number
 */
export function stratifiedParts(rows: Int32Array, classes: Int32Array, count: number, rng: Philox): Int32Array[] {
  return atOnce(stratifiedPartsSteps(rows, classes, count, rng))
}

/** The same in short steps. */
export function* stratifiedPartsSteps(
  rows: Int32Array,
  classes: Int32Array,
  count: number,
  rng: Philox,
): Steps<Int32Array[]> {
  const part = yield* partOfSteps(rows, classes, count, rng)
  const parts = Array.from({ length: count }, (_, p) => new Int32Array(Math.ceil((rows.length - p) / count)))
  const filled = new Int32Array(count)
  for (let i = 0; i < rows.length; i++) {
    if (i % ROWS_PER_STEP === 0) yield
    parts[part[i]][filled[part[i]]++] = rows[i]
  }
  for (const own of parts) {
    yield
    own.sort()
  }
  return parts
}

/** The part, 0 … count − 1, of each of the rows. */
export function* partOfSteps(rows: Int32Array, classes: Int32Array, count: number, rng: Philox): Steps<Int32Array> {
  const part = new Int32Array(rows.length)
  let next = 0
  // One class goes on where the last one stopped, so that the parts differ by one row at most.
  for (const own of yield* placesByClass(rows, classes)) {
    yield* rng.shuffleSteps(own)
    for (let i = 0; i < own.length; i++, next++) {
      if (i % ROWS_PER_STEP === 0) yield
      part[own[i]] = next % count
    }
  }
  return part
}

/**
 * Draws `size` rows without replacement; each class has its share, rounded, and one row at least.
 * @throws {RangeError} when there are more classes than `size`, or fewer rows
 */
export function stratifiedSample(rows: Int32Array, classes: Int32Array, size: number, rng: Philox): Int32Array {
  return atOnce(stratifiedSteps(rows, classes, size, rng))
}

/** The same in short steps. */
export function* stratifiedSteps(rows: Int32Array, classes: Int32Array, size: number, rng: Philox): Steps<Int32Array> {
  const groups = yield* placesByClass(rows, classes)
  const holds = size >= groups.length && size <= rows.length
  expectRange(
    holds,
    'probe',
    `a label budget in [${groups.length}, ${rows.length}]`,
    size,
    'the training part has no more',
  )
  const exact = groups.map(own => (size * own.length) / rows.length)
  const counts = exact.map(share => Math.max(1, Math.floor(share)))
  const order = exact.map((_, g) => g)
  const missing = (g: number) => exact[g] - counts[g]
  for (let total = counts.reduce((a, b) => a + b); total !== size; ) {
    // Largest remainder first; where the ones for rare classes overshot, the most favoured class gives back.
    order.sort((a, b) => missing(b) - missing(a) || a - b)
    const sign = total < size ? 1 : -1
    const list = sign > 0 ? order : order.toReversed()
    const chosen = list.find(g => counts[g] + sign >= 1 && counts[g] + sign <= groups[g].length)!
    counts[chosen] += sign
    total += sign
  }
  const sample = new Int32Array(size)
  let at = 0
  for (const [g, own] of groups.entries()) {
    yield* rng.shuffleSteps(own)
    for (let i = 0; i < counts[g]; i++) sample[at++] = rows[own[i]]
  }
  return sample.sort()
}

/** Parts to choose a strength on: five, three where rows abound, fewer where a class is rare, none where it is single. */
export function* innerPartsSteps(rows: Int32Array, classes: Int32Array, rng: Philox): Steps<Int32Array[]> {
  const groups = yield* placesByClass(rows, classes)
  const rarest = groups.reduce((least, own) => Math.min(least, own.length), rows.length)
  const count = Math.min(rows.length > 5000 ? 3 : 5, rarest)
  return count < 2 ? [] : yield* stratifiedPartsSteps(rows, classes, count, rng)
}

/** Places in `rows` of each class that occurs, by class; those of a class in their order. */
function* placesByClass(rows: Int32Array, classes: Int32Array): Steps<Int32Array[]> {
  const counts = new Map<number, number>()
  for (let i = 0; i < rows.length; i++) {
    if (i % ROWS_PER_STEP === 0) yield
    const own = classes[rows[i]]
    counts.set(own, (counts.get(own) ?? 0) + 1)
  }
  const groups = new Map<number, Int32Array>()
  for (const [own, count] of [...counts].sort(([a], [b]) => a - b)) groups.set(own, new Int32Array(count))
  counts.clear()
  for (let i = 0; i < rows.length; i++) {
    if (i % ROWS_PER_STEP === 0) yield
    const own = classes[rows[i]]
    const filled = counts.get(own) ?? 0
    groups.get(own)![filled] = i
    counts.set(own, filled + 1)
  }
  return [...groups.values()]
}
