// What happens in a sequence at all, in few numbers: a random projection of how often each value of each input occurs. It is drawn
// once, from the names of the inputs, and never trained.

import type { EventEncoding } from '../events/encoding.js'
import { fieldEmbedding } from '../ops/field_embedding.js'
import { pool } from '../ops/pool.js'
import type { Device } from '../runtime/device.js'
import { Tensor, unscoped } from '../runtime/tensor.js'
import type { DeviceBatch } from './batch.js'
import { initialTable, valuesOf } from './event_embedding.js'
import { drawInitial, type NamedArray, type NamedArrays } from './parameters.js'

type Float = Tensor<'float32'>

/** One for all encoders: models of the same encoding have the same sketch. */
const SEED = 0

/**
 * The mean over events of random vectors that are added up, one for each input's value; numbers are piecewise linear, as in an
 * embedding. Distances between sketches are about those between the sequences' shares of values (Johnson and Lindenstrauss 1984).
 */
export class Sketch {
  readonly #device: Device
  readonly #width: number
  readonly #encoding: EventEncoding
  #tables: readonly Float[] | null = null

  constructor(device: Device, width: number, encoding: EventEncoding) {
    this.#device = device
    this.#width = width
    this.#encoding = encoding
  }

  /** (sequences, width). Without a gradient. */
  apply(batch: DeviceBatch): Float {
    const fields = this.#drawn.map((table, i) => valuesOf(batch.inputs[i], table))
    return pool(fieldEmbedding(fields, { width: this.#width, merge: 'add' }), batch.offsets)
  }

  /** The tables, by the names that they have in an exported model. */
  async read(): Promise<NamedArrays> {
    const arrays = new Map<string, NamedArray>()
    for (const [i, table] of this.#drawn.entries()) {
      arrays.set(nameOf(this.#encoding, i), { shape: table.shape, values: await table.read() })
    }
    return arrays
  }

  dispose(): void {
    for (const table of this.#tables ?? []) table.dispose()
    this.#tables = null
  }

  /** Drawn when first needed: pre-training needs none. */
  get #drawn(): readonly Float[] {
    this.#tables ??= this.#encoding.inputs.map((spec, i) => {
      const { rows, deviation } = initialTable(spec)
      const table = unscoped(() => Tensor.empty(this.#device, 'float32', [rows, this.#width]))
      return drawInitial(table, nameOf(this.#encoding, i), { deviation }, SEED)
    })
    return this.#tables
  }
}

const nameOf = ({ inputs }: EventEncoding, i: number) => `sketch.${inputs[i].name}.table`
