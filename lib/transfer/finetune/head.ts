// An encoder with a head on its vectors: z = W·dropout(scale ⊙ bend(v) + shift) + b.
//
// `bend` is a fixed curve for each heavy-tailed column, where a head was fitted to vectors that have some; gradients go through.
// `scale` and `shift` standardise the vectors that the training rows had before anything was learnt, and stay as they
// are: a head of one learning rate then suits encoders of any scale.

import type { Encoder } from '../../encoder/encoder.js'
import { Linear, type Pass } from '../../encoder/layers.js'
import { expectFinite, type NamedArrays, ParameterStore } from '../../encoder/parameters.js'
import type { StoredTensor } from '../../export/safetensors.js'
import { dropout } from '../../ops/dropout.js'
import { dwconv } from '../../ops/gated_dwconv.js'
import { type Curves, piecewiseLinear } from '../../ops/piecewise_linear.js'
import type { Parameter } from '../../runtime/tape.js'
import { Offsets, scope, Tensor, unscoped } from '../../runtime/tensor.js'
import { SeqriskError } from '../../util/errors.js'
import { inTurns, Pace, type Steps } from '../../util/pace.js'
import { type BendValues, bendSteps, storedBends } from './bends.js'

type Float = Tensor<'float32'>

/** Columns of the vectors that hardly vary are not blown up beyond this many mean deviations. */
const LEAST_DEVIATION = 0.1

const ROWS_PER_STEP = 64
/** Values that are bent in one go. */
const VALUES_PER_BEND = 2 ** 15

export class Head {
  readonly #store: ParameterStore
  readonly #linear: Linear
  /** (1, width) and (width) */
  readonly #scale: Float
  readonly #shift: Float
  #bends: Curves | null = null

  /** Weights of 0, or what was stored. */
  constructor(encoder: Encoder, outputs: number, stored?: NamedArrays) {
    const { device, width } = encoder
    const bends = stored ? storedBends(stored, width) : null
    this.#store = new ParameterStore(device, stored ? { stored } : { seed: 0 })
    const made: { dispose(): void }[] = [this.#store]
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
        const tensor = unscoped(() => Tensor.from(device, found?.values ?? new Float32Array(width).fill(value), shape))
        made.push(tensor)
        return tensor
      }
      this.#scale = constant('head.scale', 1)
      this.#shift = constant('head.shift', 0)
      this.bends = bends
    } catch (error) {
      for (const item of made) item.dispose()
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

  /** Curves that the columns of vectors go through before anything else; null: none. */
  set bends(values: BendValues | null) {
    for (const tensor of Object.values(this.#bends ?? {})) tensor.dispose()
    const { device } = this.#shift
    const tensor = (own: Float32Array) => {
      const rows = own.length / this.width
      return unscoped(() => Tensor.from(device, own, [rows, this.width]))
    }
    this.#bends = values && {
      knots: tensor(values.knots),
      slopes: tensor(values.slopes),
      offset: unscoped(() => Tensor.from(device, values.offset)),
    }
  }

  /** Learns curves for heavy-tailed columns of vectors (rows, width). @returns the vectors as they go on from there */
  async bend(vectors: Float32Array, signal?: AbortSignal): Promise<Float32Array> {
    const { width } = this
    this.bends = await inTurns(bendSteps(vectors, width), signal)
    const bends = this.#bends
    if (!bends) return vectors
    const bent = new Float32Array(vectors.length)
    const pace = new Pace(signal)
    const step = Math.max(1, Math.floor(VALUES_PER_BEND / width)) * width
    for (let at = 0; at < vectors.length; at += step) {
      const part = vectors.subarray(at, at + step)
      const values = await scope(() => {
        const x = Tensor.from(this.#shift.device, part, [part.length / width, width])
        return piecewiseLinear(x, bends).read()
      })
      bent.set(values, at)
      await pace.turn()
    }
    return bent
  }

  /** Takes mean and deviation of each column from bent vectors (rows, width), and what the outputs are at first. */
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
    const bent = this.#bends ? piecewiseLinear(vectors, this.#bends) : vectors
    const x = dwconv(bent, this.#scale, this.#shift, all)
    if (!pass.dropout) return this.#linear.apply(x)
    const { rate, seed, nextElement } = pass.dropout
    return this.#linear.apply(dropout(x, { rate, seed, offset: nextElement }))
  }

  /** Takes a linear map of the bent vectors: (outputs, width) and (outputs). */
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
    const bends = Object.entries(this.#bends ?? {}).map(([part, value]): [string, Float] => [`head.${part}`, value])
    return [...trained, ['head.scale', this.#scale], ['head.shift', this.#shift], ...bends]
  }

  /** What the constructor takes as `stored`. */
  async read(): Promise<Map<string, StoredTensor>> {
    const tensors = new Map<string, StoredTensor>()
    for (const [name, value] of this.#tensors) tensors.set(name, { shape: value.shape, values: await value.read() })
    return tensors
  }

  /** Takes over values by name and size; curves have to be there. */
  write(values: (name: string, size: number) => Float32Array): void {
    for (const [name, value] of this.#tensors) value.write(values(name, value.size))
  }

  dispose(): void {
    this.#store.dispose()
    this.#scale.dispose()
    this.#shift.dispose()
    this.bends = null
  }
}
