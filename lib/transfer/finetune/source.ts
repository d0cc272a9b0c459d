// Fine-tuning from a source of events and a table of labels.

import { Encoder } from '../../encoder/encoder.js'
import { type EncodedEvents, gatherSteps } from '../../events/encode.js'
import { concatSteps, encodedChunks } from '../../events/encode_source.js'
import { fitEncoding } from '../../events/encoding.js'
import { expectSource } from '../../events/expect_source.js'
import type { EventEncoding } from '../../events/inputs.js'
import type { Fields } from '../../events/schema.js'
import type { EventSource, LongCall } from '../../events/source.js'
import { expectFreeFolder, giveUp, removeCheckpoint } from '../../pretrain/checkpoint.js'
import { SeqriskError, sentence } from '../../util/errors.js'
import { inTurns, Pace } from '../../util/pace.js'
import { TextIndex } from '../../util/text_index.js'
import { expectLabels, join, type LabelTable } from '../tables.js'
import { finetuneBehind } from './finetune.js'
import { expectSchema, type FineTuned } from './finetuned.js'
import { type FoldsResult, planSteps, scoreFolds } from './folds.js'
import { expectTwoValues } from './goal.js'
import { checkUnfitted, type FinetuneOptions, type ScratchInit } from './options.js'
import { CROSS, FOLD_RUNS, FOLDS } from './run_files.js'

const where = 'finetune'
const LEFT = [CROSS, FOLDS, FOLD_RUNS]

/** `init` from scratch may leave the encoding to be fitted on the source. */
export interface FinetuneSourceOptions extends Omit<FinetuneOptions, 'init' | 'schema' | 'validation'> {
  readonly init: Encoder | (Omit<ScratchInit, 'encoding'> & { readonly encoding?: EventEncoding | undefined })
  /** When to stop, as of `finetuneEncoded`, but without rows. */
  readonly validation?: number | 'cross' | undefined
}

/** Encoded events of entities with a known label. */
export interface LabelledEvents {
  readonly encoded: EncodedEvents
  /** One per entity of `encoded`. */
  readonly targets: Float64Array
  readonly fold: Int32Array | null
  /** Known labels of entities without events. */
  readonly absent: number
}

/** What fine-tuning gives. */
export interface FinetuneResult<F extends Fields = Fields> {
  readonly model: FineTuned<F>
  /** Entities that were learnt from, those of the validation included. */
  readonly rows: number
  /** Known labels of entities without events. */
  readonly absent: number
  /** With `labels.fold`: the quality on folds that their models never saw. */
  readonly folds: FoldsResult | null
}

/**
 * Fine-tunes an encoder on the labels of entities. Entities are joined by id; those with an unknown label are not read into
 * memory. With `labels.fold` the folds are scored first, each by a model that never saw it; the model itself learns from all.
 *
 * Long call: `signal` stops it within a step, `onProgress` reports each. With `out`, model, log and checkpoints are written
 * there, and `resume` continues to the same bits.
 * @throws {RangeError} for labels that are infinite or repeat an id
 * @throws {SeqriskError} codes `NO_COMMON_IDS`, `ONE_CLASS`, `TOO_FEW_LABELS`, `SCHEMA_MISMATCH`, `TRAINING_DIVERGED`;
 * `RUN_UNFINISHED` where `out` holds a run that did not end, without `resume` or `restart`
 */
export async function finetune<F extends Fields>(
  source: EventSource<F>,
  labels: LabelTable,
  options: FinetuneSourceOptions,
): Promise<FinetuneResult<F>> {
  expectSource(where, source)
  const { init, signal, onProgress, out } = options
  checkUnfitted({ ...options, schema: source.schema })
  signal?.throwIfAborted()
  await knownOf(labels, signal)
  expectTwoValues(labels.ids, labels.values)
  await expectFreeFolder(where, options, LEFT)
  const isFitted = init instanceof Encoder || init.encoding !== undefined
  const start = isFitted
    ? (init as FinetuneOptions['init'])
    : { ...init, encoding: await fitEncoding(source, { signal, onProgress }) }
  const { encoded, targets, fold, absent } = await readLabelled(source, start.encoding, labels, { signal, onProgress })
  const all: FinetuneOptions = { ...options, restart: undefined, init: start, schema: source.schema }
  // A run that was there is given up for one that labels allow.
  if (fold) await inTurns(planSteps(encoded, targets, fold, all), signal)
  await giveUp(options, LEFT)
  const folds = fold && (await scoreFolds(encoded, targets, fold, all, true))
  const model = await finetuneBehind<F>(encoded, targets, all, folds?.stored)
  if (out !== undefined) await removeCheckpoint(out, LEFT)
  return { model, rows: encoded.ids.length, absent, folds: folds?.result ?? null }
}

/** Reads the events of entities with a known label, and only those. */
export async function readLabelled<F extends Fields>(
  source: EventSource<F>,
  encoding: EventEncoding,
  labels: LabelTable,
  { signal, onProgress }: LongCall = {},
): Promise<LabelledEvents> {
  expectSchema(where, source.schema, encoding)
  const known = await knownOf(labels, signal)
  const { ids, values, fold } = labels
  const parts: EncodedEvents[] = []
  for await (const chunk of encodedChunks(source, encoding, { signal, onProgress })) {
    const rows = [...chunk.ids.keys()].filter(row => known.get(chunk.ids[row]) !== undefined)
    if (rows.length === 0) continue
    if (rows.length === chunk.ids.length) {
      parts.push(chunk)
      continue
    }
    const ranges = rows.map(row => ({ begin: chunk.offsets[row], end: chunk.offsets[row + 1] }))
    const kept = await inTurns(gatherSteps(chunk, ranges), signal)
    parts.push({ ids: rows.map(row => chunk.ids[row]), ...kept })
  }
  if (parts.length === 0) {
    const example = ids[values.findIndex(value => !Number.isNaN(value))]
    throw noEvents(`compare the ids: labels have '${example}'`)
  }
  const encoded = await inTurns(concatSteps(parts), signal)
  const { labelRows, rows, absent } = await join(where, labels, [encoded], signal)
  const targets = new Float64Array(encoded.ids.length).fill(Number.NaN)
  const folds = fold && new Int32Array(encoded.ids.length)
  labelRows.forEach((labelRow, i) => {
    targets[rows[0][i]] = values[labelRow]
    if (folds) folds[rows[0][i]] = fold[labelRow]
  })
  return { encoded, targets, fold: folds ?? null, absent }
}

/** The entities with a known label. @throws {RangeError|SeqriskError} for labels that cannot be, before events are read */
async function knownOf(labels: LabelTable, signal?: AbortSignal): Promise<TextIndex> {
  await expectLabels(where, labels, signal)
  const { ids, values } = labels
  const known = new TextIndex()
  const pace = new Pace(signal)
  let count = 0
  for (let row = 0; row < ids.length; row++) {
    if (pace.isDue) await pace.rest()
    if (Number.isNaN(values[row])) continue
    known.set(ids[row], row)
    count++
  }
  if (count === 0) throw noEvents('check the name of the label')
  return known
}

function noEvents(advice: string): SeqriskError {
  return new SeqriskError('NO_COMMON_IDS', sentence(where, 'events of entities with a known label', 'none', advice))
}
