// The encoder: events in, vectors out.

import { withPresent } from '../events/as_of.js'
import { viewBatch } from '../events/batch.js'
import type { EncodedEvents } from '../events/encode.js'
import { encodedChunks } from '../events/encode_source.js'
import { expectSource } from '../events/expect_source.js'
import type { EventEncoding } from '../events/inputs.js'
import type { Fields } from '../events/schema.js'
import type { EventSource, LongCall } from '../events/source.js'
import type { VectorTable } from '../events/table.js'
import { fieldEmbedding } from '../ops/field_embedding.js'
import { pool } from '../ops/pool.js'
import { Device } from '../runtime/device.js'
import { currentTape, type Parameter } from '../runtime/tape.js'
import { scope, type Tensor } from '../runtime/tensor.js'
import { expectOptions, expectRange, expectType, SeqriskError } from '../util/errors.js'
import type { Optional } from '../util/options.js'
import { atOnce, inTurns, Pace, type Steps } from '../util/pace.js'
import { type BatchRows, consecutiveBatches, type DeviceBatch, readBatches, toDevice } from './batch.js'
import { type EncoderConfig, encoderConfig } from './config.js'
import { EventEmbedding } from './event_embedding.js'
import { blockLayers, LayerNorm, type Pass, type SubLayer } from './layers.js'
import { type NamedArrays, ParameterStore } from './parameters.js'
import { Sketch } from './sketch.js'

type Float = Tensor<'float32'>

/** Events encoded together where nothing is said. */
export const ENCODE_BATCH_EVENTS = { cpu: 4096, cuda: 65_536 } as const

/** What `encode` can be told. */
export interface EncodeOptions extends LongCall {
  /**
   * Events encoded together. Default 4096: small enough to stay in the cache, large enough to keep all threads busy; on
   * a card 65 536.
   */
  readonly batchEvents?: number | undefined
  /**
   * The present, as a time of the events (a Date or milliseconds since 1970, or a plain number): how old an event is counts
   * back from here. Default: the newest event that the model was trained on. A service that encodes daily names the day. Refused
   * (`RangeError`, `TypeError`): what is no time or of another era than the events, and a Date where they have other numbers.
   */
  readonly asOf?: number | Date | undefined
}

/** Where an encoder lives, and what weights it begins with. */
export interface EncoderOptions {
  readonly device?: Device | undefined
  /** Seed of the initial weights. Default 0. */
  readonly seed?: number | undefined
  /** Stored weights instead of a seed. */
  readonly weights?: NamedArrays | undefined
  /** Whether `dispose` closes the device too. Default: when the encoder opened it. */
  readonly ownsDevice?: boolean | undefined
}

/**
 * A sequence encoder: field embeddings, L blocks of gated convolution and attention, a final layer norm, pooling. A sequence's
 * vector has three parts: the pooled last layer, which knows what stood beside what; with `skip` the mean of the embeddings, and a
 * sketch, which know what happened at all: deep layers forget some of that.
 * Made untrained, by `pretrain`, or by `loadEncoder`.
 */
export class Encoder<F extends Fields = Fields> {
  readonly device: Device
  readonly config: EncoderConfig
  readonly encoding: EventEncoding
  /** Phantom: the fields of the schema that the encoding was fitted on. */
  declare readonly fields: F
  readonly #store: ParameterStore
  readonly #embedding: EventEmbedding
  readonly #layers: SubLayer[]
  readonly #norm: LayerNorm
  readonly #sketch: Sketch
  readonly #ownsDevice: boolean
  #isDisposed = false

  constructor(encoding: EventEncoding, config: Optional<EncoderConfig> = {}, options: EncoderOptions = {}) {
    expectOptions('encoder', options, ['device', 'seed', 'weights', 'ownsDevice'])
    this.config = encoderConfig(config)
    this.encoding = encoding
    this.#ownsDevice = options.ownsDevice ?? !options.device
    this.device = options.device ?? new Device()
    this.#store = new ParameterStore(
      this.device,
      options.weights ? { stored: options.weights } : { seed: options.seed ?? 0 },
    )
    const { sketch: columns, width, extremes } = this.config
    this.#sketch = new Sketch(this.device, encoding, { columns, width, extremes })
    try {
      this.#embedding = new EventEmbedding(this.#store, this.config, encoding)
      this.#layers = []
      for (let i = 0; i < this.config.blocks; i++) this.#layers.push(...blockLayers(this.#store, i, this.config))
      this.#norm = new LayerNorm(this.#store, 'norm', this.config.width)
    } catch (error) {
      this.dispose()
      throw error
    }
  }

  /** Width of a sequence's vector: `config.width`, as much again with `skip`, and the sketch's. */
  get width(): number {
    const { width, skip } = this.config
    return (skip ? 2 : 1) * width + this.#sketch.width
  }

  /** All weights, with their gradients. @throws {SeqriskError} code `CLOSED` once disposed */
  get parameters(): Parameter[] {
    this.#expectAlive()
    return this.#store.all
  }

  /** The tables of the sketch: no weights, as they are never trained, but part of a model that is to run elsewhere. */
  readSketch(): Promise<NamedArrays> {
    return this.#sketch.read()
  }

  /** The last layer at all events of a packed batch: (events, config.width). For composing own models, like `pooled`. */
  forward(batch: DeviceBatch, pass: Pass = {}): Float {
    this.#expectAlive()
    return this.#contextualize(this.#embedding.apply(batch), batch, pass)
  }

  /** The last layer pooled: (sequences, config.width). */
  pooled(events: Float, batch: DeviceBatch): Float {
    return pool(events, batch.offsets, { mode: this.config.pooling })
  }

  /** Vectors of the sequences of a packed batch: (sequences, width). */
  vectors(batch: DeviceBatch, pass: Pass = {}): Float {
    this.#expectAlive()
    const embedded = this.#embedding.apply(batch)
    const parts = [this.pooled(this.#contextualize(embedded, batch, pass), batch)]
    if (this.config.skip) parts.push(pool(embedded, batch.offsets))
    parts.push(...this.#sketch.apply(batch))
    if (parts.length === 1) return parts[0]
    return fieldEmbedding(
      parts.map(values => ({ values })),
      { width: this.width, merge: 'concat' },
    )
  }

  #contextualize(embedded: Float, batch: DeviceBatch, pass: Pass): Float {
    let x = embedded
    for (const layer of this.#layers) {
      const before = x
      const apply = () => layer.apply(before, batch.offsets, pass)
      if (currentTape()) {
        x = apply()
        continue
      }
      // No backward will ask for it: the next layer gets the memory of this one, which the caches still hold.
      x = scope(apply)
      if (before !== embedded) before.dispose()
    }
    return this.#norm.apply(x)
  }

  /**
   * One vector per entity of a source, streamed: a block of entities at a time, in the source's order. Memory does not
   * grow with the number of users. A vector depends on its own entity's events alone, bit for bit.
   * @throws {SeqriskError} code `CLOSED` once the encoder is disposed
   */
  async *encodeStream(source: EventSource<F>, options: EncodeOptions = {}): AsyncGenerator<VectorTable> {
    expectSource('encode', source)
    expectOptions('encode', options, ['batchEvents', 'asOf', 'signal', 'onProgress'])
    this.#expectAlive()
    const encoding = withPresent('encode', this.encoding, options.asOf)
    const { events: total } = await source.summary({ signal: options.signal })
    let done = 0
    const pace = new Pace(options.signal)
    for await (const encoded of encodedChunks(source, encoding, { signal: options.signal })) {
      const block = await this.encodeBlock(encoded, options)
      await pace.turn()
      yield block
      await pace.turn()
      done += encoded.time.length
      options.onProgress?.({ phase: 'encode', done, total })
    }
  }

  /** One vector per entity, all in memory. */
  async encode(source: EventSource<F>, options: EncodeOptions = {}): Promise<VectorTable> {
    const blocks: VectorTable[] = []
    for await (const block of this.encodeStream(source, options)) blocks.push(block)
    return inTurns(concatSteps(blocks, this.width), options.signal)
  }

  /** Vectors of events that are encoded already. */
  async encodeBlock(encoded: EncodedEvents, options: EncodeOptions = {}): Promise<VectorTable> {
    this.#expectAlive()
    const { batchEvents = ENCODE_BATCH_EVENTS[this.device.kind], signal } = options
    const fits = Number.isInteger(batchEvents) && batchEvents > 0
    expectRange(fits, 'encode', 'batchEvents to be a whole number ≥ 1', batchEvents)
    expectType(encoded.inputs.length === this.encoding.inputs.length, 'encode', 'events of this encoding', 'others')
    const { width } = this
    const vectors = new Float32Array(encoded.ids.length * width)
    await readBatches(this.#submit(encoded, batchEvents, signal), vectors, signal)
    return { ids: encoded.ids, width, vectors }
  }

  async *#submit(encoded: EncodedEvents, batchEvents: number, signal?: AbortSignal): AsyncGenerator<BatchRows> {
    const pace = new Pace(signal)
    for (const { begin, end } of consecutiveBatches(encoded.offsets, batchEvents)) {
      signal?.throwIfAborted()
      // Not before the first: a single batch is encoded without a detour.
      if (begin > 0) await pace.turn()
      const rows = scope(() => this.vectors(toDevice(this.device, viewBatch(encoded, begin, end))))
      yield { rows, at: begin * this.width }
    }
  }

  /** Frees the weights, and the device if the encoder opened it. */
  dispose(): void {
    this.#isDisposed = true
    this.#store.dispose()
    this.#sketch.dispose()
    if (this.#ownsDevice) this.device.close()
  }

  #expectAlive(): void {
    if (!this.#isDisposed) return
    const message = '[encoder] expected an encoder in use but received a disposed one; make or load it again'
    throw new SeqriskError('CLOSED', message)
  }
}

/** Blocks of vectors as one. */
export function concatVectors(blocks: readonly VectorTable[], width: number): VectorTable {
  return atOnce(concatSteps(blocks, width))
}

/** Of a block, in a step: a block of short sequences has tens of thousands. */
const CONCAT_ROWS = 1024

function* concatSteps(blocks: readonly VectorTable[], width: number): Steps<VectorTable> {
  const ids: string[] = []
  const vectors = new Float32Array(blocks.reduce((sum, block) => sum + block.ids.length, 0) * width)
  for (const block of blocks) {
    for (let begin = 0; begin < block.ids.length; begin += CONCAT_ROWS) {
      const end = begin + CONCAT_ROWS
      vectors.set(block.vectors.subarray(begin * width, end * width), ids.length * width)
      for (const id of block.ids.slice(begin, end)) ids.push(id)
      yield
    }
  }
  return { ids, width, vectors }
}
