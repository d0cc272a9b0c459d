// How good fine-tuning is on entities that it never saw: fold by fold, each scored by a model of the others.

import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { Encoder } from '../../encoder/encoder.js'
import { digestOf } from '../../events/digest.js'
import type { EncodedEvents } from '../../events/encode.js'
import { giveUp } from '../../pretrain/checkpoint.js'
import { LOG, readJson } from '../../pretrain/finished_run.js'
import { type Spread, spread } from '../../report/metrics.js'
import { expectRange, SeqriskError, sentence } from '../../util/errors.js'
import { writeFileAtomic } from '../../util/files.js'
import { finetuneEncoded } from './finetune.js'
import { type Goal, goalOf, qualityOf, type ScoreQuality } from './goal.js'
import { expectAllParts, KeptParts, type StoredParts } from './kept_parts.js'
import type { FinetuneLog } from './log.js'
import { checkOptions, type FinetuneOptions } from './options.js'

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

/** Where an interrupted run keeps what it has, with `out`. */
export const FOLDS = 'folds.json'

/**
 * Cross-validates: for each fold, fine-tunes on the others and scores it. With `out`, finished folds are kept there, and
 * `resume` goes on behind them.
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
  checkOptions(options)
  const { signal, out, resume, restart: __, schema: _, ...rest } = options
  const { task, names, tests } = planFolds(encoded, targets, fold, options)
  const path = out === undefined ? null : join(out, FOLDS)
  await giveUp(options, [FOLDS])
  if (path !== null && !resume) await expectAllParts(path, tests.length)
  const fingerprint = path === null ? '' : await foldsDigest(encoded, targets, fold, options)
  const log = resume && out !== undefined ? await readJson<FinetuneLog>(join(out, LOG)) : null
  const kept = await KeptParts.open<FoldQuality>(path, fingerprint, resume === true, log?.folds)
  for (const [f, test] of tests.entries()) {
    if (f < kept.done.length) continue
    const own = targets.slice()
    for (const row of test) own[row] = Number.NaN
    const model = await finetuneEncoded(encoded, own, { ...rest, task, signal, resume: false })
    try {
      const scores = await model.scoreEncoded(encoded, test, { signal })
      const truth = Float64Array.from(test, row => targets[row])
      await kept.add({ fold: names[f], rows: test.length, ...(await qualityOf(model.goal, scores, truth, signal)) })
    } finally {
      model.dispose()
    }
  }
  const { done } = kept
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

/** Moves the folds of a run that has ended to its log. */
export async function archiveFolds(out: string): Promise<void> {
  const path = join(out, FOLDS)
  const folds = await readJson<StoredParts<FoldQuality>>(path)
  if (folds === null) return
  const log = await readJson<FinetuneLog>(join(out, LOG))
  await writeFileAtomic(join(out, LOG), `${JSON.stringify({ ...log, folds }, null, 2)}\n`)
  await rm(path)
}

interface FoldPlan {
  readonly task: Goal['task']
  /** Of the folds, ascending, and for each the entities with a label that it scores. */
  readonly names: readonly number[]
  readonly tests: readonly Int32Array[]
}

/** Who is scored in which fold. @throws as `finetuneFolds` does of labels and folds that nothing can be learnt from */
export function planFolds(
  encoded: EncodedEvents,
  targets: Float64Array,
  fold: Int32Array,
  options: FinetuneOptions,
): FoldPlan {
  expectRange(fold.length === targets.length, where, `${targets.length} folds, one for each label`, fold.length)
  const rows = Int32Array.from(targets.keys()).filter(row => !Number.isNaN(targets[row]))
  const { task, classes } = goalOf(targets, rows, options, encoded.ids)
  const names = [...new Set(rows.map(row => fold[row]))].sort((a, b) => a - b)
  expectRange(names.length >= 2, where, 'at least two folds', names.length)
  expectRange(names[0] >= 0, where, 'folds of 0 or more', names[0])
  const tests = names.map(name => rows.filter(row => fold[row] === name))
  for (const [f, test] of tests.entries()) expectLearnable(targets, rows, test, names[f], classes)
  return { task, names, tests }
}

/** A fold must have labels to tell apart, and leave others enough of each class to learn from. */
function expectLearnable(
  targets: Float64Array,
  rows: Int32Array,
  test: Int32Array,
  name: number,
  classes: readonly number[],
): void {
  if (test.every(row => targets[row] === targets[test[0]])) {
    const text = sentence(where, `labels of two values or more in fold ${name}`, targets[test[0]], 'use fewer folds')
    throw new SeqriskError('ONE_CLASS', text)
  }
  for (const value of classes) {
    const countIn = (some: Int32Array) => some.reduce((count, row) => count + Number(targets[row] === value), 0)
    const others = countIn(rows) - countIn(test)
    if (others >= 2) continue
    const expected = `two entities or more of class ${value} outside fold ${name}`
    throw new SeqriskError(
      'TOO_FEW_LABELS',
      sentence(where, expected, others, 'spread its entities over folds, or label more'),
    )
  }
}

async function foldsDigest(
  encoded: EncodedEvents,
  targets: Float64Array,
  fold: Int32Array,
  options: FinetuneOptions,
): Promise<string> {
  const { init, signal, device, onProgress, out, resume, restart, checkpointSeconds, schema, validation, ...plain } =
    options
  const arrays: ArrayBufferView[] = [targets, fold, validation instanceof Int32Array ? validation : new Int32Array(0)]
  let start: unknown
  if (init instanceof Encoder) for (const { value } of init.parameters) arrays.push(await value.read())
  else start = init
  const share = validation instanceof Int32Array ? null : validation
  return digestOf({ ...plain, share, start }, arrays, encoded, signal)
}
