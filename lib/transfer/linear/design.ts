// The standardised matrix that linear models are fitted on, in a device's memory.

import { linear } from '../../ops/linear.js'
import { logisticGradient } from '../../ops/logistic.js'
import type { Device } from '../../runtime/device.js'
import { keep, scope, Tensor, unscoped } from '../../runtime/tensor.js'
import { Pace } from '../../util/pace.js'
import { Cholesky } from './cholesky.js'
import { type Bend, type Block, Scaler } from './scaling.js'

/** Widths are padded to whole cache lines: no remainder in the kernel, no other effect. */
const lane = 16
/** Values that are scaled in one go. */
const valuesPerStep = 2 ** 15
/** Rows of the Gram matrix: its eigenvalues are then right within a third. */
const rowsPerColumn = 64
/** Few enough that float32 sums of products keep small eigenvalues apart from 0; their sum is taken in float64. */
const rowsPerProduct = 512

/** Overwrites b[at …], a gradient in the columns and the intercept of one output, with an approximate inverse Hessian times it. */
export type Preconditioner = (b: Float64Array, at: number) => void

/** What a linear model is fitted on. */
export interface SolvableDesign {
  readonly x: Tensor<'float32'>
  readonly rows: number
  readonly columns: number
  /** For (curvature·gram + ridge)⁻¹. */
  preconditioner(curvature: number, ridge: number, signal?: AbortSignal): Promise<Preconditioner>
}

/** Rows and columns with an intercept, and how alike columns are. */
export interface LinearDesign {
  /** (rows, padded width) */
  readonly x: Tensor<'float32'>
  readonly rows: number
  /** Columns that are penalised; the intercept's ones follow them, then zeros. */
  readonly columns: number
  /** Mean of x·xᵀ over rows, the intercept included: (columns + 1)². Right enough for a good step size in every direction. */
  gram(signal?: AbortSignal): Promise<Float64Array>
}

export class DesignMatrix implements LinearDesign, SolvableDesign {
  readonly x: Tensor<'float32'>
  readonly rows: number
  readonly columns: number
  readonly #blocks: readonly Block[]
  readonly #scalers: readonly Scaler[]
  #gram: Promise<Float64Array> | null = null

  private constructor(x: Tensor<'float32'>, columns: number, blocks: readonly Block[], scalers: readonly Scaler[]) {
    this.x = x
    this.rows = x.shape[0]
    this.columns = columns
    this.#blocks = blocks
    this.#scalers = scalers
  }

  /**
   * Scales each block by itself and puts them side by side. Blocks have the same number of rows. Where all columns are
   * constant the intercept is left, which scores all rows alike.
   */
  static async build(
    device: Device,
    blocks: readonly Block[],
    options: { readonly bend: Bend; readonly signal?: AbortSignal },
  ): Promise<DesignMatrix> {
    const scalers: Scaler[] = []
    const pace = new Pace(options.signal)
    for (const block of blocks) scalers.push(await Scaler.fit(block, options.bend, pace))
    return DesignMatrix.#write(device, blocks, scalers, options.signal)
  }

  /** Some rows, in the scale of all. */
  select(rows: Int32Array, signal?: AbortSignal): Promise<DesignMatrix> {
    const blocks = this.#blocks.map(block => ({ ...block, rows: rows.map(row => block.rows[row]) }))
    return DesignMatrix.#write(this.x.device, blocks, this.#scalers, signal)
  }

  static async #write(device: Device, blocks: readonly Block[], scalers: readonly Scaler[], signal?: AbortSignal) {
    const columns = scalers.reduce((sum, scaler) => sum + scaler.width, 0)
    const rows = blocks[0].rows.length
    const width = Math.ceil((columns + 1) / lane) * lane
    const x = unscoped(() => Tensor.empty(device, 'float32', [rows, width]))
    try {
      const pace = new Pace(signal)
      const step = Math.max(1, Math.floor(valuesPerStep / width))
      for (let begin = 0; begin < rows; begin += step) {
        await pace.turn()
        const end = Math.min(rows, begin + step)
        const out = new Float32Array((end - begin) * width)
        writeScaled(blocks, scalers, begin, end, out, width, 1)
        scope(() => void x.view(begin * width, [end - begin, width]).write(out))
      }
    } catch (error) {
      x.dispose()
      throw error
    }
    return new DesignMatrix(x, columns, blocks, scalers)
  }

  /**
   * The same linear map on the columns as they were before they were standardised: (outputs, columns given) and what is added.
   * For one block, built with `plain`, without missing values and emphasis.
   */
  onGivenColumns(weights: Float64Array, outputs: number): { weight: Float64Array; bias: Float64Array } {
    const padded = this.x.shape[1]
    const given = this.#blocks[0].columns.length
    const weight = new Float64Array(outputs * given)
    const bias = Float64Array.from({ length: outputs }, (_, k) => weights[k * padded + this.columns])
    for (const [c, { source, mean, inverseSd }] of this.#scalers[0].standardised!.entries()) {
      for (let k = 0; k < outputs; k++) {
        const own = weights[k * padded + c] * inverseSd
        weight[k * given + source] = own
        bias[k] -= own * mean
      }
    }
    return { weight, bias }
  }

  /**
   * z of every row for some weights of (outputs, padded width) each.
   * @returns per weights (outputs, rows)
   */
  scores(weights: readonly Float64Array[], outputs: number): Promise<Float32Array[]> {
    return scoresOf(this.x, weights, outputs)
  }

  async preconditioner(curvature: number, ridge: number, signal?: AbortSignal): Promise<Preconditioner> {
    const hessian = (await this.gram(signal)).map(value => value * curvature)
    const factor = await Cholesky.of(hessian, this.columns + 1, ridge, new Pace(signal))
    return (b, at) => factor.solve(b, at)
  }

  /** Of evenly spaced rows, some per column. */
  gram(signal?: AbortSignal): Promise<Float64Array> {
    this.#gram ??= this.#computeGram(signal)
    return this.#gram
  }

  async #computeGram(signal?: AbortSignal): Promise<Float64Array> {
    const { device } = this.x
    const size = this.columns + 1
    const count = Math.min(this.rows, Math.max(rowsPerColumn * size, 1))
    const rows = Int32Array.from({ length: count }, (_, i) => Math.floor((i * this.rows) / count))
    const blocks = this.#blocks.map(block => ({ ...block, rows: rows.map(row => block.rows[row]) }))
    const gram = new Float64Array(size * size)
    const pace = new Pace(signal)
    const step = Math.min(count, rowsPerProduct)
    // Transposed, so that the product of a part with itself is the one wanted.
    const part = new Float32Array(size * step)
    for (let begin = 0; begin < count; begin += step) {
      const end = Math.min(count, begin + step)
      part.fill(0)
      writeScaled(blocks, this.#scalers, begin, end, part, 1, step)
      const sums = await scope(() => {
        const columns = Tensor.from(device, part, [size, step])
        return linear(columns, columns).read()
      })
      for (let i = 0; i < sums.length; i++) gram[i] += sums[i] / count
      await pace.turn()
    }
    // Columns have a mean square of 1; rare values may be missing from the chosen rows.
    for (let i = 0; i < size; i++) gram[i * size + i] = Math.max(1, gram[i * size + i])
    return gram
  }

  dispose(): void {
    this.x.dispose()
  }
}

/**
 * z of every row of x for some weights of (outputs, width) each.
 * @param x  (rows, width)
 * @returns  per weights (outputs, rows)
 */
export async function scoresOf(
  x: Tensor<'float32'>,
  weights: readonly Float64Array[],
  outputs: number,
): Promise<Float32Array[]> {
  const { device } = x
  const [rows, width] = x.shape
  const scores = scope(() => {
    const target = Tensor.empty(device, 'int32', [1, rows]).fill(-1)
    const problem = Tensor.zeros(device, 'int32', [weights.length])
    const flat = new Float32Array(weights.length * outputs * width)
    weights.forEach((own, w) => {
      flat.set(own, w * outputs * width)
    })
    const weight = Tensor.from(device, flat, [weights.length, outputs, width])
    return keep(logisticGradient(x, target, problem, weight, true).scores!)
  })
  try {
    const all = await scores.read()
    const size = outputs * rows
    return weights.map((_, w) => all.subarray(w * size, (w + 1) * size))
  } finally {
    scores.dispose()
  }
}

/** Rows [begin, end) of all blocks side by side, then a column of ones. */
function writeScaled(
  blocks: readonly Block[],
  scalers: readonly Scaler[],
  begin: number,
  end: number,
  out: Float32Array,
  rowStride: number,
  columnStride: number,
): void {
  let at = 0
  blocks.forEach((block, b) => {
    scalers[b].write(block, begin, end, out.subarray(at * columnStride), rowStride, columnStride)
    at += scalers[b].width
  })
  for (let r = 0; r < end - begin; r++) out[r * rowStride + at * columnStride] = 1
}
