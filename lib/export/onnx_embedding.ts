// The first part of an exported encoder: codes and fractions to one vector per event.

import type { NamedArrays } from '../encoder/parameters.js'
import type { InputSpec, NumericInput, TextInput } from '../events/inputs.js'
import { FIRST_VALUE } from '../events/inputs.js'
import type { OnnxGraph, Value } from './onnx_graph.js'
import { type LayerContext, linear } from './onnx_layers.js'
import type { Size } from './onnx_sizes.js'

/** One input of the encoding, as inputs of the graph. */
export interface Input {
  readonly spec: InputSpec
  readonly codes: Value
  readonly fraction: Value | null
}

export function declareInput(graph: OnnxGraph, spec: InputSpec, { users = 'users', length = 'length' }: Dims): Input {
  const shape = spec.kind === 'text' ? [users, length, `${spec.name}.words`] : [users, length]
  const codes = graph.input(spec.name, 'int32', shape)
  const fraction = spec.kind === 'numeric' ? graph.input(`${spec.name}.fraction`, 'float32', [users, length]) : null
  return { spec, codes, fraction }
}

interface Dims {
  readonly users?: number | string
  readonly length?: number | string
}

/** (users, length, width) */
export function embedEvents(c: LayerContext, inputs: readonly Input[]): Value {
  const fields = inputs.map(input => {
    const isConv = input.spec.kind === 'text' && input.spec.aggregate === 'conv'
    const table = tableOf(c, `embedding.${input.spec.name}`)
    return isConv ? convolvedWords(c, input, table) : lookUp(c, input, table)
  })
  if (c.config.merge === 'concat') return linear(c, 'embedding.merge', c.graph.node('Concat', fields, { axis: -1 }))
  return fields.reduce((all, one) => c.graph.node('Add', [all, one]))
}

/** (users, length, columns of the sketch), or null where there is none. */
export function sketchEvents(c: LayerContext, inputs: readonly Input[], weights: NamedArrays): Value | null {
  const fields = inputs.flatMap(input => {
    const name = `sketch.${input.spec.name}`
    return weights.has(`${name}.table`) ? [lookUp(c, input, tableOf(c, name))] : []
  })
  return fields.length > 0 ? c.graph.node('Concat', fields, { axis: -1 }) : null
}

/** Sequences made longer by `missing` events of padding. */
export function lengthened(c: LayerContext, input: Input, missing: Size): Input {
  if (missing === 0) return input
  const { graph, sizes } = c
  const pad = (value: Value, fill: Value | null, rank: number) => {
    const pads = rank === 2 ? [0, 0, 0, missing] : [0, 0, 0, 0, missing, 0]
    return graph.node('Pad', [value, sizes.list(pads), ...(fill ? [fill] : [])])
  }
  const { spec, codes, fraction } = input
  const fill = spec.kind === 'text' ? graph.integers([spec.size], [], 'int32') : null
  return { spec, codes: pad(codes, fill, fill ? 3 : 2), fraction: fraction && pad(fraction, null, 2) }
}

/** The vectors of an input's values, under a name for what is made of them. */
interface Table {
  readonly name: string
  readonly dim: number
  readonly values: Float32Array
}

function tableOf(c: LayerContext, name: string): Table {
  const { shape, values } = c.weights(`${name}.table`)
  return { name, dim: shape[1], values }
}

/** (users, length, dim) */
function lookUp(c: LayerContext, { spec, codes, fraction }: Input, table: Table): Value {
  const { graph } = c
  const { name, dim, values } = table
  if (spec.kind === 'text') return meanOfWords(c, spec, codes, table)
  if (spec.kind === 'categorical' || spec.kind === 'cells') {
    return graph.node('Gather', [graph.floats(`${name}.table`, [values.length / dim, dim], values), codes])
  }
  const { base, slope } = numericTables(spec, table)
  const from = graph.node('Gather', [graph.floats(`${name}.base`, [spec.size, dim], base), codes])
  const rise = graph.node('Gather', [graph.floats(`${name}.slope`, [spec.size, dim], slope), codes])
  const part = graph.node('Unsqueeze', [fraction!, graph.integers([2])])
  return graph.node('Add', [from, graph.node('Mul', [part, rise])])
}

/** Where each code starts, and its rise over the bin: the bins below a number are summed up here, once. */
function numericTables(spec: NumericInput, { dim, values }: Table) {
  const base = new Float32Array(spec.size * dim)
  const slope = new Float32Array(spec.size * dim)
  base.set(values.subarray(0, FIRST_VALUE * dim))
  for (let i = 0; i < dim; i++) {
    let sum = values[spec.size * dim + i]
    for (let code = FIRST_VALUE; code < spec.size; code++) {
      base[code * dim + i] = sum
      slope[code * dim + i] = values[code * dim + i]
      sum += values[code * dim + i]
    }
  }
  return { base, slope }
}

/** Vectors of words (users, length, words, dim), and which of them are words. */
function wordsOf(c: LayerContext, spec: TextInput, codes: Value, { name, dim, values }: Table) {
  const { graph } = c
  // One row of zeros more: the words that fill up an event.
  const rows = new Float32Array((spec.size + 1) * dim)
  rows.set(values)
  return {
    words: graph.node('Gather', [graph.floats(`${name}.table`, [spec.size + 1, dim], rows), codes]),
    isWord: graph.node('Less', [codes, graph.integers([spec.size], [], 'int32')]),
  }
}

function meanOfWords(c: LayerContext, spec: TextInput, codes: Value, table: Table): Value {
  const { graph } = c
  const { words, isWord } = wordsOf(c, spec, codes, table)
  const wordAxis = graph.integers([2])
  const count = graph.node('ReduceSum', [graph.node('Cast', [isWord], { to: 1 }), wordAxis], { keepdims: 1 })
  const total = graph.node('ReduceSum', [words, wordAxis], { keepdims: 0 })
  return graph.node('Div', [total, graph.node('Max', [count, graph.float(1)])])
}

function convolvedWords(c: LayerContext, { spec, codes }: Input, table: Table): Value {
  const { graph } = c
  const { words, isWord } = wordsOf(c, spec as TextInput, codes, table)
  const { name, dim } = table
  // The stored rows hold the words of a window side by side.
  const window = c.weights(`${name}.conv.weight`).shape[1] / dim
  const around = Math.floor(window / 2)
  const padded = graph.node('Pad', [words, graph.integers([0, 0, around, 0, 0, 0, around, 0])])
  const taps = Array.from({ length: window }, (_, k) => {
    const end = k + 1 - window
    const to = end === 0 ? Number.MAX_SAFE_INTEGER : end
    return graph.node('Slice', [padded, graph.integers([k]), graph.integers([to]), graph.integers([2])])
  })
  const windows = graph.node('Concat', taps, { axis: 3 })
  const y = graph.node('Relu', [linear(c, `${name}.conv`, windows)])
  // Nothing is below zero after the ReLU: what fills up never wins, and a text without words is zeros.
  const kept = graph.node('Where', [graph.node('Unsqueeze', [isWord, graph.integers([3])]), y, graph.float(0)])
  return graph.node('ReduceMax', [kept], { axes: [2], keepdims: 0 })
}
