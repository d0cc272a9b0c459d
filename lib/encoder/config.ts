// What an encoder looks like: sizes and choices, with their defaults.

import { expectOptions, expectRange } from '../util/errors.js'
import { given, type Optional } from '../util/options.js'

/** What the second layer of a block attends to. */
export type AttentionKind = 'block' | 'fixed' | 'full' | 'none'
/** How the first layer of a block mixes neighbours. */
export type ConvolutionKind = 'depthwise' | 'dense' | 'none'
/** What mixes all earlier events in, for the recurrent baseline. */
export type RecurrenceKind = 'none' | 'gru'
/** What gates the convolution. */
export type GateKind = 'depthwise' | 'pointwise'
/** How the vectors of events become one. */
export type PoolingKind = 'mean' | 'max' | 'last'

/** Sizes and parts of an encoder. */
export interface EncoderConfig {
  /** Width D of an event's vector. */
  readonly width: number
  readonly blocks: number
  /** Convolution width K: odd, 1 … 255. */
  readonly kernel: number
  readonly dilation: number
  /** Causal convolutions see no later event. */
  readonly causal: boolean
  /** Gated depthwise convolution and a linear map; a dense gated convolution, the baseline; or `none`. */
  readonly convolution: ConvolutionKind
  /** Where a depthwise convolution is gated: its own output, before the linear map, or that of a map to twice the width. */
  readonly gate: GateKind
  /** A gated recurrent unit from the first event to the last, after the convolution; or `none`. */
  readonly recurrence: RecurrenceKind
  readonly attention: AttentionKind
  /** Block length of block attention, memory slots of fixed attention. */
  readonly attentionSize: number
  /** Odd blocks cut at half a block, so that information crosses. Block attention only. */
  readonly shift: boolean
  readonly heads: number
  /** Inner width of a feed-forward layer after the attention, as in a Transformer; 0 for none. */
  readonly feedForward: number
  /** How the fields of an event become one vector. */
  readonly merge: 'add' | 'concat'
  readonly pooling: PoolingKind
  /** Whether the mean of the events' embeddings, as they enter the first block, stands behind the pooled last layer. */
  readonly skip: boolean
  /** Numbers at most of the sketch behind both: how often each value occurs, see `Sketch`; 0 for none. Default 4D. */
  readonly sketch: number
  /**
   * Whether the sketch's largest values over the events stand behind its means: whether a value ever occurred, how far the largest number
   * reaches. As many numbers again.
   */
  readonly extremes: boolean
  /** Share of activations dropped while training. */
  readonly dropout: number
}

export const DEFAULT_ENCODER: EncoderConfig = {
  width: 128,
  blocks: 3,
  kernel: 5,
  dilation: 1,
  causal: false,
  convolution: 'depthwise',
  gate: 'depthwise',
  recurrence: 'none',
  attention: 'block',
  attentionSize: 64,
  shift: true,
  heads: 4,
  feedForward: 0,
  merge: 'add',
  pooling: 'mean',
  skip: true,
  sketch: 512,
  extremes: false,
  dropout: 0,
}

/** A Transformer encoder of that width from the same parts: full attention and feed-forward layers of 4D. */
export function transformerConfig(width = DEFAULT_ENCODER.width): Partial<EncoderConfig> {
  return { width, convolution: 'none', attention: 'full', feedForward: 4 * width }
}

/** A recurrent encoder of that width from the same parts: gated recurrent units alone (Cho et al. 2014). */
export function gruConfig(width = DEFAULT_ENCODER.width): Partial<EncoderConfig> {
  return { width, convolution: 'none', recurrence: 'gru', attention: 'none' }
}

/** Fills in defaults. @throws {TypeError} for unknown options @throws {RangeError} for sizes that cannot be */
export function encoderConfig(options: Optional<EncoderConfig> = {}): EncoderConfig {
  const where = 'encoder'
  expectOptions(where, options, Object.keys(DEFAULT_ENCODER))
  const sketch = 4 * (options.width ?? DEFAULT_ENCODER.width)
  const config: EncoderConfig = { ...DEFAULT_ENCODER, sketch, ...given(options) }
  const whole = (name: keyof EncoderConfig, low: number, high: number) => {
    const value = config[name] as number
    const fits = Number.isInteger(value) && value >= low && value <= high
    expectRange(fits, where, `${name} to be a whole number in [${low}, ${high}]`, value)
  }
  const oneOf = (name: keyof EncoderConfig, values: readonly string[]) =>
    expectRange(
      values.includes(config[name] as string),
      where,
      `${name} to be one of ${values.join(', ')}`,
      config[name],
    )
  whole('width', 1, 8192)
  whole('blocks', 0, 128)
  whole('kernel', 1, 255)
  expectRange(config.kernel % 2 === 1, where, 'kernel to be odd', config.kernel)
  whole('dilation', 1, 65_536)
  whole('attentionSize', 1, 65_536)
  whole('heads', 1, 256)
  whole('feedForward', 0, 65_536)
  whole('sketch', 0, 65_536)
  oneOf('convolution', ['depthwise', 'dense', 'none'])
  oneOf('gate', ['depthwise', 'pointwise'])
  oneOf('recurrence', ['none', 'gru'])
  oneOf('attention', ['block', 'fixed', 'full', 'none'])
  oneOf('merge', ['add', 'concat'])
  oneOf('pooling', ['mean', 'max', 'last'])
  for (const name of ['skip', 'extremes'] as const) {
    expectRange(typeof config[name] === 'boolean', where, `${name} to be true or false`, config[name])
  }
  const isDivided = config.attention === 'none' || config.width % config.heads === 0
  expectRange(isDivided, where, `heads to divide the width of ${config.width}`, config.heads)
  expectRange(config.dropout >= 0 && config.dropout < 1, where, 'dropout in [0, 1)', config.dropout)
  return config
}

/** Multiply-adds of an encoder's linear maps over so many events, roughly: what decides whether a card pays. */
export function workOf(events: number, { width, blocks }: Optional<EncoderConfig> = {}): number {
  const { width: D, blocks: L } = { width: width ?? DEFAULT_ENCODER.width, blocks: blocks ?? DEFAULT_ENCODER.blocks }
  return 5 * events * L * D * D
}
