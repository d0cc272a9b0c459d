// What happens in a sequence at all: how often each value of each input occurs, in a given number of columns. Never trained.

import type { EventEncoding, InputSpec } from '../events/inputs.js'
import { MASK } from '../events/inputs.js'
import { fieldEmbedding } from '../ops/field_embedding.js'
import { type PoolMode, pool } from '../ops/pool.js'
import type { Device } from '../runtime/device.js'
import { Tensor, unscoped } from '../runtime/tensor.js'
import type { DeviceBatch } from './batch.js'
import { initialTable, valuesOf } from './event_embedding.js'
import { drawInitial, type NamedArray, type NamedArrays } from './parameters.js'

type Float = Tensor<'float32'>

/** One for all encoders: models of the same encoding have the same sketch. */
const SEED = 0

export interface SketchSizes {
  /** Columns at most. */
  readonly columns: number
  /** Width of an embedding whose distances between values the sketch's are made like. */
  readonly width: number
  /** Whether the largest values of all columns stand behind their means. */
  readonly extremes: boolean
}

/** An input's part of the sketch. */
interface Part {
  readonly index: number
  readonly spec: InputSpec
  readonly columns: number
}

/**
 * Columns of each input side by side, the mean over events. An input that has no more values than columns has one for each: the share of
 * events with the value, or for a number how far it reaches through each of its bins. Where there are more values each has a random
 * vector, and the columns are their mean: distances stay about what they were (Johnson and Lindenstrauss 1984). The maximum in place of
 * the mean says whether a value ever occurred, and how far the largest number reaches.
 */
export class Sketch {
  /** Numbers of a sequence: columns of all inputs, fewer than asked for where all values have one of their own; twice with `extremes`. */
  readonly width: number
  readonly #columns: number
  readonly #modes: readonly PoolMode[]
  readonly #device: Device
  readonly #parts: readonly Part[]
  readonly #distance: number
  #tables: readonly Float[] | null = null

  constructor(device: Device, { inputs }: EventEncoding, { columns, width, extremes }: SketchSizes) {
    const shares = shareColumns(inputs.map(valuesIn), columns)
    this.#columns = shares.reduce((sum, share) => sum + share, 0)
    this.#modes = this.#columns === 0 ? [] : extremes ? ['mean', 'max'] : ['mean']
    this.width = this.#modes.length * this.#columns
    this.#device = device
    this.#parts = inputs
      .map((spec, index): Part => ({ index, spec, columns: shares[index] }))
      .filter(part => part.columns > 0)
    this.#distance = Math.sqrt(width)
  }

  /** Parts of (sequences, columns): the means, then with `extremes` the largest values; none without columns. Without a gradient. */
  apply(batch: DeviceBatch): Float[] {
    if (this.width === 0) return []
    const tables = this.#drawn
    const fields = this.#parts.map(({ index }, p) => valuesOf(batch.inputs[index], tables[p]))
    const events = fieldEmbedding(fields, { width: this.#columns, merge: 'concat' })
    return this.#modes.map(mode => pool(events, batch.offsets, { mode }))
  }

  /** The tables, by the names that they have in an exported model. */
  async read(): Promise<NamedArrays> {
    const arrays = new Map<string, NamedArray>()
    for (const [p, table] of this.#drawn.entries()) {
      arrays.set(nameOf(this.#parts[p].spec), { shape: table.shape, values: await table.read() })
    }
    return arrays
  }

  dispose(): void {
    for (const table of this.#tables ?? []) table.dispose()
    this.#tables = null
  }

  /** Made when first needed: pre-training needs none. */
  get #drawn(): readonly Float[] {
    this.#tables ??= this.#parts.map(part => this.#table(part))
    return this.#tables
  }

  #table({ spec, columns }: Part): Float {
    const { rows, deviation } = initialTable(spec)
    const distance = deviation * this.#distance
    const table = unscoped(() => Tensor.empty(this.#device, 'float32', [rows, columns]))
    if (columns < valuesIn(spec)) {
      return drawInitial(table, nameOf(spec), { deviation: distance / Math.sqrt(columns) }, SEED)
    }
    const values = new Float32Array(rows * columns)
    // A hidden value is none; the last row of numbers, which all of them share, would say the same of each.
    for (let code = 0; code < spec.size; code++) {
      if (code !== MASK) values[code * columns + Math.max(0, code - 1)] = distance
    }
    return table.write(values)
  }
}

/** Codes that an event can have: all but the mask. */
const valuesIn = ({ size }: InputSpec) => size - 1
const nameOf = ({ name }: InputSpec) => `sketch.${name}.table`

/** Every input gets what it wants, or where that is too much an equal share of what those that want less have left. */
function shareColumns(wanted: readonly number[], columns: number): number[] {
  const shares = wanted.map(() => 0)
  const order = [...wanted.keys()].sort((a, b) => wanted[a] - wanted[b])
  let left = columns
  order.forEach((i, k) => {
    shares[i] = Math.min(wanted[i], Math.floor(left / (order.length - k)))
    left -= shares[i]
  })
  return shares
}
