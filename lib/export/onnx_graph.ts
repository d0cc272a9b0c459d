// An ONNX graph under construction, and its bytes (https://onnx.ai/onnx/repo-docs/IR.html; field numbers from onnx.proto).

import { expectRange } from '../util/errors.js'
import { ProtoMessage } from './protobuf.js'

export type OnnxType = 'float32' | 'int32' | 'int64' | 'bool'
/** A size, or the name of one that is known only when the graph runs. */
export type Dimension = number | string
export type Attribute = number | string | readonly number[] | readonly string[] | Float32Array
export type Attributes = Readonly<Record<string, Attribute>>

/** A value in the graph: the result of a node, an input, or a constant. */
export type Value = string & { readonly __value: unique symbol }

/** Operators of ONNX itself, those of its part for classical models, and those that onnxruntime adds. */
export const ONNX_DOMAIN = ''
export const ML_DOMAIN = 'ai.onnx.ml'
export const ONNXRUNTIME_DOMAIN = 'com.microsoft'

const IR_VERSION = 8
/** The first that has LayerNormalization. */
const OPSET = 17
const DOMAIN_VERSIONS: Readonly<Record<string, number>> = {
  [ONNX_DOMAIN]: OPSET,
  [ML_DOMAIN]: 3,
  [ONNXRUNTIME_DOMAIN]: 1,
}
const TYPES = { float32: 1, int32: 6, int64: 7, bool: 9 } as const
const ATTRIBUTE = { float: 1, int: 2, string: 3, floats: 6, ints: 7, strings: 8 } as const
const ATTRIBUTE_FIELD = { float: 2, int: 3, string: 4, floats: 7, ints: 8, strings: 9, type: 20 } as const
/** Attributes that are floats even where their value is whole. */
const FLOAT_ATTRIBUTES = new Set(['epsilon', 'alpha', 'beta', 'scale'])
/** A protocol buffer is shorter than this. */
const MAX_BYTES = 2 ** 31

export class OnnxGraph {
  readonly #nodes: ProtoMessage[] = []
  readonly #initializers: ProtoMessage[] = []
  readonly #inputs: ProtoMessage[] = []
  readonly #outputs: ProtoMessage[] = []
  readonly #integers = new Map<string, Value>()
  readonly #domains = new Set([ONNX_DOMAIN])
  /** Inputs, constants and results of nodes share one set of names. */
  readonly #names = new Set<string>()
  #next = 0

  input(name: string, type: OnnxType, shape: readonly Dimension[]): Value {
    this.#claim(name)
    this.#inputs.push(valueInfo(name, type, shape))
    return name as Value
  }

  /** Names a value as an output of the graph. */
  output(name: string, value: Value, type: OnnxType, shape: readonly Dimension[]): void {
    this.#add('Identity', [value], {}, [name], ONNX_DOMAIN)
    this.#outputs.push(valueInfo(name, type, shape))
  }

  /** A constant; the name is for readers of the graph. */
  floats(name: string, shape: readonly number[], values: Float32Array): Value {
    return this.#initializer(
      name,
      'float32',
      shape,
      new Uint8Array(values.buffer, values.byteOffset, values.byteLength),
    )
  }

  float(value: number): Value {
    return this.floats(this.#fresh('float'), [], Float32Array.of(value))
  }

  /** A constant list of int64, for shapes and axes; without a shape, of rank 1. */
  integers(
    values: readonly number[],
    shape: readonly number[] = [values.length],
    type: 'int32' | 'int64' = 'int64',
  ): Value {
    const id = `${type}:${shape}:${values}`
    const known = this.#integers.get(id)
    if (known) return known
    const array = type === 'int64' ? BigInt64Array.from(values, BigInt) : Int32Array.from(values)
    const value = this.#initializer(this.#fresh(type), type, shape, new Uint8Array(array.buffer))
    this.#integers.set(id, value)
    return value
  }

  /** A node with one result. Inputs that are left out are null. */
  node(op: string, inputs: readonly (Value | null)[], attributes: Attributes = {}, domain = ONNX_DOMAIN): Value {
    return this.nodes(op, inputs, 1, attributes, domain)[0]
  }

  /** A node with several results. */
  nodes(
    op: string,
    inputs: readonly (Value | null)[],
    results: number,
    attributes: Attributes = {},
    domain = ONNX_DOMAIN,
  ): Value[] {
    const names = Array.from({ length: results }, () => this.#fresh(op))
    this.#add(op, inputs, attributes, names, domain)
    return names as Value[]
  }

  /** The model as the bytes of an .onnx file. @throws {RangeError} beyond 2 GB, which the format cannot hold */
  finish(name: string, metadata: Readonly<Record<string, string>> = {}): Uint8Array {
    const graph = new ProtoMessage()
    for (const node of this.#nodes) graph.message(1, node)
    graph.text(2, name)
    for (const initializer of this.#initializers) graph.message(5, initializer)
    for (const input of this.#inputs) graph.message(11, input)
    for (const output of this.#outputs) graph.message(12, output)
    const model = new ProtoMessage().integer(1, IR_VERSION).text(2, 'seqrisk').message(7, graph)
    for (const domain of this.#domains) {
      model.message(8, new ProtoMessage().text(1, domain).integer(2, DOMAIN_VERSIONS[domain]))
    }
    for (const [key, value] of Object.entries(metadata))
      model.message(14, new ProtoMessage().text(1, key).text(2, value))
    if (model.size >= MAX_BYTES) {
      throw new RangeError(
        `[onnx] expected a model below 2 GB but received ${model.size} bytes; use smaller vocabularies`,
      )
    }
    return model.finish()
  }

  #fresh(hint: string): Value {
    const name = `${hint}_${this.#next++}`
    return this.#names.has(name) ? this.#fresh(hint) : (name as Value)
  }

  #claim(name: string): void {
    expectOtherName(!this.#names.has(name), 'onnx', name)
    this.#names.add(name)
  }

  #initializer(name: string, type: OnnxType, shape: readonly number[], bytes: Uint8Array): Value {
    this.#claim(name)
    const tensor = new ProtoMessage().packed(1, shape).integer(2, TYPES[type]).text(8, name).bytes(9, bytes)
    this.#initializers.push(tensor)
    return name as Value
  }

  #add(op: string, inputs: readonly (Value | null)[], attributes: Attributes, outputs: string[], domain: string): void {
    for (const output of outputs) this.#claim(output)
    const node = new ProtoMessage()
    for (const input of inputs) node.text(1, input ?? '')
    for (const output of outputs) node.text(2, output)
    node.text(3, outputs[0]).text(4, op)
    for (const [name, value] of Object.entries(attributes)) node.message(5, attribute(name, value))
    if (domain !== ONNX_DOMAIN) node.text(7, domain)
    this.#domains.add(domain)
    this.#nodes.push(node)
  }
}

/** Throws a RangeError unless the name is a field's alone. */
export function expectOtherName(isFree: boolean, where: string, name: string): void {
  const expected = `fields of other names than '${name}', which the model has already,`
  expectRange(isFree, where, expected, name, 'rename the field')
}

function attribute(name: string, value: Attribute): ProtoMessage {
  const message = new ProtoMessage().text(1, name)
  const kind = attributeKind(name, value)
  const field = ATTRIBUTE_FIELD[kind]
  if (typeof value === 'string') message.text(field, value)
  else if (value instanceof Float32Array) for (const item of value) message.float(field, item)
  else if (typeof value === 'object') {
    for (const item of value) typeof item === 'string' ? message.text(field, item) : message.integer(field, item)
  } else if (kind === 'float') message.float(field, value)
  else message.integer(field, value)
  return message.integer(ATTRIBUTE_FIELD.type, ATTRIBUTE[kind])
}

function attributeKind(name: string, value: Attribute): keyof typeof ATTRIBUTE {
  if (typeof value === 'string') return 'string'
  if (value instanceof Float32Array) return 'floats'
  if (typeof value === 'object') return typeof value[0] === 'string' ? 'strings' : 'ints'
  return FLOAT_ATTRIBUTES.has(name) ? 'float' : 'int'
}

function valueInfo(name: string, type: OnnxType, shape: readonly Dimension[]): ProtoMessage {
  const dims = new ProtoMessage()
  for (const size of shape) {
    dims.message(1, typeof size === 'number' ? new ProtoMessage().integer(1, size) : new ProtoMessage().text(2, size))
  }
  const tensor = new ProtoMessage().integer(1, TYPES[type]).message(2, dims)
  return new ProtoMessage().text(1, name).message(2, new ProtoMessage().message(1, tensor))
}
