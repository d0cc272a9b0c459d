// An encoder as an ONNX model: the file encoder.onnx. It takes padded batches, as other runtimes know no packed ones.

import type { EncoderConfig } from '../encoder/config.js'
import type { Encoder } from '../encoder/encoder.js'
import { readParameters } from '../encoder/model_files.js'
import type { NamedArray, NamedArrays } from '../encoder/parameters.js'
import type { EventEncoding } from '../events/inputs.js'
import type { FineTuned } from '../transfer/finetune/finetuned.js'
import type { Goal } from '../transfer/finetune/goal.js'
import { expectOptions, expectRange, SeqriskError } from '../util/errors.js'
import { declareInput, embedEvents, lengthened, sketchEvents } from './onnx_embedding.js'
import { OnnxGraph, type Value } from './onnx_graph.js'
import { headScores } from './onnx_head.js'
import * as layers from './onnx_layers.js'
import { pool } from './onnx_pool.js'
import { gatedRecurrence } from './onnx_recurrence.js'
import { type Size, Sizes } from './onnx_sizes.js'

/** What the graph of an encoder can be told. */
export interface OnnxOptions {
  /**
   * `standard`: operators of ONNX alone, for any runtime. `onnxruntime`: its own fused attention too, which is faster there.
   * Default `standard`.
   */
  readonly operators?: 'standard' | 'onnxruntime' | undefined
  /** Sequences of a batch, and events of a sequence, where they are always the same. Default: any. */
  readonly users?: number | undefined
  readonly length?: number | undefined
  /** False: every sequence fills the batch, and there is no input `lengths`. Default true. */
  readonly padded?: boolean | undefined
}

/** What a graph is made from. */
interface OnnxSource {
  readonly config: EncoderConfig
  readonly encoding: EventEncoding
  /** The sketch's tables are among them. */
  readonly weights: NamedArrays
  /** Of a vector. */
  readonly width: number
  /** Of a fine-tuned model: what its head predicts. The head's tensors are among the weights. */
  readonly goal?: Goal
}

/**
 * The bytes of an ONNX model (opset 17) that computes `encoder`'s vectors.
 *
 * Inputs, all int32 but for the fractions: for every input of the encoding `NAME` with its codes (users, length), 0 for padding;
 * for numeric ones also `NAME.fraction` float32 (users, length); texts are (users, length, words), where the id `size` of the
 * encoding fills up an event's words. `lengths` (users): events of each sequence; what stands behind them does not matter.
 * Output: `vectors` float32 (users, width).
 * @throws {RangeError} when the model would exceed the format's 2 GB, or a field has a name that the model needs: `lengths`,
 * `vectors`, `scores`, `NAME.fraction` of another, that of a weight
 */
export async function exportEncoder(encoder: Encoder, options: OnnxOptions = {}): Promise<Uint8Array> {
  const weights = await weightsOf(encoder)
  return encoderModel({ config: encoder.config, encoding: encoder.encoding, width: encoder.width, weights }, options)
}

/**
 * The same of a fine-tuned model, with another output: `scores` float32 (users, scores), as `FineTuned.scoreEncoded` gives them,
 * but for its float64.
 */
export async function exportFinetuned(model: FineTuned, options: OnnxOptions = {}): Promise<Uint8Array> {
  const { encoder, goal } = model
  const weights = await weightsOf(encoder)
  for (const [name, tensor] of await model.readHead()) weights.set(name, tensor)
  return encoderModel(
    { config: encoder.config, encoding: encoder.encoding, width: encoder.width, weights, goal },
    options,
  )
}

async function weightsOf(encoder: Encoder): Promise<Map<string, NamedArray>> {
  return new Map<string, NamedArray>([...(await readParameters(encoder.parameters)), ...(await encoder.readSketch())])
}

function encoderModel(source: OnnxSource, options: OnnxOptions = {}): Uint8Array {
  const where = 'exportEncoder'
  expectOptions(where, options, ['operators', 'users', 'length', 'padded'])
  const { operators = 'standard', padded = true } = options
  expectRange(
    ['standard', 'onnxruntime'].includes(operators),
    where,
    "operators 'standard' or 'onnxruntime'",
    operators,
  )
  for (const name of ['users', 'length'] as const) {
    const size = options[name]
    const fits = size === undefined || (Number.isInteger(size) && size > 0)
    expectRange(fits, where, `${name} to be a whole number ≥ 1`, size)
  }
  const { config, encoding, goal } = source
  const graph = new OnnxGraph()
  const sizes = new Sizes(graph)
  const weights: layers.Weights = name => {
    const found = source.weights.get(name)
    if (found) return found
    throw new SeqriskError(
      'MODEL_INVALID',
      `[${where}] expected weights '${name}' but received none; load the model again`,
    )
  }
  const inputs = encoding.inputs.map(spec => declareInput(graph, spec, options))
  const users = options.users ?? sizes.of(inputs[0].codes, 0)
  const given = options.length ?? sizes.of(inputs[0].codes, 1)
  const lengths = padded ? graph.input('lengths', 'int32', [options.users ?? 'users']) : null
  // Sequences are rounded up to whole blocks here, where an event is a few numbers and not yet a vector.
  const block = config.attention === 'block' ? sizes.smaller(given, config.attentionSize) : given
  const missing = config.attention === 'block' ? sizes.missing(given, block) : 0
  const length = sizes.add(given, missing)
  const isWhole = missing === 0
  const real = padded || !isWhole ? realEvents(graph, sizes, lengths, given, length) : null
  const fused = operators === 'onnxruntime'
  const context = { graph, sizes, config, weights, fused, users, length, block, real }
  const events = inputs.map(input => lengthened(context, input, missing))
  const embedded = embedEvents(context, events)
  let x = embedded
  for (let i = 0; i < config.blocks; i++) x = encoderBlock(context, i, x)
  const last = pool(context, config.pooling, layers.layerNorm(context, 'norm', x), lengths, given)
  const parts = [last]
  if (config.skip) parts.push(pool(context, 'mean', embedded, lengths, given))
  const sketched = sketchEvents(context, events, source.weights)
  if (sketched) parts.push(pool(context, 'mean', sketched, lengths, given))
  if (sketched && config.extremes) parts.push(pool(context, 'max', sketched, lengths, given))
  const vectors = parts.length === 1 ? last : graph.node('Concat', parts, { axis: 1 })
  graph.output('vectors', vectors, 'float32', [options.users ?? 'users', source.width])
  const metadata: Record<string, string> = { format: 'seqrisk-encoder', encoding: JSON.stringify(encoding) }
  if (goal) {
    const { scores, width } = headScores(context, vectors, goal, source.weights.has('head.knots'))
    graph.output('scores', scores, 'float32', [options.users ?? 'users', width])
    metadata.head = JSON.stringify(goal)
  }
  return graph.finish('seqrisk-encoder', metadata)
}

/** (users or 1, length) bool. */
function realEvents(graph: OnnxGraph, sizes: Sizes, lengths: Value | null, given: Size, length: Size): Value {
  const last = graph.node('Squeeze', [graph.node('Cast', [sizes.value(length)], { to: 6 }), graph.integers([0])])
  const zero = graph.integers([0], [], 'int32')
  const places = graph.node('Range', [zero, last, graph.integers([1], [], 'int32')])
  const ends = lengths ?? graph.node('Cast', [sizes.value(given)], { to: 6 })
  return graph.node('Less', [places, graph.node('Unsqueeze', [ends, graph.integers([1])])])
}

function encoderBlock(c: layers.LayerContext, index: number, x: Value): Value {
  const { convolution, recurrence, attention, feedForward } = c.config
  const name = `blocks.${index}`
  let y = x
  if (convolution !== 'none') y = layers.convolution(c, `${name}.convolution`, y)
  if (recurrence === 'gru') y = gatedRecurrence(c, `${name}.recurrence`, y)
  if (attention === 'fixed') y = layers.fixedAttention(c, `${name}.attention`, y)
  else if (attention !== 'none') y = layers.selfAttention(c, `${name}.attention`, y, index)
  if (feedForward > 0) y = layers.feedForward(c, `${name}.feed_forward`, y)
  return y
}
