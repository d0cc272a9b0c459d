// How good fine-tuning is on entities that it never saw: fold by fold, each scored by a model of the others.

import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { Encoder } from '../../encoder/encoder.js'
import { digestOf } from '../../events/digest.js'
import type { EncodedEvents } from '../../events/encode.js'
import { giveUp, hasWork, unfinished } from '../../pretrain/checkpoint.js'
import { anotherRun, LOG, readJson } from '../../pretrain/finished_run.js'
import { type Spread, spread } from '../../report/metrics.js'
import { Device, quiet } from '../../runtime/device.js'
import { expectRange, SeqriskError, sentence } from '../../util/errors.js'
import { isThere } from '../../util/files.js'
import { inTurns, type Steps } from '../../util/pace.js'
import { ROWS_PER_STEP } from '../folds.js'
import { finetuneEncoded } from './finetune.js'
import { type Goal, goalOf, qualityOf, rowsWithLabel, type ScoreQuality } from './goal.js'
import { expectAllParts, KeptParts, type StoredParts } from './kept_parts.js'
import type { FinetuneLog } from './log.js'
import { checkOptions, type FinetuneOptions } from './options.js'
import { CROSS, FOLD_RUNS, FOLDS } from './run_files.js'
import { amongRuns } from './run_progress.js'

const where = 'finetune'

/** How good the model of one fold is on users that it never saw. */
export interface FoldQuality extends ScoreQuality {
  readonly fold: number
  /** Entities that were scored. */
  readonly rows: number
}

/** How good fine-tuning is over folds. */
export interface FoldsResult {
  readonly metric: ScoreQuality['metric']
  /** Of the score, over folds. */
  readonly score: Spread
  readonly loss: Spread
  /** More than two classes. */
  readonly accuracy?: Spread
  /** Regression. */
  readonly rmse?: Spread
  readonly folds: readonly FoldQuality[]
}

/**
 * Cross-validates: for each fold, fine-tunes on the others and scores it. With `out`, finished folds are kept there, and
 * checkpoints of the one that is under way: `resume` goes on from both.
 * @throws {SeqriskError} codes `ONE_CLASS` and `TOO_FEW_LABELS`, which name the fold, before any is learnt; `RUN_UNFINISHED` where
 * `out` holds some of the folds, without `resume` or `restart`
 * @param targets  one label per entity; NaN = not used
 * @param fold     the fold that each entity is scored in, 0 or more
 */
export async function finetuneFolds(
  encoded: EncodedEvents,
  targets: Float64Array,
  fold: Int32Array,
  options: FinetuneOptions,
): Promise<FoldsResult> {
  return (await scoreFolds(encoded, targets, fold, options, false)).result
}

/** What folds tell, and how it is kept. */
export interface ScoredFolds {
  readonly result: FoldsResult
  readonly stored: StoredParts<FoldQuality>
}

/**
 * The same.
 * @param isFirst  whether the model itself is trained in `out` behind them, about as long as for a fold
 * @throws {SeqriskError} code `CHECKPOINT_MISMATCH` where `out` has the model of another run, which the call resumes
 */
export async function scoreFolds(
  encoded: EncodedEvents,
  targets: Float64Array,
  fold: Int32Array,
  options: FinetuneOptions,
  isFirst: boolean,
): Promise<ScoredFolds> {
  checkOptions(options)
  const { init, signal, out, resume } = options
  const { task, names, tests } = await inTurns(planSteps(encoded, targets, fold, options), signal)
  await giveUp(options, [FOLDS, FOLD_RUNS])
  if (out !== undefined && !resume) {
    await expectNoFolds(out, tests.length)
    // All folds of a run that has ended.
    await rm(join(out, FOLDS), { force: true })
  }
  const isOwn = options.device === undefined && !(init instanceof Encoder)
  // One for all folds: scores of one kernel beside those of another would make one mean.
  const device = options.device ?? (init instanceof Encoder ? init.device : new Device())
  try {
    const fingerprint = out === undefined ? '' : await foldsDigest(encoded, targets, fold, options, device)
    const path = out === undefined ? null : join(out, FOLDS)
    const ended = await endedFolds(options, fingerprint, isFirst)
    const kept = await KeptParts.open<FoldQuality>(path, fingerprint, resume === true, ended)
    for (const [f, test] of tests.entries()) {
      const run = out === undefined ? undefined : join(out, FOLD_RUNS, String(names[f]))
      if (f >= kept.done.length) {
        const own = targets.slice()
        for (const row of test) own[row] = Number.NaN
        const place = { fold: f + 1, folds: tests.length }
        const onProgress = amongRuns(options.onProgress, f, tests.length + Number(isFirst), place)
        // What an interrupted call left of this fold is in that folder, which says whose it is.
        const resumed = run !== undefined
        const call = { ...options, task, device, onProgress, out: run, resume: resumed, restart: false }
        const model = await finetuneEncoded(encoded, own, call)
        try {
          const scores = await model.scoreEncoded(encoded, test, { signal })
          const truth = Float64Array.from(test, row => targets[row])
          const quality = await qualityOf(model.goal, scores, truth, signal)
          await kept.add({ fold: names[f], rows: test.length, ...quality })
        } finally {
          model.dispose()
        }
      }
      if (run !== undefined) await rm(run, { force: true, recursive: true })
    }
    if (out !== undefined) await rm(join(out, FOLD_RUNS), { force: true, recursive: true })
    return { result: summary(kept.done), stored: kept.stored }
  } finally {
    // Closing waits for the op that runs, and holds the event loop meanwhile.
    if (isOwn) await quiet(device)
    if (isOwn) device.close()
  }
}

function summary(done: readonly FoldQuality[]): FoldsResult {
  const over = (pick: (one: FoldQuality) => number | undefined) => spread(done.map(one => pick(one)!))
  const [{ metric, accuracy, rmse }] = done
  return {
    metric,
    score: over(one => one.score),
    loss: over(one => one.loss),
    ...(accuracy !== undefined && { accuracy: over(one => one.accuracy) }),
    ...(rmse !== undefined && { rmse: over(one => one.rmse) }),
    folds: done,
  }
}

/** Refuses a folder with some of the folds of a run that did not end. @throws {SeqriskError} code `RUN_UNFINISHED` */
async function expectNoFolds(out: string, folds: number): Promise<void> {
  await expectAllParts(join(out, FOLDS), folds)
  const runs = join(out, FOLD_RUNS)
  if (await isThere(runs)) throw unfinished(where, runs)
}

/** The folds of a run that has ended in `out`, where a call resumes it; refuses the model of another before any fold is learnt. */
async function endedFolds(
  { out, resume }: FinetuneOptions,
  fingerprint: string,
  isFirst: boolean,
): Promise<StoredParts<FoldQuality> | undefined> {
  if (out === undefined || !resume || (await hasWork(out, [CROSS, FOLDS, FOLD_RUNS]))) return undefined
  const folds = (await readJson<FinetuneLog>(join(out, LOG)))?.folds
  if (folds?.fingerprint === fingerprint) return folds
  if (isFirst && (await isThere(join(out, 'config.json')))) throw anotherRun(where, out)
  return undefined
}

interface FoldPlan {
  readonly task: Goal['task']
  /** Of the folds, ascending, and for each the entities with a label that it scores. */
  readonly names: readonly number[]
  readonly tests: readonly Int32Array[]
}

/** Who is scored in which fold, in short steps. @throws as `finetuneFolds` does of labels and folds that nothing can be learnt from */
export function* planSteps(
  encoded: EncodedEvents,
  targets: Float64Array,
  fold: Int32Array,
  options: FinetuneOptions,
): Steps<FoldPlan> {
  expectRange(fold.length === targets.length, where, `${targets.length} folds, one for each label`, fold.length)
  const rows = rowsWithLabel(targets)
  const { task, classes } = goalOf(targets, rows, options, encoded.ids)
  const sizes = new Map<number, number>()
  for (const [i, row] of rows.entries()) {
    if (i % ROWS_PER_STEP === 0) yield
    sizes.set(fold[row], (sizes.get(fold[row]) ?? 0) + 1)
  }
  const names = [...sizes.keys()].sort((a, b) => a - b)
  expectRange(names.length >= 2, where, 'at least two folds', names.length)
  expectRange(names[0] >= 0, where, 'folds of 0 or more', names[0])
  const tests = names.map(name => new Int32Array(sizes.get(name)!))
  const place = new Map(names.map((name, f) => [name, f]))
  const filled = new Int32Array(names.length)
  /** Per value of a class its rows in all, and in each fold. */
  const counts = new Map(classes.map(value => [value, { all: 0, inFold: new Int32Array(names.length) }]))
  for (const [i, row] of rows.entries()) {
    if (i % ROWS_PER_STEP === 0) yield
    const f = place.get(fold[row])!
    tests[f][filled[f]++] = row
    const own = counts.get(targets[row])
    if (!own) continue
    own.all++
    own.inFold[f]++
  }
  for (const [f, test] of tests.entries()) {
    yield
    if (test.every(row => targets[row] === targets[test[0]])) {
      const expected = `labels of two values or more in fold ${names[f]}`
      throw new SeqriskError('ONE_CLASS', sentence(where, expected, targets[test[0]], 'use fewer folds'))
    }
    for (const [value, { all, inFold }] of counts) {
      const others = all - inFold[f]
      if (others >= 2) continue
      const expected = `two entities or more of class ${value} outside fold ${names[f]}`
      const advice = 'spread its entities over folds, or label more'
      throw new SeqriskError('TOO_FEW_LABELS', sentence(where, expected, others, advice))
    }
  }
  return { task, names, tests }
}

async function foldsDigest(
  encoded: EncodedEvents,
  targets: Float64Array,
  fold: Int32Array,
  options: FinetuneOptions,
  { variant }: Device,
): Promise<string> {
  const {
    init,
    signal,
    device: _,
    onProgress,
    out,
    resume,
    restart,
    checkpointSeconds,
    schema,
    validation,
    ...plain
  } = options
  const arrays: ArrayBufferView[] = [targets, fold, validation instanceof Int32Array ? validation : new Int32Array(0)]
  let start: unknown
  if (init instanceof Encoder) for (const { value } of init.parameters) arrays.push(await value.read())
  else start = init
  const share = validation instanceof Int32Array ? null : validation
  return digestOf({ ...plain, share, start, variant }, arrays, encoded, signal)
}
