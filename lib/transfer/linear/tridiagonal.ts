// Symmetric matrices as Q·T·Qᵀ with an orthonormal Q and a tridiagonal T: in that basis every multiple and every ridge is solved
// in linear time.

import type { Pace } from '../../util/pace.js'
import { dot, expectFiniteHalf } from './products.js'

/** A = Q·T·Qᵀ */
export interface Tridiagonal {
  /** (size, size): column c of Q is row c of this. */
  readonly basis: Float64Array
  /** T[i, i] */
  readonly diagonal: Float64Array
  /** T[i, i + 1], one less than rows. */
  readonly beside: Float64Array
}

/**
 * Householder reflections, one column after the other; each pass over what is left of the matrix takes the last reflection out of it
 * and finds what the next one needs. Source: Golub & Van Loan 2013, "Matrix Computations", algorithm 8.3.1.
 * @param matrix  (size, size), symmetric; the lower half is read, all of it overwritten
 * @throws {SeqriskError} code NON_FINITE for a matrix that is not finite
 */
export async function tridiagonalise(matrix: Float64Array, size: number, pace: Pace): Promise<Tridiagonal> {
  expectFiniteHalf(matrix, size)
  const diagonal = new Float64Array(size)
  const beside = new Float64Array(Math.max(0, size - 1))
  const factors = new Float64Array(size)
  // A − v·wᵀ − w·vᵀ is what the lower half stands for.
  let v: Float64Array = new Float64Array(size)
  let w: Float64Array = new Float64Array(size)
  for (let k = 0; k < size; k++) {
    if (pace.isDue) await pace.rest()
    const u = new Float64Array(size)
    let square = 0
    for (let i = k; i < size; i++) {
      u[i] = matrix[i * size + k] - v[i] * w[k] - w[i] * v[k]
      if (i > k) square += u[i] * u[i]
    }
    diagonal[k] = u[k]
    u[k] = 0
    if (k === size - 1) break
    const length = square > u[k + 1] * u[k + 1] ? Math.sqrt(square) : 0
    // Nothing beside the diagonal but the next number: no reflection is needed.
    if (length === 0) {
      beside[k] = u[k + 1]
      u.fill(0)
    } else {
      beside[k] = u[k + 1] > 0 ? -length : length
      u[k + 1] -= beside[k]
      factors[k] = 2 / dot(u, 0, u, 0, size)
    }
    const p = reflect(matrix, size, k + 1, v, w, u)
    const factor = factors[k]
    const share = (factor * factor * dot(p, 0, u, 0, size)) / 2
    for (let i = 0; i < size; i++) p[i] = factor * p[i] - share * u[i]
    // The upper half is not needed any more: it keeps the reflections.
    matrix.set(u.subarray(k + 1), k * size + k + 1)
    v = u
    w = p
  }
  return { basis: await product(matrix, factors, size, pace), diagonal, beside }
}

/** Takes v·wᵀ + w·vᵀ out of the rows from `first` on, and returns what they make of u. */
function reflect(
  matrix: Float64Array,
  size: number,
  first: number,
  v: Float64Array,
  w: Float64Array,
  u: Float64Array,
): Float64Array {
  const p = new Float64Array(size)
  for (let i = first; i < size; i++) {
    const row = i * size
    const [vi, wi, ui] = [v[i], w[i], u[i]]
    let sum = 0
    for (let j = first; j < i; j++) {
      const value = matrix[row + j] - vi * w[j] - wi * v[j]
      matrix[row + j] = value
      sum += value * u[j]
      p[j] += value * ui
    }
    const value = matrix[row + i] - 2 * vi * wi
    matrix[row + i] = value
    p[i] += sum + value * ui
  }
  return p
}

/** Qᵀ out of the reflections, row by row. */
async function product(matrix: Float64Array, factors: Float64Array, size: number, pace: Pace): Promise<Float64Array> {
  const basis = new Float64Array(size * size)
  for (let i = 0; i < size; i++) basis[i * size + i] = 1
  for (let k = size - 2; k >= 0; k--) {
    if (pace.isDue) await pace.rest()
    if (factors[k] === 0) continue
    const begin = k + 1
    const count = size - begin
    for (let j = begin; j < size; j++) {
      const row = j * size + begin
      const share = factors[k] * dot(basis, row, matrix, k * size + begin, count)
      for (let i = 0; i < count; i++) basis[row + i] -= share * matrix[k * size + begin + i]
    }
  }
  return basis
}

/** (factor·T + ridge)⁻¹ for a positive semi-definite T that carries rounding. */
export class TridiagonalSolver {
  /** Of L·D·Lᵀ: D, and what stands beside the ones of L. */
  readonly #pivots: Float64Array
  readonly #lower: Float64Array
  /** What was added to the diagonal: more than asked for where rounding has made T indefinite. */
  readonly ridge: number

  /** @param ridge  positive */
  constructor({ diagonal, beside }: Pick<Tridiagonal, 'diagonal' | 'beside'>, factor: number, ridge: number) {
    const size = diagonal.length
    this.#pivots = new Float64Array(size)
    this.#lower = new Float64Array(size)
    let added = ridge
    for (let i = 0; i < size; ) {
      const before = i > 0 ? this.#lower[i - 1] * factor * beside[i - 1] : 0
      const pivot = factor * diagonal[i] + added - before
      // No pivot is smaller than the ridge, but for rounding.
      if (pivot > added / 2) {
        this.#pivots[i] = pivot
        if (i + 1 < size) this.#lower[i] = (factor * beside[i]) / pivot
        i++
      } else {
        added *= 10
        i = 0
      }
    }
    this.ridge = added
  }

  /** Overwrites b[at … at + size − 1]. */
  solve(b: Float64Array, at: number): void {
    const lower = this.#lower
    const pivots = this.#pivots
    const last = pivots.length - 1
    for (let i = 1; i <= last; i++) b[at + i] -= lower[i - 1] * b[at + i - 1]
    for (let i = 0; i <= last; i++) b[at + i] /= pivots[i]
    for (let i = last - 1; i >= 0; i--) b[at + i] -= lower[i] * b[at + i + 1]
  }
}
