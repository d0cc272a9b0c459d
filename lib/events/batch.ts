// Packed batches under an event budget, and the copies of events that fill them.

import { ArrayPool } from '../util/array_pool.js'
import { expectOptions, expectRange } from '../util/errors.js'
import { atOnce, type Steps } from '../util/pace.js'
import { Philox } from '../util/philox.js'
import type { EncodedEvents, InputColumn } from './encode.js'
import { slicePooled } from './slice.js'

/** How sequences are cut into batches. */
export interface BatchOptions {
  /** Most events of a batch. A longer sequence is a batch of its own. */
  readonly events: number
  readonly seed: number
  /** Each epoch has its own order. */
  readonly epoch: number
}

/** A part of a sequence: events begin … end − 1, counted from the sequence's first. */
export interface Piece {
  readonly sequence: number
  readonly begin: number
  readonly end: number
}

/** Sequences one after the other, without padding. */
export interface PackedBatch {
  readonly offsets: Int32Array
  readonly time: Float64Array
  readonly inputs: readonly InputColumn[]
}

/** Sequences of so many budgets are sorted by length together: enough to be alike, few enough to be mixed anew each epoch. */
const BUDGETS_PER_WINDOW = 32
/** Sequences that are looked at between two turns of the event loop. */
const SEQUENCES_PER_STEP = 16_384

/**
 * Every sequence exactly once, in batches of at most `events` events whose sequences are of similar length; the order is
 * random, and a function of seed and epoch. Empty sequences are in batches as well.
 */
export function lengthGroupedBatches(lengths: ArrayLike<number>, options: BatchOptions): Int32Array[] {
  return atOnce(lengthGroupedSteps(lengths, options))
}

/** The same in short steps. */
export function* lengthGroupedSteps(lengths: ArrayLike<number>, options: BatchOptions): Steps<Int32Array[]> {
  const where = 'lengthGroupedBatches'
  expectOptions(where, options, ['events', 'seed', 'epoch'])
  const { events, seed, epoch } = options
  expectRange(Number.isInteger(events) && events > 0, where, 'events to be a whole number ≥ 1', events)
  const random = new Philox(seed, epoch)
  const order = new Int32Array(lengths.length)
  // Fisher–Yates from the inside out. Scaling a uint32 is biased by less than length / 2³², and far faster than rejection.
  for (let i = 0; i < order.length; i++) {
    const j = Math.floor((random.uint32() / 0x100000000) * (i + 1))
    order[i] = order[j]
    order[j] = i
    if (i % SEQUENCES_PER_STEP === 0) yield
  }
  const batches: Int32Array[] = []
  for (let begin = 0; begin < order.length; ) {
    let end = begin
    for (let total = 0; end < order.length && total < BUDGETS_PER_WINDOW * events; end++) total += lengths[order[end]]
    yield
    const window = yield* sortByLength(order.subarray(begin, end), lengths)
    for (let from = 0; from < window.length; ) {
      let to = from + 1
      for (let total = lengths[window[from]]; to < window.length; to++) {
        total += lengths[window[to]]
        if (total > events) break
      }
      batches.push(window.slice(from, to))
      from = to
      if (batches.length % 1024 === 0) yield
    }
    begin = end
  }
  return yield* random.shuffleSteps(batches)
}

/** Counting sort: linear, and stable on equal lengths, so that the shuffle decides among them. */
function* sortByLength(sequences: Int32Array, lengths: ArrayLike<number>): Steps<Int32Array> {
  let longest = 0
  for (const sequence of sequences) longest = Math.max(longest, lengths[sequence])
  yield
  const place = new Int32Array(longest + 2)
  for (const sequence of sequences) place[lengths[sequence] + 1]++
  for (let length = 1; length < place.length; length++) place[length] += place[length - 1]
  yield
  const sorted = new Int32Array(sequences.length)
  for (const sequence of sequences) sorted[place[lengths[sequence]]++] = sequence
  return sorted
}

/** The whole of some sequences, as pieces. */
export function wholeSequences(offsets: Int32Array, sequences: ArrayLike<number>): Piece[] {
  return Array.from(sequences, sequence => ({ sequence, begin: 0, end: offsets[sequence + 1] - offsets[sequence] }))
}

/** Copies pieces into one packed batch, in the order given. @throws {RangeError} if a piece leaves its sequence */
export function sliceBatch(encoded: EncodedEvents, pieces: readonly Piece[]): PackedBatch {
  return atOnce(sliceSteps(encoded, pieces))
}

/** The same in short steps. */
export function sliceSteps(encoded: EncodedEvents, pieces: readonly Piece[]): Steps<PackedBatch> {
  return slicePooled(encoded, pieces, new ArrayPool())
}

/** The sequences begin … end − 1, whole, as one packed batch of views: only offsets are copied. */
export function viewBatch({ offsets, time, inputs }: EncodedEvents, begin: number, end: number): PackedBatch {
  const isRange = Number.isInteger(begin) && Number.isInteger(end) && begin >= 0 && begin <= end && end < offsets.length
  expectRange(isRange, 'viewBatch', `sequences in [0, ${offsets.length - 1})`, `[${begin}, ${end})`)
  const from = offsets[begin]
  const to = offsets[end]
  return {
    offsets: shifted(offsets, begin, end),
    time: time.subarray(from, to),
    inputs: inputs.map(({ name, field, kind, codes, fraction, offsets: words }): InputColumn => {
      if (words) {
        return { name, field, kind, codes: codes.subarray(words[from], words[to]), offsets: shifted(words, from, to) }
      }
      const column = { name, field, kind, codes: codes.subarray(from, to) }
      return fraction ? { ...column, fraction: fraction.subarray(from, to) } : column
    }),
  }
}

function shifted(offsets: Int32Array, begin: number, end: number): Int32Array {
  const out = new Int32Array(end - begin + 1)
  const first = offsets[begin]
  for (let i = 0; i < out.length; i++) out[i] = offsets[begin + i] - first
  return out
}
