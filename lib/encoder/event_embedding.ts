// From encoded events to one vector per event: a table for every input, merged.

import type { EventEncoding, InputSpec } from '../events/inputs.js'
import { type EmbeddingField, fieldEmbedding } from '../ops/field_embedding.js'
import { pool } from '../ops/pool.js'
import { unfold } from '../ops/unfold.js'
import type { Parameter } from '../runtime/tape.js'
import type { Tensor } from '../runtime/tensor.js'
import type { DeviceBatch, DeviceInput } from './batch.js'
import type { EncoderConfig } from './config.js'
import { Linear, onStream } from './layers.js'
import type { ParameterStore } from './parameters.js'

type Float = Tensor<'float32'>

/** Words seen together by the convolution over a text. */
const WORD_WINDOW = 3

interface InputLayer {
  readonly spec: InputSpec
  readonly table: Parameter
  /** For text aggregated by convolution: words side by side to one vector. */
  readonly convolution: Linear | null
}

export class EventEmbedding {
  readonly #dim: number
  readonly #inputs: InputLayer[]
  readonly #merge: Linear | null

  constructor(store: ParameterStore, config: EncoderConfig, encoding: EventEncoding) {
    const { width, merge } = config
    const dim = merge === 'add' ? width : Math.max(1, Math.ceil(width / encoding.inputs.length))
    this.#dim = dim
    this.#inputs = encoding.inputs.map(spec => {
      const name = `embedding.${spec.name}`
      const { rows, deviation } = initialTable(spec)
      const table = store.create(`${name}.table`, [rows, dim], { deviation }, { decay: false })
      const isConv = spec.kind === 'text' && spec.aggregate === 'conv'
      return { spec, table, convolution: isConv ? new Linear(store, `${name}.conv`, WORD_WINDOW * dim, dim) : null }
    })
    this.#merge = merge === 'concat' ? new Linear(store, 'embedding.merge', dim * encoding.inputs.length, width) : null
  }

  /** (events, width) */
  apply(batch: DeviceBatch): Float {
    const fields = this.#inputs.map((layer, i) => field(layer, batch.inputs[i]))
    const width = this.#dim * (this.#merge ? fields.length : 1)
    const x = fieldEmbedding(fields, { width, merge: this.#merge ? 'concat' : 'add' })
    return onStream(this.#merge ? this.#merge.apply(x) : x)
  }
}

/** Rows of an input's table, and the deviation of its initial values. */
export function initialTable({ kind, size }: InputSpec): { readonly rows: number; readonly deviation: number } {
  // A numeric table has one row more: the bias that every present number shares. Its bins add up, so each is small.
  return kind === 'numeric' ? { rows: size + 1, deviation: 0.5 / Math.sqrt(size) } : { rows: size, deviation: 0.5 }
}

function field({ table, convolution }: InputLayer, input: DeviceInput): EmbeddingField {
  if (!convolution) return valuesOf(input, table.value)
  const words = fieldEmbedding([{ codes: input.codes, table: table.value }], {
    width: table.value.shape[1],
    merge: 'add',
  })
  const windows = unfold(words, input.wordOffsets!, { width: WORD_WINDOW })
  return { values: pool(convolution.apply(windows, { activation: 'relu' }), input.wordOffsets!, { mode: 'max' }) }
}

/** An input looked up in a table: rows of categories, piecewise linear numbers, the mean of words. */
export function valuesOf({ codes, fraction, wordOffsets }: DeviceInput, table: Float): EmbeddingField {
  if (fraction) return { codes, fraction, table }
  return wordOffsets ? { codes, wordOffsets, table } : { codes, table }
}
