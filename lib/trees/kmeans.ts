// K-Means clustering.

import { NativeKmeans } from '../ops/kmeans.js'
import type { TableData } from '../runtime/binned_matrix.js'
import type { Device } from '../runtime/device.js'
import { expectOptions, expectRange, expectType } from '../util/errors.js'
import { rowsOf } from './rows.js'

/** What `kmeans` can be told. */
export interface KMeansOptions {
  readonly clusters: number
  /** Default 300. 0 assigns the rows to the seeds, or to `centers`. */
  readonly maxIterations?: number | undefined
  /** Steps of the centres that end the iterations: their squared sum, over the mean variance. Default 0.0001. */
  readonly tolerance?: number | undefined
  /** Default 0. */
  readonly seed?: number | undefined
  /** (clusters, features) centres to start from. Default: k-means++. */
  readonly centers?: Float32Array | undefined
  readonly signal?: AbortSignal | undefined
  /** Called between pieces of the work. */
  readonly onProgress?:
    | ((progress: { readonly phase: 'kmeans'; readonly done: number; readonly total: number }) => void)
    | undefined
}

/** Centres, and the nearest one of each row. */
export interface KMeansResult {
  /** (clusters, features) */
  readonly centers: Float32Array
  /** The nearest centre of each row; the lowest of equally near ones. */
  readonly assigned: Int32Array
  /** Sum of squared distances from the rows to their centres. */
  readonly inertia: number
  readonly iterations: number
  /** Whether the centres came to rest before `maxIterations`. */
  readonly isConverged: boolean
}

const where = 'kmeans'

/**
 * Lloyd's iterations from k-means++ seeds (Arthur & Vassilvitskii 2007; of a sample where rows are many), with bounds
 * that skip rows which cannot change (Hamerly 2010). A cluster without rows takes the row that is farthest from its
 * centre; it stays empty where all rows are on theirs. The same seed gives the same bits on any number of threads.
 * Distances are Euclidean, in float32: scale the columns first.
 * @throws {RangeError} for values that are not finite, more clusters than rows, or columns of different lengths
 */
export async function kmeans(device: Device, data: TableData, options: KMeansOptions): Promise<KMeansResult> {
  expectOptions(where, options, ['clusters', 'maxIterations', 'tolerance', 'seed', 'centers', 'signal', 'onProgress'])
  const { clusters, maxIterations = 300, tolerance = 1e-4, seed = 0, centers, signal, onProgress } = options
  const { source, rows, features } = rowsOf(where, data)
  expectRange(rows > 0 && features > 0, where, 'at least one row and one column', [rows, features])
  const isCount = Number.isInteger(maxIterations) && maxIterations >= 0
  expectRange(isCount, where, 'maxIterations to be an integer from 0', maxIterations)
  const isFloats = centers === undefined || centers instanceof Float32Array
  expectType(isFloats, where, 'centers to be a Float32Array', centers)
  signal?.throwIfAborted()
  const native = new NativeKmeans(device, { rows, features, clusters, tolerance, seed })
  try {
    await native.begin(source, centers ?? null, signal)
    let state = { iterations: 0, isDone: false }
    while (state.iterations < maxIterations && !state.isDone) {
      signal?.throwIfAborted()
      state = await native.step(1)
      onProgress?.({ phase: 'kmeans', done: state.iterations, total: maxIterations })
    }
    signal?.throwIfAborted()
    const result = await native.finish()
    return { ...result, iterations: state.iterations, isConverged: state.isDone }
  } finally {
    native.dispose()
  }
}
