// What is trained: an encoder with a head for each proxy task, and the step over one batch.

import { type DeviceBatch, toDevice } from '../encoder/batch.js'
import type { Encoder } from '../encoder/encoder.js'
import { ParameterStore } from '../encoder/parameters.js'
import type { Piece } from '../events/batch.js'
import type { EncodedEvents } from '../events/encode.js'
import { slicePooled } from '../events/slice.js'
import { dropSeed, fastPhilox, keyed } from '../runtime/random.js'
import type { Parameter } from '../runtime/tape.js'
import { ArrayPool } from '../util/array_pool.js'
import { atOnce, type Steps } from '../util/pace.js'
import { type MaskedBatch, MaskedEventsHead, maskSteps } from './masked_events.js'
import type { Resolved } from './options.js'
import { cutInPieces, hideCalendar, type Pairs, QuickThoughtHead } from './quick_thought.js'
import type { Term } from './terms.js'

/** Sampled classes and dropped elements draw from keys of their own. */
const SAMPLES_KEY = 0x5a3c
const DROPOUT_KEY = 0xd509

/** A batch as it was prepared on the host: cut, hidden, with its targets. */
export interface PreparedBatch {
  readonly masked: MaskedBatch | null
  readonly pairs: Pairs | null
  readonly batch: Pick<MaskedBatch['batch'], 'offsets' | 'inputs'>
  readonly events: number
  /** Of the seed's random numbers: each batch has one of its own. */
  readonly stream: number
}

export class PretrainModel {
  readonly encoder: Encoder
  readonly #options: Resolved
  readonly #store: ParameterStore
  readonly #masked: MaskedEventsHead | null
  readonly #quick: QuickThoughtHead | null
  readonly #arrays = new ArrayPool()

  constructor(encoder: Encoder, options: Resolved) {
    this.encoder = encoder
    this.#options = options
    this.#store = new ParameterStore(encoder.device, { seed: options.seed })
    const { tasks, masked, quick } = options
    try {
      this.#masked = tasks.includes('masked') ? new MaskedEventsHead(this.#store, encoder, masked) : null
      this.#quick = tasks.includes('quick') ? new QuickThoughtHead(this.#store, encoder, quick) : null
    } catch (error) {
      this.dispose()
      throw error
    }
  }

  get parameters(): Parameter[] {
    return [...this.encoder.parameters, ...this.#store.all]
  }

  /** Names of the terms of every step, in order. */
  get terms(): string[] {
    return [...(this.#masked?.names ?? []), ...(this.#quick?.names ?? [])]
  }

  /** Chooses pieces and hides events; a function of the seed and the stream alone. Good until `reuse`. */
  prepare(encoded: EncodedEvents, whole: readonly Piece[], stream: number): PreparedBatch {
    return atOnce(this.prepareSteps(encoded, whole, stream))
  }

  /** The same in short steps. */
  *prepareSteps(encoded: EncodedEvents, whole: readonly Piece[], stream: number): Steps<PreparedBatch> {
    const random = fastPhilox(this.#options.seed, stream)
    const pairs = this.#quick ? cutInPieces(whole, random, this.#options.quick) : null
    yield
    const sliced = yield* slicePooled(encoded, pairs?.pieces ?? whole, this.#arrays)
    yield
    const packed =
      pairs && this.#options.quick.hideCalendar
        ? hideCalendar(sliced, pairs, this.encoder.encoding.inputs, random)
        : sliced
    yield
    const masked = this.#masked ? yield* maskSteps(packed, random, this.#options.masked, this.#arrays) : null
    yield
    const batch = masked?.batch ?? packed
    return { masked, pairs, batch, events: packed.offsets[packed.offsets.length - 1], stream }
  }

  /** The batches prepared so far are on the device, or no longer wanted: their arrays serve the next ones. */
  reuse(): void {
    this.#arrays.reuse()
  }

  /** The terms of the loss, computed on the device in the open scope. */
  losses(prepared: PreparedBatch, isTraining: boolean): Term[] {
    const { encoder } = this
    const { seed } = this.#options
    const { stream } = prepared
    const batch: DeviceBatch = toDevice(encoder.device, prepared.batch)
    const rate = isTraining ? encoder.config.dropout : 0
    const dropout = { rate, seed: dropSeed(keyed(seed, DROPOUT_KEY), stream), nextElement: 0 }
    const events = encoder.forward(batch, { dropout })
    const terms: Term[] = []
    if (this.#masked && prepared.masked) {
      const random = fastPhilox(keyed(seed, SAMPLES_KEY), stream)
      terms.push(...this.#masked.terms(events, prepared.masked, 1, random))
    }
    if (this.#quick && prepared.pairs) {
      terms.push(...this.#quick.terms(encoder.pooled(events, batch), prepared.pairs, 1))
    }
    return terms
  }

  /** Frees the heads; the encoder lives on. */
  dispose(): void {
    this.#store.dispose()
  }
}
