// The optimiser: its state per parameter, one native call per step, saving and loading.

import { adamwUpdate } from '../ops/adamw.js'
import { expectOptions, expectRange, sentence } from '../util/errors.js'
import { given } from '../util/options.js'
import type { Device } from './device.js'
import type { Parameter } from './tape.js'
import { Tensor, unscoped } from './tensor.js'

/** What the optimiser can be told. */
export interface AdamWOptions {
  readonly beta1?: number | undefined
  readonly beta2?: number | undefined
  readonly eps?: number | undefined
  /** Applies to parameters with `decay`. */
  readonly weightDecay?: number | undefined
  /** Largest norm of all gradients together; more is scaled down. `Infinity`: never. */
  readonly maxNorm?: number | undefined
}

/** Tensors on the host by name, as checkpoints hold them. */
export type HostTensors = ReadonlyMap<string, { readonly shape: readonly number[]; readonly values: Float32Array }>

/** The step number is stored as two float32, exact up to 2⁴⁸. */
const STEP_BASE = 2 ** 24

/**
 * AdamW with global-norm clipping (Loshchilov & Hutter 2019). The defaults are those of the paper, and norm 1.
 * Saved and loaded again it continues to the same bits.
 */
export class AdamW {
  readonly #options: Required<AdamWOptions>
  readonly #entries: readonly {
    readonly name: string
    readonly value: Tensor<'float32'>
    readonly gradient: Tensor<'float32'>
    readonly m: Tensor<'float32'>
    readonly v: Tensor<'float32'>
    readonly decay: boolean
  }[]
  readonly #norm: Tensor<'float32'>
  #steps = 0

  /** @throws {RangeError} without parameters, or when two have one name */
  constructor(parameters: readonly Parameter[], options: AdamWOptions = {}) {
    expectOptions('AdamW', options, ['beta1', 'beta2', 'eps', 'weightDecay', 'maxNorm'])
    this.#options = { beta1: 0.9, beta2: 0.999, eps: 1e-8, weightDecay: 0.01, maxNorm: 1, ...given(options) }
    expectRange(parameters.length > 0, 'AdamW', 'at least one parameter', 'none')
    const names = new Set<string>()
    for (const { name } of parameters) {
      expectRange(!names.has(name), 'AdamW', 'parameters of different names', `'${name}' twice`)
      names.add(name)
    }
    // Kept outside of scopes, and freed by hand when there is not enough memory for all.
    const made: Tensor<'float32'>[] = []
    const zeros = (device: Device, shape: readonly number[]) => {
      const tensor = unscoped(() => Tensor.zeros(device, 'float32', shape))
      made.push(tensor)
      return tensor
    }
    try {
      this.#entries = parameters.map(({ name, value, gradient, decay }) => {
        const [m, v] = [zeros(value.device, value.shape), zeros(value.device, value.shape)]
        return { name, value, gradient, m, v, decay }
      })
      this.#norm = zeros(parameters[0].value.device, [1])
    } catch (error) {
      for (const tensor of made) tensor.dispose()
      throw error
    }
  }

  /** Steps taken so far. */
  get steps(): number {
    return this.#steps
  }

  /**
   * Updates every parameter from its gradient, and sets gradients to zero unless told otherwise.
   * @returns the norm of all gradients before clipping, (1): one tensor that every step overwrites. When it is not
   *          finite the parameters stand as they were, and so do the gradients
   */
  step(lr: number, options: { zeroGradients?: boolean | undefined } = {}): Tensor<'float32'> {
    const { zeroGradients = true } = options
    adamwUpdate(this.#entries, this.#norm, { ...this.#options, lr, step: this.#steps + 1, zeroGradients })
    this.#steps++
    return this.#norm
  }

  /**
   * `adamw.step`, and `adamw.m.NAME` and `adamw.v.NAME` for every parameter.
   * @throws {RangeError} if a step is taken before they are read: the state would be of two steps
   */
  async state(): Promise<HostTensors> {
    const steps = this.#steps
    const state = new Map<string, { shape: readonly number[]; values: Float32Array }>()
    state.set('adamw.step', { shape: [2], values: Float32Array.of(steps % STEP_BASE, Math.floor(steps / STEP_BASE)) })
    // One after the other: memory for all at once would hold the event loop.
    for (const { name, m, v } of this.#entries) {
      state.set(`adamw.m.${name}`, { shape: m.shape, values: await m.read() })
      state.set(`adamw.v.${name}`, { shape: v.shape, values: await v.read() })
    }
    expectRange(this.#steps === steps, 'AdamW.state', `to stay at step ${steps}`, this.#steps, 'await it before a step')
    return state
  }

  /**
   * Takes over what `state` returned; other names in the map are left alone. Changes nothing when it throws.
   * @throws {RangeError} when a tensor is missing or has another shape
   */
  load(state: HostTensors): void {
    const find = (name: string, shape: readonly number[]): Float32Array => {
      const found = state.get(name)
      const fits = found && found.shape.join() === shape.join()
      if (!fits) {
        const received = found ? `shape (${found.shape.join(', ')})` : 'none'
        const advice = 'the checkpoint belongs to another model'
        throw new RangeError(sentence('AdamW.load', `'${name}' of shape (${shape.join(', ')})`, received, advice))
      }
      return found.values
    }
    const [low, high] = find('adamw.step', [2])
    const steps = high * STEP_BASE + low
    expectRange(Number.isSafeInteger(steps) && steps >= 0, 'AdamW.load', "'adamw.step' to be a whole number", steps)
    const found = this.#entries.map(({ name, m, v }) => ({
      m: find(`adamw.m.${name}`, m.shape),
      v: find(`adamw.v.${name}`, v.shape),
    }))
    for (const [i, { m, v }] of this.#entries.entries()) {
      m.write(found[i].m)
      v.write(found[i].v)
    }
    this.#steps = steps
  }

  /** Frees its own state; parameters are their owner's. */
  dispose(): void {
    for (const { m, v } of this.#entries) {
      m.dispose()
      v.dispose()
    }
    this.#norm.dispose()
  }
}
