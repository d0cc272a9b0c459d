// What each event adds to a score: the score as it is, less the score without the event (occlusion, Zeiler & Fergus 2014).

import type { Encoder } from '../encoder/encoder.js'
import { type EncodedEvents, gatherSteps } from '../events/encode.js'
import type { LongCall } from '../events/source.js'
import type { VectorTable } from '../events/table.js'
import { expectOptions, expectRange } from '../util/errors.js'
import { inTurns } from '../util/pace.js'
import { FineTuned } from './finetune/finetuned.js'

/** An encoder and whatever makes scores of its vectors: (rows, width) numbers, the same width for any rows. */
export interface VectorScorer {
  readonly encoder: Encoder
  /** Scores of rows of vectors. */
  score(vectors: VectorTable): ArrayLike<number> | Promise<ArrayLike<number>>
}

export interface ContributionOptions extends LongCall {
  /** Events that are left out together. Default 1, more beyond 512 events, so that 512 windows are enough. */
  readonly window?: number | undefined
  /** Most events that are encoded in one go. Default 65 536. */
  readonly batchEvents?: number | undefined
}

/** What each event adds to the score of its entity. */
export interface Contributions {
  readonly id: string
  /** Scores of the entity as it is: one, or one per class. */
  readonly score: Float64Array
  /** Window i are the events starts[i] … starts[i + 1] − 1 of the entity. */
  readonly starts: Int32Array
  /** (windows, scores): how much lower each score is without the window. */
  readonly values: Float64Array
}

const where = 'contributions'
const MOST_WINDOWS = 512

/**
 * Leaves out each event of an entity, or each window of some, and scores what is left; all of that in large batches, as
 * N short sequences. The events that stay keep what they say of time: a gap still ends at the event that is gone.
 * Cost: N²/window events are encoded.
 * @param encoded  of `encodeSource`: with the `asOf` that `score` had, the score is the one from there
 * @param entity   by number
 */
export async function contributions(
  model: VectorScorer,
  encoded: EncodedEvents,
  entity: number,
  options?: ContributionOptions,
): Promise<Contributions>
// Apart, so that a function within a call of the first kind need not say what it takes.
/** The same of a fine-tuned model, by its own head. */
export async function contributions(
  model: FineTuned | VectorScorer,
  encoded: EncodedEvents,
  entity: number,
  options?: ContributionOptions,
): Promise<Contributions>
export async function contributions(
  model: FineTuned | VectorScorer,
  encoded: EncodedEvents,
  entity: number,
  options: ContributionOptions = {},
): Promise<Contributions> {
  expectOptions(where, options, ['window', 'batchEvents', 'signal', 'onProgress'])
  const entities = encoded.offsets.length - 1
  const isEntity = Number.isInteger(entity) && entity >= 0 && entity < entities
  expectRange(isEntity, where, `an entity in [0, ${entities})`, entity)
  const [begin, end] = [encoded.offsets[entity], encoded.offsets[entity + 1]]
  const events = end - begin
  const { window = Math.max(1, Math.ceil(events / MOST_WINDOWS)), batchEvents = 65_536, signal, onProgress } = options
  expectRange(Number.isInteger(window) && window >= 1, where, 'window to be a whole number ≥ 1', window)
  expectRange(Number.isInteger(batchEvents) && batchEvents >= 1, where, 'batchEvents ≥ 1', batchEvents)
  const count = Math.ceil(events / window)
  const starts = Int32Array.from({ length: count + 1 }, (_, i) => Math.min(events, i * window))
  // The first sequence is the whole one; of each, the events before the window, then those behind it.
  const windows: [number, number][] = [[end, end]]
  for (let i = 0; i < count; i++) windows.push([begin + starts[i], begin + starts[i + 1]])
  const perBatch = Math.max(1, Math.floor(batchEvents / Math.max(1, events)))
  const scores: number[] = []
  for (let from = 0; from < windows.length; from += perBatch) {
    signal?.throwIfAborted()
    const own = windows.slice(from, from + perBatch)
    const ranges = own.flatMap(([first, last]) => [
      { begin, end: first },
      { begin: last, end },
    ])
    const parts = await inTurns(gatherSteps(encoded, ranges), signal)
    const offsets = parts.offsets.filter((_, i) => i % 2 === 0)
    const batch = { ...parts, offsets, ids: own.map((_, i) => String(from + i)) }
    const found = await scoresOf(model, batch, signal)
    for (let i = 0; i < found.length; i++) scores.push(found[i])
    onProgress?.({ phase: 'explain', done: Math.min(from + perBatch, windows.length), total: windows.length })
  }
  const width = scores.length / windows.length
  expectRange(Number.isInteger(width) && width >= 1, where, `scores of ${windows.length} rows`, scores.length)
  const score = Float64Array.from(scores.slice(0, width))
  const values = Float64Array.from({ length: count * width }, (_, i) => score[i % width] - scores[width + i])
  return { id: encoded.ids[entity], score, starts, values }
}

async function scoresOf(
  model: FineTuned | VectorScorer,
  batch: EncodedEvents,
  signal?: AbortSignal,
): Promise<ArrayLike<number>> {
  if (model instanceof FineTuned) return model.scoreEncoded(batch, undefined, { signal })
  return model.score(await model.encoder.encodeBlock(batch, { signal }))
}
