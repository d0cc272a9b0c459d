// Fewer rows than columns: weights that minimise a penalised loss are sums of rows, so as many unknowns as rows are enough.

import { Tensor, unscoped } from '../../runtime/tensor.js'
import { Pace } from '../../util/pace.js'
import { Cholesky } from './cholesky.js'
import type { DesignMatrix, LinearDesign } from './design.js'

/** Widths are padded to whole cache lines. */
const LANE = 16
/** Of the mean square of a row: what float32 sums of its products are wrong by, about, and no visible part of it. */
const ROUNDING = 1e-6

/**
 * The same problem in the coordinates of an orthonormal basis of the rows: L of X·Xᵀ = L·Lᵀ stands for X. Penalties are the same, as
 * w = Xᵀ·L⁻ᵀ·u has the length of u. Source: the kernel form of a penalised linear model (Schölkopf et al. 2001, theorem 1).
 */
export class RowSpace implements LinearDesign {
  readonly x: Tensor<'float32'>
  readonly rows: number
  readonly columns: number
  readonly #factor: Cholesky
  readonly #matrix: DesignMatrix
  readonly #given: Float32Array

  private constructor(matrix: DesignMatrix, given: Float32Array, factor: Cholesky, x: Tensor<'float32'>) {
    this.rows = matrix.rows
    this.columns = matrix.rows
    this.x = x
    this.#matrix = matrix
    this.#given = given
    this.#factor = factor
  }

  static async of(matrix: DesignMatrix, signal?: AbortSignal): Promise<RowSpace> {
    const { rows, columns } = matrix
    const given = await matrix.x.read()
    const width = given.length / rows
    // Each row as weights: its scores are its products with all rows. Without the intercept's one, which is not penalised.
    const weights = Array.from({ length: rows }, (_, r) =>
      Float64Array.from(given.subarray(r * width, (r + 1) * width)).fill(0, columns),
    )
    const lines = await matrix.scores(weights, 1)
    const products = new Float64Array(rows * rows)
    const pace = new Pace(signal)
    let trace = 0
    for (let r = 0; r < rows; r++) {
      products.set(lines[r], r * rows)
      trace += lines[r][r]
      await pace.turn()
    }
    const ridge = ROUNDING * Math.max(trace / rows, 1)
    const factor = await Cholesky.of(products, rows, ridge, pace)
    const padded = Math.ceil((rows + 1) / LANE) * LANE
    const values = new Float32Array(rows * padded)
    for (let r = 0; r < rows; r++) {
      for (let c = 0; c <= r; c++) values[r * padded + c] = factor.at(r, c)
      values[r * padded + rows] = 1
      await pace.turn()
    }
    const x = unscoped(() => Tensor.from(matrix.x.device, values, [rows, padded]))
    return new RowSpace(matrix, given, factor, x)
  }

  /** Mean of u·uᵀ over the rows, the intercept included. */
  async gram(signal?: AbortSignal): Promise<Float64Array> {
    const { rows } = this
    const size = rows + 1
    const pace = new Pace(signal)
    const gram = new Float64Array(size * size)
    for (let r = 0; r < rows; r++) {
      const row = Float64Array.from({ length: r + 1 }, (_, c) => this.#factor.at(r, c) / rows)
      for (let i = 0; i <= r; i++) {
        for (let j = 0; j <= i; j++) gram[i * size + j] += row[i] * row[j] * rows
        gram[rows * size + i] += row[i]
      }
      await pace.turn()
    }
    gram[rows * size + rows] = 1
    for (let i = 0; i < size; i++) for (let j = 0; j < i; j++) gram[j * size + i] = gram[i * size + j]
    return gram
  }

  /** Weights of the matrix's own columns, (outputs, padded width), from those of this one. */
  async onColumns(weights: Float64Array, outputs: number, signal?: AbortSignal): Promise<Float64Array> {
    const { rows } = this
    const { columns, x } = this.#matrix
    const own = this.x.shape[1]
    const width = x.shape[1]
    const pace = new Pace(signal)
    const result = new Float64Array(outputs * width)
    for (let k = 0; k < outputs; k++) {
      const shares = weights.slice(k * own, k * own + rows)
      this.#factor.solveUpper(shares)
      for (let r = 0; r < rows; r++) {
        for (let c = 0; c < columns; c++) result[k * width + c] += shares[r] * this.#given[r * width + c]
        if (pace.isDue) await pace.rest()
      }
      result[k * width + columns] = weights[k * own + rows]
    }
    return result
  }

  dispose(): void {
    this.x.dispose()
  }
}
