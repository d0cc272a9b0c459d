import type { IforestHandle, NumberArray } from '../../binding.js'
import { binding } from '../native.js'
import type { Device } from '../runtime/device.js'
import { inChunks } from '../util/chunks.js'

// Copying the rows of a batch of trees holds the JavaScript thread for about a millisecond.
const BATCH_VALUES = 1 << 16

/** Trees of an isolation forest in native memory. */
export class NativeIforest {
  readonly features: number
  readonly #handle: IforestHandle

  constructor(device: Device, features: number, trees: number, samples: number, extension: number, seed: number) {
    this.features = features
    this.#handle = binding.iforest_create(device.handle, features, trees, samples, extension, seed)
  }

  /** Grows all trees, batch by batch: while one grows, the rows of the next are copied. */
  async grow(
    source: NumberArray | readonly NumberArray[],
    rows: number,
    { trees, samples }: { trees: number; samples: number },
    control: { readonly signal?: AbortSignal; readonly report?: (done: number) => void },
  ): Promise<void> {
    const batch = Math.max(1, Math.floor(BATCH_VALUES / (samples * this.features)))
    let grown: Promise<unknown> = Promise.resolve()
    for (let tree = 0; tree < trees; tree += batch) {
      control.signal?.throwIfAborted()
      const count = Math.min(batch, trees - tree)
      const next = binding.iforest_grow(this.#handle, tree, count, source, rows)
      // One that is not waited for, as this call ends before it, is no unhandled rejection.
      next.catch(() => {})
      await grown
      if (tree > 0) control.report?.(tree)
      grown = next
    }
    await grown
    control.report?.(trees)
  }

  async score(
    source: NumberArray | readonly NumberArray[],
    rows: number,
    signal?: AbortSignal,
  ): Promise<Float64Array<ArrayBuffer>> {
    const out = new Float64Array(rows)
    const put = async (row: number, count: number) => {
      out.set(await binding.iforest_score(this.#handle, source, row, count), row)
    }
    await inChunks(rows, this.features, put, { signal })
    return out
  }
}
