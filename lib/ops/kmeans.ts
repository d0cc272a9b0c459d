import type { KmeansHandle, NumberArray } from '../../binding.js'
import { binding } from '../native.js'
import type { Device } from '../runtime/device.js'
import { inChunks } from '../util/chunks.js'

export interface KmeansNumbers {
  readonly rows: number
  readonly features: number
  readonly clusters: number
  readonly tolerance: number
  readonly seed: number
}

/** A K-Means problem in native memory. */
export class NativeKmeans {
  readonly #handle: KmeansHandle
  readonly #numbers: KmeansNumbers

  constructor(device: Device, numbers: KmeansNumbers) {
    const { rows, features, clusters, tolerance, seed } = numbers
    this.#numbers = numbers
    this.#handle = binding.kmeans_create(device.handle, rows, features, clusters, tolerance, seed)
  }

  /** Copies all rows, then starts from the given centres, or from seeds. */
  async begin(
    source: NumberArray | readonly NumberArray[],
    centers: Float32Array | null,
    signal?: AbortSignal,
  ): Promise<void> {
    const { rows, features } = this.#numbers
    const put = async (row: number, count: number) => {
      await binding.kmeans_append(this.#handle, source, row, count)
    }
    await inChunks(rows, features, put, { signal })
    signal?.throwIfAborted()
    await binding.kmeans_begin(this.#handle, centers)
  }

  async step(iterations: number): Promise<{ iterations: number; changed: number; shift: number; isDone: boolean }> {
    const [done, changed, shift, isDone] = await binding.kmeans_step(this.#handle, iterations)
    return { iterations: done, changed, shift, isDone: isDone === 1 }
  }

  async finish(): Promise<{ centers: Float32Array; assigned: Int32Array; inertia: number }> {
    const { centers, assigned, inertia } = await binding.kmeans_finish(this.#handle)
    return { centers, assigned, inertia: inertia[0] }
  }

  dispose(): void {
    binding.kmeans_dispose(this.#handle)
  }
}
