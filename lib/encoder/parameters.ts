// The trained tensors of a model, by name, with their seeded initial values.

import { randomUniform } from '../ops/random_uniform.js'
import type { Device } from '../runtime/device.js'
import { Parameter } from '../runtime/tape.js'
import { Tensor, unscoped } from '../runtime/tensor.js'
import { SeqriskError } from '../util/errors.js'

/** Initial values: constant, or uniform around 0 with a standard deviation. */
export type Initial = { readonly constant: number } | { readonly deviation: number }

/** An array of a model as it stands in a file. */
export interface NamedArray {
  readonly shape: readonly number[]
  readonly values: Float32Array
}

export type NamedArrays = ReadonlyMap<string, NamedArray>

/**
 * Makes the parameters of a model: from stored values where there are some, else from the seed. A parameter's initial
 * values depend on the seed and on its own name, not on what else the model has.
 */
export class ParameterStore {
  readonly device: Device
  readonly #seed: number
  readonly #stored: NamedArrays | null
  readonly #parameters = new Map<string, Parameter>()

  constructor(device: Device, source: { readonly seed: number } | { readonly stored: NamedArrays }) {
    this.device = device
    this.#seed = 'seed' in source ? source.seed : 0
    this.#stored = 'stored' in source ? source.stored : null
  }

  /** @throws {SeqriskError} code MODEL_INVALID when the stored values lack this parameter or have another shape */
  create(name: string, shape: readonly number[], initial: Initial, options: { decay?: boolean } = {}): Parameter {
    if (this.#parameters.has(name)) throw new RangeError(`[parameters] expected new names but received '${name}' twice`)
    const value = unscoped(() =>
      this.#stored
        ? Tensor.from(this.device, stored(this.#stored, name, shape), shape)
        : drawInitial(Tensor.empty(this.device, 'float32', shape), name, initial, this.#seed),
    )
    try {
      const parameter = new Parameter(name, value, options)
      this.#parameters.set(name, parameter)
      return parameter
    } catch (error) {
      value.dispose()
      throw error
    }
  }

  get all(): Parameter[] {
    return [...this.#parameters.values()]
  }

  /** How many numbers are trained. */
  get size(): number {
    return this.all.reduce((sum, { value }) => sum + value.size, 0)
  }

  dispose(): void {
    for (const parameter of this.#parameters.values()) parameter.dispose()
    this.#parameters.clear()
  }
}

/** Fills a tensor with initial values that depend on its name and the seed alone. */
export function drawInitial(value: Tensor<'float32'>, name: string, initial: Initial, seed: number): Tensor<'float32'> {
  if ('constant' in initial) return value.fill(initial.constant)
  // A uniform distribution over (−b, b) has deviation b/√3, and the same bits everywhere: it needs no logarithm.
  const bound = initial.deviation * Math.sqrt(3)
  return randomUniform(value, { bound, seed, stream: nameHash(name) })
}

function stored(arrays: NamedArrays, name: string, shape: readonly number[]): Float32Array {
  const found = arrays.get(name)
  const wanted = `weights '${name}' of shape (${shape.join(', ')})`
  if (found && found.shape.length === shape.length && found.shape.every((n, i) => n === shape[i])) {
    expectFinite('model', name, found.values)
    return found.values
  }
  const received = found ? `shape (${found.shape.join(', ')})` : 'no such tensor'
  const advice = 'the file belongs to another model, or is damaged'
  throw new SeqriskError('MODEL_INVALID', `[model] expected ${wanted} but received ${received}; ${advice}`)
}

/** @throws {SeqriskError} code MODEL_INVALID for weights that are NaN or infinite */
export function expectFinite(where: string, name: string, values: Float32Array): void {
  for (let i = 0; i < values.length; i++) {
    if (Number.isFinite(values[i])) continue
    const advice = 'the file is damaged, or its training diverged'
    const text = `[${where}] expected finite weights in '${name}' but received ${values[i]} at place ${i}; ${advice}`
    throw new SeqriskError('MODEL_INVALID', text)
  }
}

/** FNV-1a of a name: the stream number of its initial values. */
function nameHash(name: string): number {
  let hash = 0x811c9dc5
  for (const byte of Buffer.from(name)) hash = Math.imul(hash ^ byte, 0x01000193)
  return hash >>> 0
}
