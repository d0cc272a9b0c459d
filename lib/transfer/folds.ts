// Splits of labelled rows: folds and label budgets, stratified by class, a function of the seed.

import { expectRange } from '../util/errors.js'
import type { Philox } from '../util/philox.js'

/**
 * Cuts rows into `count` parts; every class is spread evenly.
 * @param classes  class of each row, by row number
 */
export function stratifiedParts(rows: Int32Array, classes: Int32Array, count: number, rng: Philox): Int32Array[] {
  const parts: number[][] = Array.from({ length: count }, () => [])
  let next = 0
  // One class goes on where the last one stopped, so that the parts differ by one row at most.
  for (const own of byClass(rows, classes)) for (const row of rng.shuffle(own)) parts[next++ % count].push(row)
  return parts.map(part => Int32Array.from(part).sort())
}

/**
 * Draws `size` rows without replacement; each class has its share, rounded, and one row at least.
 * @throws {RangeError} when there are more classes than `size`, or fewer rows
 */
export function stratifiedSample(rows: Int32Array, classes: Int32Array, size: number, rng: Philox): Int32Array {
  const groups = byClass(rows, classes)
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
  return Int32Array.from(groups.flatMap((own, g) => Array.from(rng.shuffle(own).subarray(0, counts[g])))).sort()
}

/** Parts to choose a strength on: five, three where rows abound, fewer where a class is rare, none where it is single. */
export function innerParts(rows: Int32Array, classes: Int32Array, rng: Philox): Int32Array[] {
  const rarest = Math.min(...byClass(rows, classes).map(own => own.length))
  const count = Math.min(rows.length > 5000 ? 3 : 5, rarest)
  return count < 2 ? [] : stratifiedParts(rows, classes, count, rng)
}

function byClass(rows: Int32Array, classes: Int32Array): Int32Array[] {
  const groups = new Map<number, number[]>()
  for (const row of rows) {
    const own = groups.get(classes[row])
    if (own) own.push(row)
    else groups.set(classes[row], [row])
  }
  return [...groups].sort(([a], [b]) => a - b).map(([, own]) => Int32Array.from(own))
}
