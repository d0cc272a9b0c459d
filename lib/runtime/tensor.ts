// Tensors, and the scopes that free them.

import type { DType, OffsetsHandle, TensorHandle } from '../../binding.js'
import { binding } from '../native.js'
import type { Device } from './device.js'

export type TensorData<T extends DType> = T extends 'int32' ? Int32Array<ArrayBuffer> : Float32Array<ArrayBuffer>

/** Types of activations. The host reads and writes both as float32. */
export type FloatType = Exclude<DType, 'int32'>

/** Something in device memory that a scope can free. */
interface Disposable {
  dispose(): void
}

let openScope: Set<Disposable> | null = null

/**
 * Runs `body` (synchronously) and frees every tensor that was made inside, but for the ones it returns (a tensor, or
 * an array or plain object of tensors) and those kept with `keep`. Scopes nest.
 */
export function scope<R>(body: () => R): R {
  const outer = openScope
  const mine = new Set<Disposable>()
  openScope = mine
  let result: R
  try {
    result = body()
  } catch (error) {
    openScope = outer
    for (const item of mine) item.dispose()
    throw error
  }
  openScope = outer
  eachTensor(result, kept => {
    if (mine.delete(kept)) outer?.add(kept)
  })
  for (const item of mine) item.dispose()
  return result
}

/** Takes a tensor out of every open scope: it lives until `dispose`, or until it is collected. */
export function keep<T extends Disposable>(item: T): T {
  openScope?.delete(item)
  return item
}

/** Runs `body` outside any scope: what it makes must be freed by hand. For parameters and other long-lived state. */
export function unscoped<R>(body: () => R): R {
  const outer = openScope
  openScope = null
  try {
    return body()
  } finally {
    openScope = outer
  }
}

/** Calls `found` with every tensor in a result. */
function eachTensor(value: unknown, found: (item: Disposable) => void): void {
  if (value === null || typeof value !== 'object') return
  if (value instanceof Tensor || value instanceof Offsets) found(value)
  else if (Array.isArray(value)) for (let i = 0; i < value.length; i++) eachTensor(value[i], found)
  else if (Object.getPrototypeOf(value) === Object.prototype) {
    for (const item of Object.values(value)) eachTensor(item, found)
  }
}

/** A dense array in a device's memory, row-major. Its shape never changes. */
export class Tensor<T extends DType = DType> {
  readonly device: Device
  readonly handle: TensorHandle
  readonly dtype: T
  readonly shape: readonly number[]
  #derived: Tensor | null = null

  private constructor(device: Device, handle: TensorHandle, dtype: T, shape: readonly number[]) {
    this.device = device
    this.handle = handle
    this.dtype = dtype
    this.shape = shape
    openScope?.add(this)
  }

  /** Memory of that shape, with undefined contents. */
  static empty<T extends DType>(device: Device, dtype: T, shape: readonly number[]): Tensor<T> {
    return new Tensor(device, binding.tensor_create(device.handle, dtype, shape), dtype, shape)
  }

  /** A tensor of zeros. */
  static zeros<T extends DType>(device: Device, dtype: T, shape: readonly number[]): Tensor<T> {
    return Tensor.empty(device, dtype, shape).fill(0)
  }

  /** Copies `values`: they may change afterwards. */
  static from(device: Device, values: Float32Array, shape?: readonly number[]): Tensor<'float32'>
  static from(device: Device, values: Int32Array, shape?: readonly number[]): Tensor<'int32'>
  static from(
    device: Device,
    values: Float32Array | Int32Array,
    shape: readonly number[] = [values.length],
  ): Tensor<DType> {
    return Tensor.empty(device, values instanceof Float32Array ? 'float32' : 'int32', shape).write(values)
  }

  /** Number of elements. */
  get size(): number {
    return this.shape.reduce((product, size) => product * size, 1)
  }

  /** Overwrites all values, in order with the work around it. */
  write(values: Float32Array | Int32Array): this {
    binding.tensor_write(this.handle, values)
    return this.changed()
  }

  /** Sets every element. */
  fill(value: number): this {
    binding.tensor_fill(this.handle, value)
    return this.changed()
  }

  /** The values of `source`, rounded where it is float32 and this is bfloat16. */
  copyFrom(source: Tensor<T extends FloatType ? FloatType : T>): this {
    binding.tensor_copy(this.handle, source.handle)
    return this.changed()
  }

  /**
   * A tensor that `make` computes from these values, kept until they change or this is disposed: weights that stand
   * still are prepared once. One at a time; changes through a view are not seen.
   */
  derived<D extends Tensor>(make: () => D): D {
    this.#derived ??= unscoped(make)
    return this.#derived as D
  }

  /** Called by what changes the values otherwise than through this class: ops that work in place. */
  changed(): this {
    this.#derived?.dispose()
    this.#derived = null
    return this
  }

  /** The same memory from element `start` on, under another shape. */
  view(start: number, shape: readonly number[]): Tensor<T> {
    return new Tensor(this.device, binding.tensor_view(this.handle, start, shape), this.dtype, shape)
  }

  /** The values once all work so far is done. Rejects with the first error on the stream since the last read. */
  read(): Promise<TensorData<T>> {
    return binding.tensor_read(this.handle) as Promise<TensorData<T>>
  }

  /** Frees the memory, at once for new tensors; work that was submitted before still sees it. */
  dispose(): void {
    openScope?.delete(this)
    this.changed()
    binding.tensor_dispose(this.handle)
  }
}

/** Where the sequences of a packed batch start: `offsets[0] = 0 ≤ … ≤ offsets[S] = events`. Checked once, here. */
export class Offsets {
  readonly device: Device
  readonly handle: OffsetsHandle
  readonly sequences: number
  readonly events: number

  /** @throws {RangeError} when offsets do not start at 0 or fall */
  constructor(device: Device, offsets: Int32Array) {
    this.device = device
    this.handle = binding.offsets_create(device.handle, offsets)
    this.sequences = offsets.length - 1
    this.events = offsets[this.sequences]
    openScope?.add(this)
  }

  /** Frees the memory, at once for new tensors; work that was submitted before still sees it. */
  dispose(): void {
    openScope?.delete(this)
    binding.offsets_dispose(this.handle)
  }
}
