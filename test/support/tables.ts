// Small tables for the tree learners.

import { TestRandom } from './random.js'

/** Columns of several kinds and a label that depends on some of them. */
export function smallTable(rows: number, features = 5, seed = 1) {
  const random = new TestRandom(seed)
  const columns = Array.from({ length: features }, () => new Float32Array(rows))
  const labels = new Float32Array(rows)
  for (let r = 0; r < rows; r++) {
    for (let f = 0; f < features; f++) columns[f][r] = random.normal()
    // Column 1 is often missing, column 2 has few values.
    if (features > 2) {
      if (random.next() < 0.2) columns[1][r] = Number.NaN
      columns[2][r] = Math.round(columns[2][r] * 2)
    }
    const score = columns[0][r] + (Number.isNaN(columns[1][r]) ? 1 : columns[1][r] ** 2 / 2) - 0.7 + random.normal()
    labels[r] = score > 0 ? 1 : 0
  }
  return { columns, labels }
}

/** Rows taken by number from every column. */
export function takeRows<T extends Float32Array | Float64Array | Int32Array>(column: T, rows: ArrayLike<number>): T {
  const out = new (column.constructor as new (length: number) => T)(rows.length)
  for (let i = 0; i < rows.length; i++) out[i] = column[rows[i]]
  return out
}

/** A random order of 0 … count − 1. */
export function permutation(count: number, seed: number): Int32Array {
  const random = new TestRandom(seed)
  const order = Int32Array.from({ length: count }, (_, i) => i)
  for (let i = count - 1; i > 0; i--) {
    const j = random.integer(0, i)
    const kept = order[i]
    order[i] = order[j]
    order[j] = kept
  }
  return order
}
