// Sums of products, of parts of two arrays or as a symmetric matrix.

import { SeqriskError, sentence } from '../../util/errors.js'

/** Four sums side by side: one would wait for its own last addition. */
export function dot(a: Float64Array, at: number, b: Float64Array, bt: number, n: number): number {
  let s0 = 0
  let s1 = 0
  let s2 = 0
  let s3 = 0
  let k = 0
  for (; k + 3 < n; k += 4) {
    s0 += a[at + k] * b[bt + k]
    s1 += a[at + k + 1] * b[bt + k + 1]
    s2 += a[at + k + 2] * b[bt + k + 2]
    s3 += a[at + k + 3] * b[bt + k + 3]
  }
  for (; k < n; k++) s0 += a[at + k] * b[bt + k]
  return s0 + s1 + (s2 + s3)
}

/**
 * No ridge would make another matrix positive definite.
 * @param matrix  (size, size); the lower half is read
 * @throws {SeqriskError} code NON_FINITE
 */
export function expectFiniteHalf(matrix: Float64Array, size: number): void {
  for (let i = 0; i < size; i++) {
    for (let j = 0; j <= i; j++) {
      if (Number.isFinite(matrix[i * size + j])) continue
      const advice = 'check the columns for huge numbers'
      const text = sentence('linear model', 'finite products of columns', matrix[i * size + j], advice)
      throw new SeqriskError('NON_FINITE', text)
    }
  }
}
