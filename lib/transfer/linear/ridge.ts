// Ridge regression of one number, its strength cross-validated, from sums of products: all strengths and parts cost one
// pass over the rows.

import { linear } from '../../ops/linear.js'
import type { Device } from '../../runtime/device.js'
import { scope, Tensor } from '../../runtime/tensor.js'
import { Pace } from '../../util/pace.js'
import { Cholesky } from './cholesky.js'
import { defaultStrengths } from './logistic.js'

/** Few enough that float32 sums of products are good; their sum is taken in float64. */
const ROWS_PER_PRODUCT = 512
const LEAST_RIDGE = 1e-9

export interface RidgeFit {
  /** (width) and what is added. */
  readonly weight: Float64Array
  readonly bias: number
  readonly strength: number
}

/**
 * Minimises Σ (y − w·x − b)² + strength·‖w‖², x the columns in deviations from their means.
 * @param vectors  (rows, width); rows behind those that have a target count for the scale of the columns alone
 * @param parts    of the rows, each left out once to judge strengths on; none: the strength is `width`
 */
export async function fitRidge(
  device: Device,
  vectors: Float32Array,
  width: number,
  targets: Float64Array,
  parts: readonly Int32Array[],
  signal?: AbortSignal,
): Promise<RidgeFit> {
  const pace = new Pace(signal)
  const { mean, inverseSd } = await momentsOf(vectors, width, pace)
  const all = Int32Array.from(targets.keys())
  const sums: Float64Array[] = []
  const groups = parts.length > 0 ? parts : [all]
  for (const part of groups) sums.push(await products(device, vectors, targets, part, mean, inverseSd, pace))
  const size = width + 2
  const total = new Float64Array(size * size)
  for (const own of sums) for (let i = 0; i < total.length; i++) total[i] += own[i]
  let best = { strength: width, loss: Number.POSITIVE_INFINITY }
  if (parts.length > 0) {
    for (const strength of defaultStrengths) {
      let loss = 0
      for (const held of sums) {
        await pace.turn()
        const others = total.map((sum, i) => sum - held[i])
        const weights = await solve(others, width, strength, pace)
        loss += squares(held, weights)
      }
      if (loss < best.loss) best = { strength, loss }
    }
  }
  const weights = await solve(total, width, best.strength, pace)
  const weight = Float64Array.from(inverseSd, (value, c) => weights[c] * value)
  const bias = weight.reduce((sum, value, c) => sum - value * mean[c], weights[width])
  return { weight, bias, strength: best.strength }
}

async function momentsOf(vectors: Float32Array, width: number, pace: Pace) {
  const rows = vectors.length / width
  const mean = new Float64Array(width)
  const square = new Float64Array(width)
  for (let r = 0; r < rows; r++) {
    for (let c = 0; c < width; c++) mean[c] += vectors[r * width + c] / rows
    if (r % ROWS_PER_PRODUCT === 0) await pace.turn()
  }
  for (let r = 0; r < rows; r++) {
    for (let c = 0; c < width; c++) square[c] += (vectors[r * width + c] - mean[c]) ** 2 / rows
    if (r % ROWS_PER_PRODUCT === 0) await pace.turn()
  }
  // Rounding of the mean alone looks like a spread of ε·|mean|.
  const inverseSd = square.map((value, c) => (Math.sqrt(value) > 1e-6 * Math.abs(mean[c]) ? 1 / Math.sqrt(value) : 0))
  return { mean, inverseSd }
}

/** Sums of products of all pairs out of the standardised columns, 1 and y: (width + 2)². */
async function products(
  device: Device,
  vectors: Float32Array,
  targets: Float64Array,
  rows: Int32Array,
  mean: Float64Array,
  inverseSd: Float64Array,
  pace: Pace,
): Promise<Float64Array> {
  const width = mean.length
  const size = width + 2
  const sums = new Float64Array(size * size)
  for (let begin = 0; begin < rows.length; begin += ROWS_PER_PRODUCT) {
    await pace.turn()
    const step = Math.min(ROWS_PER_PRODUCT, rows.length - begin)
    const columns = new Float32Array(size * step)
    for (let i = 0; i < step; i++) {
      const row = rows[begin + i]
      for (let c = 0; c < width; c++) columns[c * step + i] = (vectors[row * width + c] - mean[c]) * inverseSd[c]
      columns[width * step + i] = 1
      columns[(width + 1) * step + i] = targets[row]
    }
    const values = await scope(() => {
      const x = Tensor.from(device, columns, [size, step])
      return linear(x, x).read()
    })
    for (let i = 0; i < sums.length; i++) sums[i] += values[i]
  }
  return sums
}

/** Weights of the columns, then the intercept, which is not penalised. */
async function solve(sums: Float64Array, width: number, strength: number, pace: Pace): Promise<Float64Array> {
  const size = width + 2
  const order = width + 1
  const matrix = new Float64Array(order * order)
  const weights = new Float64Array(order)
  const rows = sums[width * size + width]
  for (let i = 0; i < order; i++) {
    for (let j = 0; j < order; j++) matrix[i * order + j] = sums[i * size + j] / rows
    if (i < width) matrix[i * order + i] += strength / rows
    weights[i] = sums[(width + 1) * size + i] / rows
  }
  const factor = await Cholesky.of(matrix, order, LEAST_RIDGE, pace)
  factor.solve(weights, 0)
  return weights
}

/** Σ (y − w·x)² out of sums of products. */
function squares(sums: Float64Array, weights: Float64Array): number {
  const order = weights.length
  const size = order + 1
  let total = sums[order * size + order]
  for (let i = 0; i < order; i++) {
    total -= 2 * weights[i] * sums[order * size + i]
    for (let j = 0; j < order; j++) total += weights[i] * weights[j] * sums[i * size + j]
  }
  return total
}
