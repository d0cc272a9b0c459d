// Arguments for the fuzz test of the addon: right ones of every type, and wrong ones of every kind.

import { SeqriskError } from '../../lib/util/errors.js'
import type { TestRandom } from '../support/random.js'

type Addon = Record<string, (...values: unknown[]) => unknown>
type DType = 'float32' | 'int32'

/** Of each stream: little enough that what a call asks for by chance is refused instead of filling the machine. */
const MEMORY_LIMIT = 32 * 2 ** 20
const OWN_ERROR = 'thrown by the fuzz test itself'

const NUMBERS = [0, -0, 1, 2, 3, 0.5, -1, Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]
const HUGE = [2 ** 20, 2 ** 31, -(2 ** 31), 2 ** 33, 2 ** 40, 2 ** 53, 1e308, 5e-324]
const INT32 = [0, 1, 2, 3, -1, 7, 2 ** 31 - 1, -(2 ** 31)]
const FLOAT32 = [0, -0, 1, -1, 0.1, 1e-45, 3e38, Number.NaN, Number.POSITIVE_INFINITY]

const isOver = (value: unknown, limit: number) => typeof value === 'number' && value > limit

/** Copying another one would run the getters in it. */
const isPlainList = (value: unknown): value is unknown[] =>
  Array.isArray(value) && Object.values(Object.getOwnPropertyDescriptors(value)).every(({ get }) => !get)

/** Newer than the library that the types of this project are of. */
type ResizableBuffer = ArrayBuffer & { resize(bytes: number): void }

function resizableBuffer(bytes: number, maxByteLength: number): ResizableBuffer {
  return new (ArrayBuffer as unknown as new (bytes: number, options: object) => ResizableBuffer)(bytes, {
    maxByteLength,
  })
}

export class Zoo {
  readonly streams: unknown[] = []
  /** What refusals said about the type of an argument: "op.argument" to dtype. */
  readonly lastDtype = new Map<string, DType>()
  readonly #addon: Addon
  readonly #random: TestRandom
  readonly #known = new Map<unknown, { dtype: DType; shape: number[] }>()
  readonly #offsets = new Set<unknown>()
  readonly #gone: unknown[] = []

  constructor(addon: Addon, random: TestRandom) {
    this.#addon = addon
    this.#random = random
    this.renew()
  }

  pick<T>(values: readonly T[]): T {
    return values[this.#random.integer(0, values.length - 1)]
  }

  isOwnError(error: unknown): boolean {
    return error instanceof Error && error.message === OWN_ERROR
  }

  /** Frees what was made, opens what was closed, and starts with a handful of each. */
  renew(): void {
    for (const tensor of this.#known.keys()) this.#addon.tensor_dispose(tensor)
    for (const offsets of this.#offsets) this.#addon.offsets_dispose(offsets)
    this.#gone.splice(0, this.#gone.length, ...[...this.#known.keys()].slice(0, 4), ...[...this.#offsets].slice(0, 2))
    this.#known.clear()
    this.#offsets.clear()
    for (let i = 0; i < 2; i++) {
      this.streams[i] ??= this.#addon.stream_open(i + 1, '', false, MEMORY_LIMIT, true)
      this.#addon.stream_fail_allocation(this.streams[i], 0)
    }
  }

  tensor(dtype: DType, shape: number[], stream = this.streams[0]): unknown {
    const size = shape.reduce((product, axis) => product * axis, 1)
    try {
      const tensor = this.#addon.tensor_create(stream, dtype, shape)
      this.#known.set(tensor, { dtype, shape })
      const ids = this.#random.integer(0, 3) === 0 ? INT32 : [0, 0, 0, 1]
      const values = dtype === 'float32' ? new Float32Array(size) : new Int32Array(size)
      for (let i = 0; i < size; i++) {
        values[i] =
          dtype === 'int32' ? this.pick(ids) : this.#random.integer(0, 9) ? this.#random.normal() : this.pick(FLOAT32)
      }
      this.#addon.tensor_write(tensor, values)
      return tensor
    } catch {
      return null
    }
  }

  /** A fresh tensor of the same type and shape; anything else for something else. */
  like(value: unknown): unknown {
    const known = this.#known.get(value)
    if (known) return this.tensor(known.dtype, known.shape)
    return this.#offsets.has(value) ? this.offsets(5) : this.#anyTensor()
  }

  /** Over so many events. */
  offsets(events: number, stream = this.streams[0]): unknown {
    if (events > 1e6) return null
    const cuts = [0, events]
    for (let i = this.#random.integer(0, 3); i > 0; i--) cuts.push(this.#random.integer(0, events))
    try {
      const offsets = this.#addon.offsets_create(stream, Int32Array.from(cuts.sort((a, b) => a - b)))
      this.#offsets.add(offsets)
      return offsets
    } catch {
      return null
    }
  }

  #anyTensor(): unknown {
    const shape = Array.from({ length: this.#random.integer(1, 3) }, () => this.#random.integer(0, 8))
    return this.tensor(this.#random.integer(0, 3) ? 'float32' : 'int32', shape)
  }

  /** Of the declared type. */
  right(type: string): unknown {
    if (type.includes('null') && this.#random.integer(0, 2) === 0) return null
    if (type.startsWith('StreamHandle')) return this.streams[0]
    if (type.startsWith('TensorHandle')) return this.#anyTensor()
    if (type.startsWith('OffsetsHandle')) return this.offsets(this.#random.integer(0, 9))
    if (type === 'number') return this.pick([1, 1, 1, 2, 2, 3, 4, 0.5, 8, 0])
    if (type === 'boolean') return this.#random.integer(0, 1) === 1
    if (type === 'string') return this.pick(['', 'scalar'])
    if (type === 'DType') return this.pick(['float32', 'int32'])
    if (type.includes('number[]')) return [this.#random.integer(0, 9), this.#random.integer(1, 9)]
    if (type === 'Uint32Array') return new Uint32Array(4 * this.#random.integer(0, 3))
    if (type.includes('Int32Array')) return Int32Array.of(0, 2, 2, 5)
    return type.startsWith('new') ? SeqriskError : this.wrong()
  }

  /** `fields` of field_embedding with one to three fields, and the arguments before it. */
  embedding(backward: boolean): unknown[] {
    const events = this.#random.integer(0, 9)
    const width = this.#random.integer(1, 9)
    const concat = this.#random.integer(0, 1) === 1
    const fields: unknown[] = []
    const count = this.#random.integer(1, 3)
    for (let i = 0; i < count; i++) {
      const kind = this.#random.integer(0, 3)
      const words = this.#random.integer(0, 9)
      const table = this.tensor('float32', [kind === 3 ? events : this.#random.integer(4, 9), width])
      fields.push(kind, width)
      if (kind < 2) fields.push(this.tensor('int32', [events]))
      if (kind === 1) fields.push(this.tensor('float32', [events]))
      if (kind === 2) fields.push(this.tensor('int32', [words]), this.#wordOffsets(events, words))
      fields.push(table)
      if (kind === 3 && backward) fields.push(true)
    }
    return [this.streams[0], concat, this.tensor('float32', [events, concat ? width * count : width]), count, fields]
  }

  #wordOffsets(events: number, words: number): unknown {
    const cuts = Array.from({ length: events + 1 }, () => this.#random.integer(0, words)).sort((a, b) => a - b)
    cuts[0] = 0
    if (events > 0) cuts[events] = words
    try {
      const offsets = this.#addon.offsets_create(this.streams[0], Int32Array.from(cuts))
      this.#offsets.add(offsets)
      return offsets
    } catch {
      return null
    }
  }

  /** A tensor and as many values of its type. */
  write(): unknown[] {
    const dtype = this.pick(['float32', 'int32'] as const)
    const size = this.#random.integer(0, 9)
    return [this.tensor(dtype, [size]), dtype === 'float32' ? new Float32Array(size) : new Int32Array(size)]
  }

  /** Lists of tensors of equal sizes, and hyper-parameters. */
  adamw(): unknown[] {
    const sizes = Array.from({ length: this.#random.integer(0, 3) }, () => this.#random.integer(0, 20))
    const list = () => sizes.map(size => this.tensor('float32', [size]))
    const norm = this.tensor('float32', [1])
    const numbers = [1e-3, 0.9, 0.999, 1e-8, 0.01, 1, 1]
    return [this.streams[0], list(), list(), list(), list(), sizes.map(() => true), norm, ...numbers, false]
  }

  /** The same call with one or two things wrong. */
  spoil(name: string, values: readonly unknown[]): unknown[] {
    const spoilt = [...values]
    for (let i = this.#random.integer(1, 2); i > 0; i--) {
      const way = this.#random.integer(0, 9)
      const at = this.#random.integer(0, Math.max(0, spoilt.length - 1))
      if (way === 0) spoilt.splice(this.#random.integer(0, spoilt.length))
      else if (way === 1) spoilt.push(this.wrong())
      else if (way === 2) spoilt[at] = spoilt[this.#random.integer(0, Math.max(0, spoilt.length - 1))]
      else if (isPlainList(spoilt[at]) && way < 8) spoilt[at] = this.#spoiltList(spoilt[at])
      else spoilt[at] = this.wrong()
    }
    // Right by chance and slow: rounds of arithmetic, threads to start.
    if (/^machine_(peak|update)$/.test(name) && isOver(spoilt[2], 1e4)) spoilt[2] = 2 ** 40
    if (name === 'gbrt_trainer_boost' && isOver(spoilt[1], 100)) spoilt[1] = 2 ** 40
    if (name === 'stream_open' && isOver(spoilt[0], 4)) spoilt[0] = 2 ** 20
    return spoilt
  }

  #spoiltList(list: readonly unknown[]): unknown[] {
    const spoilt = [...list]
    const at = this.#random.integer(0, spoilt.length)
    const way = this.#random.integer(0, 4)
    if (way === 0) spoilt.splice(at, 1)
    else if (way === 1) spoilt.splice(at, 0, this.wrong())
    else if (way === 2) spoilt[at] = this.wrong()
    // Reading the list runs code that frees, closes or throws.
    else if (way === 3) Object.defineProperty(spoilt, at, { get: () => this.#ambush(list[at]) })
    else spoilt.length = this.pick([0, 1, 5, 2 ** 20])
    return spoilt
  }

  #ambush(value: unknown): unknown {
    const way = this.#random.integer(0, 9)
    if (way === 0) throw new Error(OWN_ERROR)
    if (way === 1) this.#close(this.streams[0])
    else if (way < 8) for (const tensor of this.#known.keys()) this.#addon.tensor_dispose(tensor)
    else for (const offsets of this.#offsets) this.#addon.offsets_dispose(offsets)
    return value
  }

  #close(stream: unknown): void {
    this.#addon.stream_close(stream)
    const at = this.streams.indexOf(stream)
    if (at >= 0) this.streams[at] = undefined
  }

  wrong(): unknown {
    const buffer = new ArrayBuffer(16)
    const resizable = resizableBuffer(16, 64)
    const make: (() => unknown)[] = [
      () => this.pick(NUMBERS),
      () => this.pick(HUGE),
      () => this.pick([null, undefined, true, '', 'float32', 'x'.repeat(1e5), Symbol('s'), 1n, 2n ** 70n]),
      () => this.pick([{}, [], [[]], () => 0, class {}, new Date(Number.NaN), /x/, new Map(), new Proxy([1], {})]),
      () => Object.create(this.streams[1] as object),
      () => new Proxy(this.#anyTensor() ?? {}, {}),
      () => this.streams[1],
      () => this.tensor('float32', [3, 4], this.streams[1]),
      () => this.offsets(4, this.streams[1]),
      () => this.pick(this.#gone),
      () => this.#anyTensor(),
      () => this.offsets(this.#random.integer(0, 20)),
      () => this.#view(),
      () => Int32Array.from({ length: this.#random.integer(0, 6) }, () => this.pick(INT32)),
      () => Float32Array.from({ length: this.#random.integer(0, 6) }, () => this.pick(FLOAT32)),
      () =>
        this.pick([new Uint8Array(buffer), new Float64Array(buffer), new BigInt64Array(buffer), new DataView(buffer)]),
      () => this.pick([new Float32Array(new SharedArrayBuffer(16)), new Int32Array(new SharedArrayBuffer(16))]),
      () => {
        const array = new (this.pick([Float32Array, Int32Array]))(buffer)
        structuredClone(buffer, { transfer: [buffer] })
        return array
      },
      () => {
        const array = new (this.pick([Float32Array, Int32Array]))(resizable, 4, this.pick([undefined, 2]))
        resizable.resize(this.pick([0, 4, 6, 16, 64]))
        return array
      },
      () => Array.from({ length: this.#random.integer(0, 6) }, () => this.pick([...NUMBERS, ...HUGE, '2', null])),
    ]
    return this.pick(make)()
  }

  #view(): unknown {
    const [base, known] = this.pick([...this.#known]) ?? []
    if (!known) return null
    try {
      const view = this.#addon.tensor_view(base, this.#random.integer(0, 2), [this.#random.integer(0, 4)])
      this.#known.set(view, { dtype: known.dtype, shape: [1] })
      return view
    } catch {
      return base
    }
  }

  /** Keeps the books after a call that succeeded. */
  took(name: string, values: readonly unknown[], result: unknown): void {
    if (name === 'stream_open') this.#addon.stream_close(result)
    if (name === 'set_error_class') this.#addon.set_error_class(SeqriskError)
    if (name === 'stream_close') this.#close(values[0])
    if (name === 'tensor_create' || name === 'tensor_view') this.#known.set(result, { dtype: 'float32', shape: [1] })
    if (name === 'offsets_create') this.#offsets.add(result)
    for (let i = 0; i < 2; i++) this.streams[i] ??= this.#addon.stream_open(i + 1, '', false, MEMORY_LIMIT, true)
  }
}
