// The layers of an encoder as ONNX nodes, on batches (users, length, width) with padding at the end of each sequence.
// Padded events never reach a real one: they are zeros for a convolution and forbidden keys for attention.

import type { EncoderConfig } from '../encoder/config.js'
import { ONNXRUNTIME_DOMAIN, type OnnxGraph, type Value } from './onnx_graph.js'
import type { Size, Sizes } from './onnx_sizes.js'

/** Far below any score and finite, so that a block without any real key stays finite. */
const FORBIDDEN = -1e30

export type Weights = (name: string) => { readonly shape: readonly number[]; readonly values: Float32Array }

/** What all layers of one graph know. */
export interface LayerContext {
  readonly graph: OnnxGraph
  readonly sizes: Sizes
  readonly config: EncoderConfig
  readonly weights: Weights
  /** Whether onnxruntime's own operators may be used. */
  readonly fused: boolean
  readonly users: Size
  /** Events of a sequence inside the graph: the batch's length, rounded up to whole attention blocks. */
  readonly length: Size
  /** Block length of attention that is not shifted. */
  readonly block: Size
  /** (users or 1, length) bool: which events are real; null when all are. */
  readonly real: Value | null
}

/** y = x·Wᵀ + b over the last axis. Rows `from` … `to` of the weight alone, if given, times `gain`. */
export function linear(c: LayerContext, name: string, x: Value, rows?: { from: number; to: number }, gain = 1): Value {
  const { graph } = c
  const { shape, values } = c.weights(`${name}.weight`)
  const [out, width] = shape
  const { from, to } = rows ?? { from: 0, to: out }
  const weight = transpose(values.subarray(from * width, to * width), to - from, width).map(w => w * gain)
  const bias = c
    .weights(`${name}.bias`)
    .values.slice(from, to)
    .map(b => b * gain)
  const suffix = rows ? `.${from}` : ''
  const y = graph.node('MatMul', [x, graph.floats(`${name}.weight${suffix}`, [width, to - from], weight)])
  return graph.node('Add', [y, graph.floats(`${name}.bias${suffix}`, [to - from], bias)])
}

export function layerNorm(c: LayerContext, name: string, x: Value): Value {
  const parts = ['weight', 'bias'].map(part => {
    const { shape, values } = c.weights(`${name}.${part}`)
    return c.graph.floats(`${name}.${part}`, shape, values)
  })
  return c.graph.node('LayerNormalization', [x, ...parts], { axis: -1, epsilon: 1e-5 })
}

/** x + W₂·relu(W₁·norm(x)). */
export function feedForward(c: LayerContext, name: string, x: Value): Value {
  const h = c.graph.node('Relu', [linear(c, `${name}.inner`, layerNorm(c, `${name}.norm`, x))])
  return c.graph.node('Add', [x, linear(c, `${name}.out`, h)])
}

/**
 * x + conv(norm(x)), as two-dimensional convolutions of height 1, which onnxruntime runs in its blocked layout: the depthwise
 * filters, the gate and the pointwise map stay there, and only the way in and out reorders memory.
 */
export function convolution(c: LayerContext, name: string, x: Value): Value {
  const { graph, config } = c
  const { width, convolution, gate } = config
  let h = layerNorm(c, `${name}.norm`, x)
  if (c.real) {
    const mask = graph.node('Unsqueeze', [graph.node('Cast', [c.real], { to: 1 }), graph.integers([2])])
    h = graph.node('Mul', [h, mask])
  }
  h = graph.node('Transpose', [graph.node('Unsqueeze', [h, graph.integers([1])])], { perm: [0, 3, 1, 2] })
  // An identity: onnxruntime enters its layout once, here, instead of once for each of the two filters.
  if (c.fused) h = conv(c, h, `${name}.identity`, ones(width), null, { group: width, kernel: 1 })
  const out = c.weights(convolution === 'dense' ? `${name}.dense.weight` : `${name}.out.weight`)
  let y: Value
  if (convolution === 'dense') {
    y = gated(c, side => dense(c, h, `${name}.dense`, side))
  } else {
    const signal = depthwise(c, h, name, 'weight', 'bias')
    if (gate === 'depthwise') {
      const open = graph.node('Sigmoid', [depthwise(c, h, name, 'gate_weight', 'gate_bias')])
      const mapped = graph.node('Mul', [signal, open])
      y = pointwise(c, mapped, `${name}.out`, { from: 0, to: out.shape[0] })
    } else {
      y = gated(c, side => pointwise(c, signal, `${name}.out`, { from: side * width, to: (side + 1) * width }))
    }
  }
  y = graph.node('Squeeze', [graph.node('Transpose', [y], { perm: [0, 2, 3, 1] }), graph.integers([1])])
  return graph.node('Add', [x, y])
}

/** Gated linear unit: side 0 times the sigmoid of side 1. */
function gated(c: LayerContext, side: (side: 0 | 1) => Value): Value {
  return c.graph.node('Mul', [side(0), c.graph.node('Sigmoid', [side(1)])])
}

function depthwise(c: LayerContext, x: Value, name: string, weight: string, bias: string): Value {
  const { width, kernel } = c.config
  const filter = transpose(c.weights(`${name}.${weight}`).values, kernel, width)
  return conv(c, x, `${name}.${weight}`, { shape: [width, 1], values: filter }, c.weights(`${name}.${bias}`).values, {
    group: width,
    kernel,
  })
}

function pointwise(c: LayerContext, x: Value, name: string, { from, to }: { from: number; to: number }): Value {
  const { shape, values } = c.weights(`${name}.weight`)
  const filter = { shape: [to - from, shape[1]], values: values.slice(from * shape[1], to * shape[1]) }
  return conv(c, x, `${name}.${from}`, filter, c.weights(`${name}.bias`).values.slice(from, to), {
    group: 1,
    kernel: 1,
  })
}

/** One half of a dense gated convolution; the stored rows hold the taps side by side. */
function dense(c: LayerContext, x: Value, name: string, side: 0 | 1): Value {
  const { width, kernel } = c.config
  const { values } = c.weights(`${name}.weight`)
  const filter = new Float32Array(width * width * kernel)
  for (let out = 0; out < width; out++) {
    const row = (side * width + out) * kernel * width
    for (let k = 0; k < kernel; k++) {
      for (let i = 0; i < width; i++) filter[(out * width + i) * kernel + k] = values[row + k * width + i]
    }
  }
  const bias = c.weights(`${name}.bias`).values.slice(side * width, (side + 1) * width)
  return conv(c, x, `${name}.${side}`, { shape: [width, width], values: filter }, bias, { group: 1, kernel })
}

function conv(
  c: LayerContext,
  x: Value,
  name: string,
  filter: { readonly shape: readonly number[]; readonly values: Float32Array },
  bias: Float32Array | null,
  { group, kernel }: { group: number; kernel: number },
): Value {
  const { graph } = c
  const { dilation, causal } = c.config
  const reach = (kernel - 1) * dilation
  const left = causal ? reach : reach / 2
  const inputs = [x, graph.floats(`${name}.filter`, [...filter.shape, 1, kernel], filter.values)]
  if (bias) inputs.push(graph.floats(`${name}.filter_bias`, [bias.length], bias))
  const pads = [0, left, 0, reach - left]
  return graph.node('Conv', inputs, { group, kernel_shape: [1, kernel], dilations: [1, dilation], pads })
}

/** x + attention(norm(x)): block or full. */
export function selfAttention(c: LayerContext, name: string, x: Value, index: number): Value {
  const { graph, config, sizes } = c
  const { width, attention, attentionSize, shift } = config
  const h = layerNorm(c, `${name}.norm`, x)
  if (attention === 'full') return graph.node('Add', [x, linear(c, `${name}.out`, heads(c, name, h, c.real))])
  const inBlocks = (value: Value, block: Size) => graph.node('Reshape', [value, sizes.list([-1, block, width])])
  const asBatch = (value: Value, length: Size) => graph.node('Reshape', [value, sizes.list([c.users, length, width])])
  const maskOf = (real: Value, block: Size) => graph.node('Reshape', [real, sizes.list([-1, block])])
  if (!shift || index % 2 === 0) {
    // Without padding there is a mask of one user at most.
    const real = c.real && maskOf(spread(c, c.real), c.block)
    const y = heads(c, name, inBlocks(h, c.block), real)
    return graph.node('Add', [x, linear(c, `${name}.out`, asBatch(y, c.length))])
  }
  // The first block is half as long: so many padded events stand in front of it. Unless half a block holds everything.
  const half = Math.floor(attentionSize / 2)
  const front = sizes.whereAtMost(c.length, half, 0, attentionSize - half)
  const block = sizes.whereAtMost(c.length, half, c.length, attentionSize)
  const begun = sizes.add(front, c.length)
  const back = sizes.missing(begun, block)
  const padded = graph.node('Pad', [h, sizes.list([0, front, 0, 0, back, 0])])
  const real = graph.node('Cast', [spread(c, c.real ?? allReal(c))], { to: 6 })
  const mask = graph.node('Cast', [graph.node('Pad', [real, sizes.list([0, front, 0, back])])], { to: 9 })
  const y = asBatch(heads(c, name, inBlocks(padded, block), maskOf(mask, block)), sizes.add(begun, back))
  const kept = graph.node('Slice', [y, sizes.value(front), sizes.value(begun), graph.integers([1])])
  return graph.node('Add', [x, linear(c, `${name}.out`, kept)])
}

/** Projected softmax attention inside (groups, events, width); `real`: (groups, events) bool or null. */
function heads(c: LayerContext, name: string, h: Value, real: Value | null): Value {
  const { graph, config } = c
  const { width } = config
  if (c.fused) {
    const { values } = c.weights(`${name}.qkv.weight`)
    const weight = graph.floats(`${name}.qkv.weight`, [width, 3 * width], transpose(values, 3 * width, width))
    const bias = graph.floats(`${name}.qkv.bias`, [3 * width], c.weights(`${name}.qkv.bias`).values)
    const inputs = [h, weight, bias, ...(real ? [graph.node('Cast', [real], { to: 6 })] : [])]
    return graph.node('Attention', inputs, { num_heads: config.heads }, ONNXRUNTIME_DOMAIN)
  }
  const part = (i: number, gain = 1) => linear(c, `${name}.qkv`, h, { from: i * width, to: (i + 1) * width }, gain)
  return softmaxAttention(c, part(0, scale(config)), part(1), part(2), real)
}

function scale({ width, heads }: EncoderConfig): number {
  return 1 / Math.sqrt(width / heads)
}

/** softmax(q·kᵀ)·v by heads; q is scaled already. q: (groups or 1, queries, width); k, v: (groups, keys, width). */
function softmaxAttention(c: LayerContext, q: Value, k: Value, v: Value, real: Value | null): Value {
  const { graph } = c
  const { width, heads } = c.config
  const split = (x: Value, perm: number[]) =>
    graph.node('Transpose', [graph.node('Reshape', [x, graph.integers([0, 0, heads, width / heads])])], { perm })
  let scores = graph.node('MatMul', [split(q, [0, 2, 1, 3]), split(k, [0, 2, 3, 1])])
  if (real) {
    const bias = graph.node('Where', [real, graph.float(0), graph.float(FORBIDDEN)])
    scores = graph.node('Add', [scores, graph.node('Unsqueeze', [bias, graph.integers([1, 2])])])
  }
  const mixed = graph.node('MatMul', [graph.node('Softmax', [scores], { axis: -1 }), split(v, [0, 2, 1, 3])])
  const joined = graph.node('Transpose', [mixed], { perm: [0, 2, 1, 3] })
  return graph.node('Reshape', [joined, graph.integers([0, 0, width])])
}

/** x + attention through memory slots: written from all events, then read by each. */
export function fixedAttention(c: LayerContext, name: string, x: Value): Value {
  const { graph, config } = c
  const { width } = config
  const h = layerNorm(c, `${name}.norm`, x)
  const half = (i: number) => ({ from: i * width, to: (i + 1) * width })
  const { shape, values } = c.weights(`${name}.queries`)
  const queries = graph.floats(
    `${name}.queries`,
    [1, ...shape],
    values.map(value => value * scale(config)),
  )
  const [k, v] = [0, 1].map(i => linear(c, `${name}.kv`, h, half(i)))
  const memory = softmaxAttention(c, queries, k, v, c.real && spread(c, c.real))
  const [memoryK, memoryV] = [0, 1].map(i => linear(c, `${name}.memory_kv`, memory, half(i)))
  const q = linear(c, `${name}.query`, h, undefined, scale(config))
  const y = softmaxAttention(c, q, memoryK, memoryV, null)
  return graph.node('Add', [x, linear(c, `${name}.out`, y)])
}

/** (users or 1, length) to (users, length). */
function spread(c: LayerContext, real: Value): Value {
  return c.graph.node('Expand', [real, c.sizes.list([c.users, c.length])])
}

function allReal(c: LayerContext): Value {
  const one = c.graph.node('Expand', [c.graph.integers([1], [1, 1]), c.sizes.list([1, c.length])])
  return c.graph.node('Cast', [one], { to: 9 })
}

function transpose(values: Float32Array, rows: number, columns: number): Float32Array {
  const out = new Float32Array(values.length)
  for (let i = 0; i < rows; i++) for (let j = 0; j < columns; j++) out[j * rows + i] = values[i * columns + j]
  return out
}

function ones(width: number): { shape: number[]; values: Float32Array } {
  return { shape: [width, 1], values: new Float32Array(width).fill(1) }
}
