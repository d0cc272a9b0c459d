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
      let sum = b[at + i]
      for (let k = 0; k < i; k++) sum -= lower[i * size + k] * b[at + k]
      b[at + i] = sum / lower[i * size + i]
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
    let sum = matrix[row + j]
    for (let k = 0; k < j; k++) sum -= lower[row + k] * lower[other + k]
    lower[row + j] = sum / lower[other + j]
  }
  let pivot = matrix[row + i] + ridge
  for (let k = 0; k < i; k++) pivot -= lower[row + k] * lower[row + k]
  // No pivot of A + ridge is smaller than the ridge, but for rounding.
  if (!(pivot > ridge / 2)) return false
  lower[row + i] = Math.sqrt(pivot)
  return true
}
