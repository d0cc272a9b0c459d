// Solves with symmetric positive definite matrices of a few hundred rows.

/** (A + ridge)⁻¹ of a positive semi-definite A that carries rounding. */
export class Cholesky {
  readonly #size: number
  /** L of A + ridge = L·Lᵀ, row by row. */
  readonly #lower: Float64Array
  /** What was added to the diagonal: more than asked for where rounding has made A indefinite. */
  readonly ridge: number

  /**
   * @param matrix  (size, size); the lower half is read
   * @param ridge   positive
   */
  constructor(matrix: Float64Array, size: number, ridge: number) {
    this.#size = size
    this.#lower = new Float64Array(size * size)
    while (!this.#factor(matrix, ridge)) ridge *= 10
    this.ridge = ridge
  }

  #factor(matrix: Float64Array, ridge: number): boolean {
    const size = this.#size
    const lower = this.#lower
    for (let i = 0; i < size; i++) {
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
    }
    return true
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
    for (let i = size - 1; i >= 0; i--) {
      const value = b[at + i] / lower[i * size + i]
      b[at + i] = value
      for (let k = 0; k < i; k++) b[at + k] -= lower[i * size + k] * value
    }
  }
}
