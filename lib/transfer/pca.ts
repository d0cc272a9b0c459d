// Principal components of a table of vectors: the directions in which its rows differ most.

import type { LongCall } from '../events/source.js'
import type { VectorTable } from '../events/table.js'
import { linear } from '../ops/linear.js'
import { Device } from '../runtime/device.js'
import { scope, Tensor } from '../runtime/tensor.js'
import { expectRange } from '../util/errors.js'
import { Pace } from '../util/pace.js'
import { Philox } from '../util/philox.js'

export interface Components {
  readonly mean: Float64Array
  /** (count, width), of length 1, most important first; the largest number of each is positive. */
  readonly directions: Float64Array
  /** Share of the variance along each. */
  readonly explained: Float64Array
}

const where = 'principalComponents'
const CHUNK_VALUES = 1 << 18
/** Directions iterated beyond those wanted: the more, the sooner they settle. */
const MORE = 6
const MOST_ITERATIONS = 1000
/** A direction that turns by less than this (in radians) has settled. */
const SETTLED = 1e-7

/** The same bits for the same table on one kind of device. */
export async function principalComponents(
  table: VectorTable,
  count: number,
  options: LongCall & { readonly device?: Device } = {},
): Promise<Components> {
  const { ids, width, vectors } = table
  const { signal, onProgress } = options
  signal?.throwIfAborted()
  expectRange(ids.length > 0 && width > 0, where, 'a table of one row or more', ids.length)
  expectRange(vectors.length === ids.length * width, where, `${ids.length * width} values`, vectors.length)
  expectRange(count >= 1 && count <= width, where, `1 … ${width} components`, count)
  const pace = new Pace(signal)
  const mean = await meanOf(table, pace)
  const device = options.device ?? new Device({ work: ids.length * width * width })
  try {
    const covariance = new Float64Array(width * width)
    const step = Math.max(1, Math.floor(CHUNK_VALUES / width))
    for (let begin = 0; begin < ids.length; begin += step) {
      const rows = Math.min(step, ids.length - begin)
      const sums = await scope(() => {
        const columns = Tensor.from(device, centredColumns(table, mean, begin, rows), [width, rows])
        return linear(columns, columns).read()
      })
      for (let i = 0; i < sums.length; i++) covariance[i] += sums[i] / ids.length
      onProgress?.({ phase: 'covariance', done: begin + rows, total: ids.length })
      await pace.turn()
    }
    return { mean, ...(await eigen(covariance, width, count, pace)) }
  } finally {
    if (!options.device) device.close()
  }
}

async function meanOf({ ids, width, vectors }: VectorTable, pace: Pace): Promise<Float64Array> {
  const mean = new Float64Array(width)
  for (let row = 0; row < ids.length; row++) {
    for (let i = 0; i < width; i++) mean[i] += vectors[row * width + i]
    if (row % 1024 === 0) await pace.turn()
  }
  for (let i = 0; i < width; i++) mean[i] /= ids.length
  const hole = mean.findIndex(value => !Number.isFinite(value))
  expectRange(hole < 0, where, `finite vectors in place ${hole}`, mean[hole], 'encode them again')
  return mean
}

/** Transposed, so that the product with itself is the one wanted. */
function centredColumns({ width, vectors }: VectorTable, mean: Float64Array, begin: number, rows: number) {
  const columns = new Float32Array(width * rows)
  for (let r = 0; r < rows; r++) {
    for (let i = 0; i < width; i++) columns[i * rows + r] = vectors[(begin + r) * width + i] - mean[i]
  }
  return columns
}

/** Largest eigenvectors by iteration of a subspace, turned to its own axes at each step (Rayleigh–Ritz). */
async function eigen(matrix: Float64Array, size: number, count: number, pace: Pace) {
  const kept = Math.min(size, count + MORE)
  const random = new Philox(0, 0)
  let basis: Float64Array = Float64Array.from({ length: kept * size }, () => random.normal())
  orthonormalise(basis, size)
  let values: Float64Array = new Float64Array(kept)
  for (let step = 0; step < MOST_ITERATIONS; step++) {
    const image = new Float64Array(kept * size)
    for (let k = 0; k < kept; k++) {
      for (let i = 0; i < size; i++) image[k * size + i] = inner(matrix, i * size, basis, k * size, size)
      await pace.turn()
    }
    const small = new Float64Array(kept * kept)
    for (let a = 0; a < kept; a++) {
      for (let b = 0; b < kept; b++) small[a * kept + b] = inner(basis, a * size, image, b * size, size)
    }
    const axes = jacobi(small, kept)
    values = axes.values
    const next = new Float64Array(kept * size)
    for (let a = 0; a < kept; a++) {
      for (let b = 0; b < kept; b++) {
        const share = axes.vectors[a * kept + b]
        for (let i = 0; i < size; i++) next[a * size + i] += share * image[b * size + i]
      }
    }
    orthonormalise(next, size)
    let turned = 0
    for (let k = 0; k < count; k++) {
      const cosine = Math.abs(inner(next, k * size, basis, k * size, size))
      turned = Math.max(turned, 1 - cosine)
    }
    basis = next
    await pace.turn()
    // 1 − cos φ is φ²/2.
    if (turned < (SETTLED * SETTLED) / 2 + 2 ** -52) break
  }
  const total = Array.from({ length: size }, (_, i) => matrix[i * size + i]).reduce((sum, one) => sum + one, 0)
  const directions = basis.slice(0, count * size)
  for (let k = 0; k < count; k++) makePositive(directions.subarray(k * size, (k + 1) * size))
  const explained = Float64Array.from(values.subarray(0, count), value => (total > 0 ? Math.max(0, value) / total : 0))
  return { directions, explained }
}

function inner(a: Float64Array, from: number, b: Float64Array, at: number, size: number): number {
  let sum = 0
  for (let i = 0; i < size; i++) sum += a[from + i] * b[at + i]
  return sum
}

/** Rows become orthogonal and of length 1 (Gram–Schmidt, twice); a row that vanishes becomes a unit vector. */
function orthonormalise(rows: Float64Array, size: number): void {
  const count = rows.length / size
  for (let k = 0; k < count; k++) {
    const own = rows.subarray(k * size, (k + 1) * size)
    const clean = () => {
      for (let pass = 0; pass < 2; pass++) {
        for (let j = 0; j < k; j++) {
          const share = inner(rows, j * size, own, 0, size)
          for (let i = 0; i < size; i++) own[i] -= share * rows[j * size + i]
        }
      }
      return Math.sqrt(inner(own, 0, own, 0, size))
    }
    const before = Math.sqrt(inner(own, 0, own, 0, size))
    let length = clean()
    // What is left after cancellation is rounding alone.
    for (let axis = 0; !(length > 1e-12 * before) && axis < size; axis++) {
      own.fill(0)
      own[axis] = 1
      length = clean()
      if (length > 0.1 / Math.sqrt(size)) break
      length = 0
    }
    for (let i = 0; i < size; i++) own[i] /= length
  }
}

/** All eigenvectors of a small symmetric matrix, as rows, largest value first (cyclic Jacobi rotations). */
function jacobi(matrix: Float64Array, size: number): { values: Float64Array; vectors: Float64Array } {
  const a = matrix.slice()
  const vectors = new Float64Array(size * size)
  for (let i = 0; i < size; i++) vectors[i * size + i] = 1
  for (let sweep = 0; sweep < 30; sweep++) {
    let off = 0
    let diagonal = 0
    for (let p = 0; p < size; p++) {
      diagonal += a[p * size + p] ** 2
      for (let q = 0; q < p; q++) off += a[p * size + q] ** 2
    }
    if (off <= 1e-30 * diagonal) break
    for (let p = 0; p < size; p++) for (let q = p + 1; q < size; q++) rotate(a, vectors, size, p, q)
  }
  const order = Array.from({ length: size }, (_, i) => i).sort((p, q) => a[q * size + q] - a[p * size + p])
  return {
    values: Float64Array.from(order, i => a[i * size + i]),
    vectors: Float64Array.from(order.flatMap(i => Array.from(vectors.subarray(i * size, (i + 1) * size)))),
  }
}

/** Makes a[p][q] zero. */
function rotate(a: Float64Array, vectors: Float64Array, size: number, p: number, q: number): void {
  const apq = a[p * size + q]
  if (apq === 0) return
  const theta = (a[q * size + q] - a[p * size + p]) / (2 * apq)
  const t = (theta >= 0 ? 1 : -1) / (Math.abs(theta) + Math.sqrt(theta * theta + 1))
  const c = 1 / Math.sqrt(t * t + 1)
  const s = t * c
  for (let i = 0; i < size; i++) {
    const x = a[i * size + p]
    const y = a[i * size + q]
    a[i * size + p] = c * x - s * y
    a[i * size + q] = s * x + c * y
  }
  for (const rows of [a, vectors]) {
    for (let i = 0; i < size; i++) {
      const x = rows[p * size + i]
      const y = rows[q * size + i]
      rows[p * size + i] = c * x - s * y
      rows[q * size + i] = s * x + c * y
    }
  }
}

function makePositive(row: Float64Array): void {
  const largest = row.reduce((best, value) => (Math.abs(value) > Math.abs(best) ? value : best), 0)
  if (largest < 0) for (let i = 0; i < row.length; i++) row[i] = -row[i]
}
