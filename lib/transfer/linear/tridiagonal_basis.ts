// A matrix in the basis in which the products of its columns are tridiagonal: its preconditioner then costs as little as a sum.

import type { Device } from '../../runtime/device.js'
import { scope, Tensor, unscoped } from '../../runtime/tensor.js'
import { Pace } from '../../util/pace.js'
import { type LinearDesign, type Preconditioner, type SolvableDesign, scoresOf } from './design.js'
import { dot } from './products.js'
import { type Tridiagonal, TridiagonalSolver, tridiagonalise } from './tridiagonal.js'

/** Columns of the basis that are multiplied in one pass. */
const COLUMNS_PER_PASS = 256
/** Values that are copied in one go. */
const VALUES_PER_WRITE = 2 ** 18

/** X·Q instead of X. Q is orthonormal: penalties are the same, and weights w = Q·u score as u does. */
export class TridiagonalBasis implements SolvableDesign {
  readonly x: Tensor<'float32'>
  readonly rows: number
  readonly columns: number
  readonly #tridiagonal: Tridiagonal
  /** Of the new columns with the intercept's ones, and of these with themselves. */
  readonly #beside: Float64Array
  readonly #ones: number

  private constructor(design: LinearDesign, x: Tensor<'float32'>, tridiagonal: Tridiagonal, gram: Float64Array) {
    const { rows, columns } = design
    this.x = x
    this.rows = rows
    this.columns = columns
    this.#tridiagonal = tridiagonal
    const size = columns + 1
    const last = gram.subarray(columns * size, columns * size + columns)
    this.#beside = Float64Array.from({ length: columns }, (_, c) =>
      dot(tridiagonal.basis, c * columns, last, 0, columns),
    )
    this.#ones = gram[size * size - 1]
  }

  static async of(design: LinearDesign, signal?: AbortSignal): Promise<TridiagonalBasis> {
    const { x, rows, columns } = design
    const width = x.shape[1]
    const gram = await design.gram(signal)
    const pace = new Pace(signal)
    const products = new Float64Array(columns * columns)
    for (let i = 0; i < columns; i++) {
      products.set(gram.subarray(i * (columns + 1), i * (columns + 1) + columns), i * columns)
    }
    const tridiagonal = await tridiagonalise(products, columns, pace)
    const values = new Float32Array(rows * width)
    for (let begin = 0; begin < columns; begin += COLUMNS_PER_PASS) {
      const count = Math.min(COLUMNS_PER_PASS, columns - begin)
      // A column of the basis as weights: its scores are the new column.
      const weights = Array.from({ length: count }, (_, c) => {
        const padded = new Float64Array(width)
        padded.set(tridiagonal.basis.subarray((begin + c) * columns, (begin + c + 1) * columns))
        return padded
      })
      const lines = await scoresOf(x, weights, 1)
      for (let r = 0; r < rows; r++) {
        for (let c = 0; c < count; c++) values[r * width + begin + c] = lines[c][r]
        if (pace.isDue) await pace.rest()
      }
    }
    for (let r = 0; r < rows; r++) values[r * width + columns] = 1
    return new TridiagonalBasis(design, await upload(x.device, values, rows, pace), tridiagonal, gram)
  }

  async preconditioner(curvature: number, ridge: number): Promise<Preconditioner> {
    const { columns } = this
    const solver = new TridiagonalSolver(this.#tridiagonal, curvature, ridge)
    const beside = this.#beside.map(value => value * curvature)
    // The intercept is eliminated last: z = (T + ridge)⁻¹ of what stands beside it.
    const z = beside.slice()
    solver.solve(z, 0)
    // With a ridge larger than asked for, as where rounding wanted one, this stays above 0.
    const pivot = curvature * this.#ones + solver.ridge - dot(beside, 0, z, 0, columns)
    const last = Math.max(pivot, solver.ridge)
    return (b, at) => {
      solver.solve(b, at)
      const intercept = (b[at + columns] - dot(beside, 0, b, at, columns)) / last
      for (let i = 0; i < columns; i++) b[at + i] -= intercept * z[i]
      b[at + columns] = intercept
    }
  }

  /** Weights of the columns as they were given, (outputs, padded width), from those of the new ones. */
  async onColumns(weights: Float64Array, outputs: number, signal?: AbortSignal): Promise<Float64Array> {
    const { columns } = this
    const { basis } = this.#tridiagonal
    const width = this.x.shape[1]
    const pace = new Pace(signal)
    const result = new Float64Array(outputs * width)
    for (let k = 0; k < outputs; k++) {
      for (let c = 0; c < columns; c++) {
        const weight = weights[k * width + c]
        for (let i = 0; i < columns; i++) result[k * width + i] += weight * basis[c * columns + i]
        if (pace.isDue) await pace.rest()
      }
      result[k * width + columns] = weights[k * width + columns]
    }
    return result
  }

  dispose(): void {
    this.x.dispose()
  }
}

/** Some rows at a time: a large matrix in one go would hold the event loop. */
async function upload(device: Device, values: Float32Array, rows: number, pace: Pace): Promise<Tensor<'float32'>> {
  const width = values.length / rows
  const x = unscoped(() => Tensor.empty(device, 'float32', [rows, width]))
  try {
    const step = Math.max(1, Math.floor(VALUES_PER_WRITE / width))
    for (let begin = 0; begin < rows; begin += step) {
      await pace.turn()
      const end = Math.min(rows, begin + step)
      const part = values.subarray(begin * width, end * width)
      scope(() => void x.view(begin * width, [end - begin, width]).write(part))
    }
  } catch (error) {
    x.dispose()
    throw error
  }
  return x
}
