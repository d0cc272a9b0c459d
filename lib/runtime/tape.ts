// The tape: each op records how its gradients follow from the gradient of its output; backward plays that in reverse.
//
// Gradients of activations are stored as those are, unless `storeGradient` says otherwise, and are assigned by the first op
// that contributes and added to by the others; gradients of parameters always add up (see `Parameter`).

import { type FloatType, scope, Tensor, unscoped } from './tensor.js'

type Float = Tensor<'float32'>

/** A trained tensor with its gradient; the gradient adds up over steps until `zeroGradient`. */
export class Parameter {
  readonly name: string
  readonly value: Float
  readonly gradient: Float
  /** Whether weight decay applies: to matrices, not to biases, gains and norms. */
  readonly decay: boolean

  constructor(name: string, value: Float, options: { decay?: boolean | undefined; gradient?: Float | undefined } = {}) {
    this.name = name
    this.value = value
    this.gradient = options.gradient ?? unscoped(() => Tensor.zeros(value.device, 'float32', value.shape))
    this.decay = options.decay ?? value.shape.length > 1
    parameters.set(value, this)
  }

  /** Sets the gradient to 0. */
  zeroGradient(): void {
    this.gradient.fill(0)
  }

  /** Frees value and gradient. */
  dispose(): void {
    this.value.dispose()
    this.gradient.dispose()
  }
}

const parameters = new WeakMap<Tensor, Parameter>()

/** Where a backward kernel puts the gradient of one input. `accumulate`: add to what stands there. */
export interface GradientSlot {
  readonly tensor: Tensor<FloatType>
  readonly accumulate: boolean
}

interface Entry {
  readonly out: Tensor<FloatType>
  readonly backward: (dout: Tensor<FloatType>) => void
}

let openTape: Tape | null = null

/** The tape that records right now, or null (inference). */
export function currentTape(): Tape | null {
  return openTape
}

/** Records ops on the way forward, and walks them backwards. */
export class Tape {
  readonly #entries: Entry[] = []
  readonly #gradients = new Map<Tensor, Tensor<FloatType>>()
  readonly #tracked = new WeakSet<Tensor>()
  readonly #stored = new WeakMap<Tensor, FloatType>()

  /** Runs `body` (synchronously) and records its ops. */
  record<R>(body: () => R): R {
    const outer = openTape
    openTape = this
    try {
      return body()
    } finally {
      openTape = outer
    }
  }

  /** Whether a gradient for `tensor` is wanted: it is a parameter, or was computed from one. */
  wants(tensor: Tensor): boolean {
    return parameters.has(tensor) || this.#tracked.has(tensor)
  }

  /** Called by ops: `out` was computed from `inputs`; `backward` is called once with its gradient, if it has one. */
  add(
    out: Tensor<FloatType>,
    inputs: readonly (Tensor | null | undefined)[],
    backward: (dout: Tensor<FloatType>) => void,
  ): void {
    if (!inputs.some(input => input && this.wants(input))) return
    this.#tracked.add(out)
    this.#entries.push({ out, backward })
  }

  /** Stores the gradient of an activation otherwise than the activation itself, where all ops that meet it can do so. */
  storeGradient(tensor: Tensor<FloatType>, stored: FloatType): void {
    if (stored !== tensor.dtype) this.#stored.set(tensor, stored)
  }

  /** Where the gradient of an activation goes, or null if nobody wants it. Called by ops inside their backward. */
  slot(input: Tensor<FloatType>): GradientSlot | null {
    const known = parameters.get(input)?.gradient ?? this.#gradients.get(input)
    if (known) return { tensor: known, accumulate: true }
    if (!this.#tracked.has(input)) return null
    const fresh = Tensor.empty(input.device, this.#storedOf(input), input.shape)
    this.#gradients.set(input, fresh)
    return { tensor: fresh, accumulate: false }
  }

  /**
   * For ops through which a gradient passes unchanged (residual connections): hands `dout` itself on to `input`.
   * Returns false when `input` already has a gradient, to which the op must then add `dout`, or is stored otherwise.
   */
  passOn(input: Tensor<FloatType>, dout: Tensor<FloatType>): boolean {
    if (parameters.has(input) || this.#gradients.has(input)) return false
    if (this.#tracked.has(input) && this.#storedOf(input) !== dout.dtype) return false
    if (this.#tracked.has(input)) this.#gradients.set(input, dout)
    return true
  }

  #storedOf(tensor: Tensor<FloatType>): FloatType {
    return this.#stored.get(tensor) ?? tensor.dtype
  }

  /**
   * Adds the gradients of Σ ⟨dout, loss⟩ to the parameters' gradients; `dout` is a tensor of the loss's shape or one
   * number for all its elements (default 1). Activations' gradients are freed on the way. A tape plays once.
   */
  backward(losses: readonly { loss: Tensor<FloatType>; dout?: Tensor<FloatType> | number | undefined }[]): void {
    scope(() => {
      for (const { loss, dout = 1 } of losses) {
        if (this.#gradients.has(loss)) {
          throw new RangeError('[Tape.backward] expected every loss once but received one twice; sum its weights')
        }
        const seed = Tensor.empty(loss.device, this.#storedOf(loss), loss.shape)
        this.#gradients.set(loss, typeof dout === 'number' ? seed.fill(dout) : seed.copyFrom(dout))
      }
      for (let i = this.#entries.length - 1; i >= 0; i--) {
        const { out, backward } = this.#entries[i]
        const dout = this.#gradients.get(out)
        if (!dout) continue
        this.#gradients.delete(out)
        scope(() => {
          backward(dout)
          // Gradients of inputs outlive this entry: they belong to the scope around.
          return [...this.#gradients.values()]
        })
        // Unless it was passed on to an input, nobody needs it any more.
        if (![...this.#gradients.values()].includes(dout)) dout.dispose()
      }
      this.#entries.length = 0
      this.#gradients.clear()
    })
  }
}
