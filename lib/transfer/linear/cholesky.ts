// Solves with symmetric positive definite matrices of a few hundred rows.

import type { Pace } from '../../util/pace.js'
import { dot, expectFiniteHalf } from './products.js'

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
   * @throws {SeqriskError} code NON_FINITE for a matrix that is not finite
   */
  static async of(matrix: Float64Array, size: number, ridge: number, pace: Pace): Promise<Cholesky> {
    expectFiniteHalf(matrix, size)
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

  /** Overwrites b[at … at + size − 1] with L⁻ᵀ of it. Four rows together: b is read and written once for them. */
  solveUpper(b: Float64Array, at = 0): void {
    const size = this.#size
    const lower = this.#lower
    let end = size
    for (; end % 4 > 0; end--) this.#eliminate(b, at, end - 1, 0)
    for (; end > 0; end -= 4) {
      const begin = end - 4
      for (let i = end - 1; i >= begin; i--) this.#eliminate(b, at, i, begin)
      const [v0, v1, v2, v3] = [b[at + begin], b[at + begin + 1], b[at + begin + 2], b[at + begin + 3]]
      const [r0, r1, r2, r3] = [begin * size, (begin + 1) * size, (begin + 2) * size, (begin + 3) * size]
      for (let k = 0; k < begin; k++) {
        b[at + k] -= lower[r0 + k] * v0 + lower[r1 + k] * v1 + (lower[r2 + k] * v2 + lower[r3 + k] * v3)
      }
    }
  }

  /** Finds unknown i, and takes its share from those in [from, i). */
  #eliminate(b: Float64Array, at: number, i: number, from: number): void {
    const row = i * this.#size
    const value = b[at + i] / this.#lower[row + i]
    b[at + i] = value
    for (let k = from; k < i; k++) b[at + k] -= this.#lower[row + k] * value
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
