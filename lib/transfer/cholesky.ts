// Solves with symmetric positive definite matrices of a few hundred rows.

import type { Pace } from '../util/pace.js'

/** (A + ridge)⁻¹ of a positive semi-definite A that carries rounding. */
export class Cholesky {
  readonly #size: number
  /** L of A + ridge = L·Lᵀ, row by row. */
  readonly #lower: Float64Array
  /** What was added to the diagonal: more than asked for where rounding has made A indefinite. */
  readonly ridge: number

  private constructor(size: number, lower: Float64Array, ridge: number) {
    this.#size = size
    this.#lower = lower
    this.ridge = ridge
  }

  /**
   * Lets the event loop run between rows: a thousand of them take a third of a second.
   * @param matrix  (size, size); the lower half is read
   * @param ridge   positive
   */
  static async of(matrix: Float64Array, size: number, ridge: number, pace: Pace): Promise<Cholesky> {
    const lower = new Float64Array(size * size)
    let added = ridge
    for (let i = 0; i < size; ) {
      if (pace.isDue) await pace.rest()
      if (factorRow(matrix, lower, size, i, added)) i++
      else {
        added *= 10
        i = 0
      }
    }
    return new Cholesky(size, lower, added)
  }

  /** L[row, column], on and below the diagonal. */
  at(row: number, column: number): number {
    return this.#lower[row * this.#size + column]
  }

  /** Overwrites b[at … at + size − 1] with (A + ridge)⁻¹ of it. */
  solve(b: Float64Array, at: number): void {
    const size = this.#size
    const lower = this.#lower
    for (let i = 0; i < size; i++) {
      b[at + i] = (b[at + i] - dot(lower, i * size, b, at, i)) / lower[i * size + i]
    }
    this.solveUpper(b, at)
  }

  /** Overwrites b[at … at + size − 1] with L⁻ᵀ of it. */
  solveUpper(b: Float64Array, at = 0): void {
    const size = this.#size
    const lower = this.#lower
    for (let i = size - 1; i >= 0; i--) {
      const value = b[at + i] / lower[i * size + i]
      b[at + i] = value
      for (let k = 0; k < i; k++) b[at + k] -= lower[i * size + k] * value
    }
  }
}

/** Row i of L, from those above it; false where the pivot shows that the matrix is not positive definite. */
function factorRow(matrix: Float64Array, lower: Float64Array, size: number, i: number, ridge: number): boolean {
  const row = i * size
  for (let j = 0; j < i; j++) {
    const other = j * size
    lower[row + j] = (matrix[row + j] - dot(lower, row, lower, other, j)) / lower[other + j]
  }
  const pivot = matrix[row + i] + ridge - dot(lower, row, lower, row, i)
  // No pivot of A + ridge is smaller than the ridge, but for rounding.
  if (!(pivot > ridge / 2)) return false
  lower[row + i] = Math.sqrt(pivot)
  return true
}

/** Four sums side by side: one would wait for its own last addition. */
function dot(a: Float64Array, at: number, b: Float64Array, bt: number, n: number): number {
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
