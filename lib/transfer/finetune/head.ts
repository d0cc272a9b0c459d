// An encoder with a head on its vectors: z = W·dropout(scale ⊙ v + shift) + b.
//
// `scale` and `shift` standardise the vectors that the training rows had before anything was learnt, and stay as they
// are: a head of one learning rate then suits encoders of any scale.

import type { Encoder } from '../../encoder/encoder.js'
import { Linear, type Pass } from '../../encoder/layers.js'
import { expectFinite, type NamedArrays, ParameterStore } from '../../encoder/parameters.js'
import type { StoredTensor } from '../../export/safetensors.js'
import { dropout } from '../../ops/dropout.js'
import { dwconv } from '../../ops/gated_dwconv.js'
import type { Parameter } from '../../runtime/tape.js'
import { Offsets, Tensor, unscoped } from '../../runtime/tensor.js'
import { SeqriskError } from '../../util/errors.js'
import type { Steps } from '../../util/pace.js'

type Float = Tensor<'float32'>

/** Columns of the vectors that hardly vary are not blown up beyond this many mean deviations. */
const LEAST_DEVIATION = 0.1

const ROWS_PER_STEP = 64

export class Head {
  readonly #store: ParameterStore
  readonly #linear: Linear
  /** (1, width) and (width) */
  readonly #scale: Float
  readonly #shift: Float

  /** Weights of 0, or what was stored. */
  constructor(encoder: Encoder, outputs: number, stored?: NamedArrays) {
    const { device, width } = encoder
    this.#store = new ParameterStore(device, stored ? { stored } : { seed: 0 })
    try {
      this.#linear = new Linear(this.#store, 'head', width, outputs)
      if (!stored) this.#linear.weight.value.fill(0)
      const constant = (name: string, value: number): Float => {
        const found = stored?.get(name)
        if (stored && found?.values.length !== width) {
          const received = found ? `${found.values.length} numbers` : 'none'
          const text = `[model] expected '${name}' of ${width} numbers but received ${received}; save the model again`
          throw new SeqriskError('MODEL_INVALID', text)
        }
        if (found) expectFinite('model', name, found.values)
        const shape = name === 'head.scale' ? [1, width] : [width]
        return unscoped(() => Tensor.from(device, found?.values ?? new Float32Array(width).fill(value), shape))
      }
      this.#scale = constant('head.scale', 1)
      this.#shift = constant('head.shift', 0)
    } catch (error) {
      this.#store.dispose()
      throw error
    }
  }

  get width(): number {
    return this.#shift.size
  }

  get outputs(): number {
    return this.#linear.bias.value.size
  }

  get parameters(): Parameter[] {
    return this.#store.all
  }

  /** Takes mean and deviation of each column from vectors (rows, width), and what the outputs are at first. */
  *standardiseSteps(vectors: Float32Array, bias: Float32Array): Steps<void> {
    const { width } = this
    const rows = vectors.length / width
    const mean = new Float64Array(width)
    const square = new Float64Array(width)
    for (let row = 0; row < rows; row++) {
      for (let i = 0; i < width; i++) mean[i] += vectors[row * width + i] / rows
      if (row % ROWS_PER_STEP === 0) yield
    }
    for (let row = 0; row < rows; row++) {
      for (let i = 0; i < width; i++) square[i] += (vectors[row * width + i] - mean[i]) ** 2 / rows
      if (row % ROWS_PER_STEP === 0) yield
    }
    const deviations = square.map(Math.sqrt)
    const least = LEAST_DEVIATION * (deviations.reduce((sum, value) => sum + value, 0) / width) || 1
    const scale = Float32Array.from(deviations, value => 1 / Math.max(value, least))
    this.#scale.write(scale)
    this.#shift.write(scale.map((value, i) => -value * mean[i]))
    this.#linear.bias.value.write(bias)
  }

  /** (sequences, width) to (sequences, outputs) */
  apply(vectors: Float, pass: Pass = {}): Float {
    // A convolution over one event is an affine map of each column.
    const all = new Offsets(vectors.device, Int32Array.of(0, vectors.shape[0]))
    const x = dwconv(vectors, this.#scale, this.#shift, all)
    if (!pass.dropout) return this.#linear.apply(x)
    const { rate, seed, nextElement } = pass.dropout
    return this.#linear.apply(dropout(x, { rate, seed, offset: nextElement }))
  }

  /** Takes a linear map of the vectors as they come: (outputs, width) and (outputs). */
  async fit(weight: Float64Array, bias: Float64Array): Promise<void> {
    const [scale, shift] = await Promise.all([this.#scale.read(), this.#shift.read()])
    const { width } = this
    const own = Float32Array.from(weight, (value, i) => value / scale[i % width])
    this.#linear.weight.value.write(own)
    const added = bias.map((value, k) => {
      let sum = value
      for (let i = 0; i < width; i++) sum -= own[k * width + i] * shift[i]
      return sum
    })
    this.#linear.bias.value.write(Float32Array.from(added))
  }

  get #tensors(): [string, Float][] {
    const trained = this.parameters.map(({ name, value }): [string, Float] => [name, value])
    return [...trained, ['head.scale', this.#scale], ['head.shift', this.#shift]]
  }

  /** What the constructor takes as `stored`. */
  async read(): Promise<Map<string, StoredTensor>> {
    const tensors = new Map<string, StoredTensor>()
    for (const [name, value] of this.#tensors) tensors.set(name, { shape: value.shape, values: await value.read() })
    return tensors
  }

  /** Takes over values by name and size. */
  write(values: (name: string, size: number) => Float32Array): void {
    for (const [name, value] of this.#tensors) value.write(values(name, value.size))
  }

  dispose(): void {
    this.#store.dispose()
    this.#scale.dispose()
    this.#shift.dispose()
  }
}
