// The layers that an encoder is made of. A layer owns its parameters and is called with tensors.

import { add } from '../ops/add.js'
import { blockAttention } from '../ops/block_attention.js'
import { dropout } from '../ops/dropout.js'
import { fixedAttentionRead, fixedAttentionWrite } from '../ops/fixed_attention.js'
import { fullAttention } from '../ops/full_attention.js'
import { dwconv, gatedDwconv } from '../ops/gated_dwconv.js'
import { gatedSeparableConv } from '../ops/gated_separable_conv.js'
import { glu } from '../ops/glu.js'
import { gru } from '../ops/gru.js'
import { LAYER_NORM_EPS, layerNorm } from '../ops/layer_norm.js'
import { linear, packLinear } from '../ops/linear.js'
import { unfold } from '../ops/unfold.js'
import { currentTape, type Parameter } from '../runtime/tape.js'
import type { FloatType, Offsets, Tensor } from '../runtime/tensor.js'
import type { EncoderConfig } from './config.js'
import type { Initial, ParameterStore } from './parameters.js'

/** The residual stream, and what leads in and out of the encoder. */
type Float = Tensor<'float32'>
/** Inside a sub-layer, between its norm and its last map: stored as `device.activations`. */
type Inner = Tensor<FloatType>

/** What a forward pass knows besides its input. */
export interface Pass {
  /** Set while training: dropout is on, with masks from this seed. `nextElement` counts the elements masked so far. */
  readonly dropout?: { readonly rate: number; readonly seed: number; nextElement: number }
}

/** Marks a tensor of the residual stream: its gradient is stored as what sub-layers have inside. */
export function onStream(x: Float): Float {
  currentTape()?.storeGradient(x, x.device.activations)
  return x
}

type Dropout = NonNullable<Pass['dropout']>

function drops(pass: Pass): pass is { dropout: Dropout } {
  return pass.dropout !== undefined && pass.dropout.rate > 0
}

/** residual + dropout(y). */
function addResidual(y: Inner, residual: Float, pass: Pass): Float {
  if (!drops(pass)) return onStream(add(residual, y))
  const { rate, seed, nextElement } = pass.dropout
  pass.dropout.nextElement += y.size
  return onStream(add(residual, dropout(y, { rate, seed, offset: nextElement })))
}

/** y = x·Wᵀ + b. Source: the deviation 1/√in keeps the variance (LeCun et al. 1998). */
export class Linear {
  readonly weight: Parameter
  readonly bias: Parameter

  constructor(store: ParameterStore, name: string, inWidth: number, outWidth: number, gain = 1) {
    const deviation = gain / Math.sqrt(inWidth)
    this.weight = store.create(`${name}.weight`, [outWidth, inWidth], { deviation })
    this.bias = store.create(`${name}.bias`, [outWidth], { constant: 0 })
  }

  apply<T extends FloatType>(x: Tensor<T>, options: { activation?: 'relu' | 'gelu' } = {}): Tensor<T> {
    const { weight, bias, packed } = this.inputs()
    return linear(x, weight, bias, { ...options, packed })
  }

  /** residual + dropout(x·Wᵀ + b), in one kernel when nothing is dropped. */
  applyResidual(x: Inner, residual: Float, pass: Pass): Float {
    if (drops(pass)) return addResidual(this.apply(x), residual, pass)
    const { weight, bias, packed } = this.inputs()
    return onStream(linear(x, weight, bias, { residual, packed }))
  }

  /** What kernels take. `packed` is for inference on the CPU: a short sequence takes less time than packing all weights. */
  inputs(): { weight: Float; bias: Float; packed: Float | null } {
    const weight = this.weight.value
    const isPacked = !currentTape() && weight.device.kind === 'cpu'
    return { weight, bias: this.bias.value, packed: isPacked ? weight.derived(() => packLinear(weight)) : null }
  }
}

export class LayerNorm {
  readonly weight: Parameter
  readonly bias: Parameter

  constructor(store: ParameterStore, name: string, width: number) {
    this.weight = store.create(`${name}.weight`, [width], { constant: 1 })
    this.bias = store.create(`${name}.bias`, [width], { constant: 0 })
  }

  apply(x: Float): Float {
    return layerNorm(x, this.weight.value, this.bias.value)
  }

  /** For what follows inside a sub-layer. */
  enter(x: Float): Inner {
    return layerNorm(x, this.weight.value, this.bias.value, LAYER_NORM_EPS, x.device.activations)
  }
}

/** A sub-layer of a block: x ← x + f(norm(x)). */
export interface SubLayer {
  apply(x: Float, offsets: Offsets, pass: Pass): Float
}

/** Gated depthwise separable convolution. */
export class SeparableConvolution implements SubLayer {
  readonly #config: EncoderConfig
  readonly #norm: LayerNorm
  readonly #taps: Parameter[] = []
  readonly #out: Linear

  constructor(store: ParameterStore, name: string, config: EncoderConfig) {
    const { width, kernel } = config
    this.#config = config
    this.#norm = new LayerNorm(store, `${name}.norm`, width)
    const tap = (part: string, shape: number[], initial: Initial) =>
      this.#taps.push(store.create(`${name}.${part}`, shape, initial, { decay: false }))
    tap('weight', [kernel, width], { deviation: 1 / Math.sqrt(kernel) })
    tap('bias', [width], { constant: 0 })
    tap('gate_weight', [kernel, width], { deviation: 1 / Math.sqrt(kernel) })
    tap('gate_bias', [width], { constant: 0 })
    this.#out = new Linear(store, `${name}.out`, width, width, residualGain(config))
  }

  apply(x: Float, offsets: Offsets, pass: Pass): Float {
    const { dilation, causal } = this.#config
    const [weight, bias, gateWeight, gateBias] = this.#taps.map(tap => tap.value)
    const h = this.#norm.enter(x)
    if (drops(pass)) {
      const g = gatedDwconv(h, weight, bias, gateWeight, gateBias, offsets, { dilation, causal })
      return this.#out.applyResidual(g, x, pass)
    }
    const { weight: pointWeight, bias: pointBias, packed } = this.#out.inputs()
    const filters = { weight, bias, gateWeight, gateBias, pointWeight, pointBias, packed }
    return onStream(gatedSeparableConv(h, filters, x, offsets, { dilation, causal }))
  }
}

/** Depthwise separable convolution whose gate comes after the linear map: x + glu(W·conv(norm(x)) + b). */
export class PointwiseGatedConvolution implements SubLayer {
  readonly #config: EncoderConfig
  readonly #norm: LayerNorm
  readonly #weight: Parameter
  readonly #bias: Parameter
  readonly #out: Linear

  constructor(store: ParameterStore, name: string, config: EncoderConfig) {
    const { width, kernel } = config
    this.#config = config
    this.#norm = new LayerNorm(store, `${name}.norm`, width)
    const deviation = 1 / Math.sqrt(kernel)
    this.#weight = store.create(`${name}.weight`, [kernel, width], { deviation }, { decay: false })
    this.#bias = store.create(`${name}.bias`, [width], { constant: 0 }, { decay: false })
    this.#out = new Linear(store, `${name}.out`, width, 2 * width, residualGain(config))
  }

  apply(x: Float, offsets: Offsets, pass: Pass): Float {
    const { dilation, causal } = this.#config
    const h = dwconv(this.#norm.enter(x), this.#weight.value, this.#bias.value, offsets, { dilation, causal })
    return addResidual(glu(this.#out.apply(h)), x, pass)
  }
}

/** Dense gated convolution: the baseline that the separable one starts from. */
export class DenseConvolution implements SubLayer {
  readonly #config: EncoderConfig
  readonly #norm: LayerNorm
  readonly #dense: Linear

  constructor(store: ParameterStore, name: string, config: EncoderConfig) {
    const { width, kernel } = config
    this.#config = config
    this.#norm = new LayerNorm(store, `${name}.norm`, width)
    this.#dense = new Linear(store, `${name}.dense`, kernel * width, 2 * width, residualGain(config))
  }

  apply(x: Float, offsets: Offsets, pass: Pass): Float {
    const { kernel, dilation, causal } = this.#config
    const windows = unfold(this.#norm.enter(x), offsets, { width: kernel, dilation, causal })
    return addResidual(glu(this.#dense.apply(windows)), x, pass)
  }
}

/** x + W·gru(norm(x)) + b: reads a sequence from its first event to its last. */
export class GatedRecurrence implements SubLayer {
  readonly #norm: LayerNorm
  readonly #input: Linear
  readonly #hidden: Linear
  readonly #out: Linear

  constructor(store: ParameterStore, name: string, config: EncoderConfig) {
    const { width } = config
    this.#norm = new LayerNorm(store, `${name}.norm`, width)
    // Two sums meet in a gate: each has half of its variance.
    this.#input = new Linear(store, `${name}.input`, width, 3 * width, Math.SQRT1_2)
    this.#hidden = new Linear(store, `${name}.hidden`, width, 3 * width, Math.SQRT1_2)
    this.#out = new Linear(store, `${name}.out`, width, width, residualGain(config))
  }

  apply(x: Float, offsets: Offsets, pass: Pass): Float {
    const { weight, bias } = this.#hidden
    const h = gru(this.#input.apply(this.#norm.apply(x)), weight.value, bias.value, offsets)
    return this.#out.applyResidual(h, x, pass)
  }
}

/** Self-attention inside blocks, or over the whole sequence. */
export class SelfAttention implements SubLayer {
  readonly #config: EncoderConfig
  readonly #shift: boolean
  readonly #norm: LayerNorm
  readonly #qkv: Linear
  readonly #out: Linear

  constructor(store: ParameterStore, name: string, config: EncoderConfig, block: number) {
    const { width } = config
    this.#config = config
    this.#shift = config.shift && block % 2 === 1
    this.#norm = new LayerNorm(store, `${name}.norm`, width)
    this.#qkv = new Linear(store, `${name}.qkv`, width, 3 * width)
    this.#out = new Linear(store, `${name}.out`, width, width, residualGain(config))
  }

  apply(x: Float, offsets: Offsets, pass: Pass): Float {
    const { heads, attention, attentionSize } = this.#config
    const qkv = this.#qkv.apply(this.#norm.enter(x))
    const y =
      attention === 'full'
        ? fullAttention(qkv, offsets, { heads })
        : blockAttention(qkv, offsets, { heads, block: attentionSize, shift: this.#shift })
    return this.#out.applyResidual(y, x, pass)
  }
}

/** Attention through M memory slots: events are written to the slots, then every event reads them. */
export class FixedAttention implements SubLayer {
  readonly #heads: number
  readonly #slots: number
  readonly #norm: LayerNorm
  readonly #queries: Parameter
  readonly #kv: Linear
  readonly #query: Linear
  readonly #memoryKv: Linear
  readonly #out: Linear

  constructor(store: ParameterStore, name: string, config: EncoderConfig) {
    const { width, heads, attentionSize } = config
    this.#heads = heads
    this.#slots = attentionSize
    this.#norm = new LayerNorm(store, `${name}.norm`, width)
    this.#queries = store.create(`${name}.queries`, [attentionSize, width], { deviation: 1 }, { decay: false })
    this.#kv = new Linear(store, `${name}.kv`, width, 2 * width)
    this.#query = new Linear(store, `${name}.query`, width, width)
    this.#memoryKv = new Linear(store, `${name}.memory_kv`, width, 2 * width)
    this.#out = new Linear(store, `${name}.out`, width, width, residualGain(config))
  }

  apply(x: Float, offsets: Offsets, pass: Pass): Float {
    const heads = this.#heads
    const h = this.#norm.enter(x)
    const memory = fixedAttentionWrite(this.#queries.value, this.#kv.apply(h), offsets, { heads })
    const slots = { heads, slots: this.#slots }
    const y = fixedAttentionRead(this.#query.apply(h), this.#memoryKv.apply(memory), offsets, slots)
    return this.#out.applyResidual(y, x, pass)
  }
}

/** x + W₂·relu(W₁·norm(x)), as in a Transformer (Vaswani et al. 2017). */
export class FeedForward implements SubLayer {
  readonly #norm: LayerNorm
  readonly #inner: Linear
  readonly #out: Linear

  constructor(store: ParameterStore, name: string, config: EncoderConfig) {
    const { width, feedForward } = config
    this.#norm = new LayerNorm(store, `${name}.norm`, width)
    this.#inner = new Linear(store, `${name}.inner`, width, feedForward)
    this.#out = new Linear(store, `${name}.out`, feedForward, width, residualGain(config))
  }

  apply(x: Float, _offsets: Offsets, pass: Pass): Float {
    const h = this.#inner.apply(this.#norm.enter(x), { activation: 'relu' })
    return this.#out.applyResidual(h, x, pass)
  }
}

/** The sub-layers of one encoder block, in order. */
export function blockLayers(store: ParameterStore, index: number, config: EncoderConfig): SubLayer[] {
  const name = `blocks.${index}`
  const layers: SubLayer[] = []
  if (config.convolution === 'depthwise') {
    const Convolution = config.gate === 'pointwise' ? PointwiseGatedConvolution : SeparableConvolution
    layers.push(new Convolution(store, `${name}.convolution`, config))
  }
  if (config.convolution === 'dense') layers.push(new DenseConvolution(store, `${name}.convolution`, config))
  if (config.recurrence === 'gru') layers.push(new GatedRecurrence(store, `${name}.recurrence`, config))
  if (config.attention === 'fixed') layers.push(new FixedAttention(store, `${name}.attention`, config))
  else if (config.attention !== 'none') {
    layers.push(new SelfAttention(store, `${name}.attention`, config, index))
  }
  if (config.feedForward > 0) layers.push(new FeedForward(store, `${name}.feed_forward`, config))
  return layers
}

/** Maps onto the residual stream start smaller the more of them there are (Radford et al. 2019). */
function residualGain(config: EncoderConfig): number {
  return 1 / Math.sqrt(Math.max(1, 2 * config.blocks))
}
