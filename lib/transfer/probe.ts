// How much vectors know of a label: a model on them, on hand-made features, and on both, over folds.

import { type Spread, spread } from '../report/metrics.js'
import { Device } from '../runtime/device.js'
import { expectOptions, expectRange } from '../util/errors.js'
import { inTurns } from '../util/pace.js'
import { BoostedLearner } from './boosted_learner.js'
import type { Judged, Problem } from './learner.js'
import type { Block } from './linear/scaling.js'
import { LinearLearner } from './linear_learner.js'
import { budgetSteps, problemSteps } from './problem.js'
import { columnsOf, join, type LabelTable, type Table } from './tables.js'

/** What is fitted. */
export type Learner = 'linear' | 'gbrt'
/** What a model is fitted on. */
export type FeatureSet = 'vectors' | 'features' | 'both'

/** Where a probe stands. */
export interface ProbeProgress {
  /** Share of the work done, 0 … 1. */
  readonly fraction: number
  readonly set: FeatureSet
  /** Number of training labels, or none when all are used. */
  readonly budget?: number
}

/** What `probe` can be told. */
export interface ProbeOptions {
  readonly vectors: Table
  /** Hand-made features to compare with and to add to. NaN is a missing value. */
  readonly features?: Table | undefined
  /** With `fold`, entities are tested in the fold that it says; else folds are drawn, stratified by class. */
  readonly labels: LabelTable
  /** Name of the label in the result. */
  readonly label?: string | undefined
  /** Number of folds to draw. Default 5. Not together with `labels.fold`. */
  readonly folds?: number | undefined
  /** Also learn from so many labels only, drawn from each training part, stratified. */
  readonly budgets?: readonly number[] | undefined
  /** Draws per fold and budget. Default 5. */
  readonly draws?: number | undefined
  /**
   * Default `linear`: L2-regularised logistic regression, its strength chosen inside the training part. `gbrt`: boosted
   * trees, their number chosen likewise.
   */
  readonly learner?: Learner | undefined
  /** Also return the score of each entity by the model of the fold that tested it. Two classes only. Default false. */
  readonly scores?: boolean | undefined
  /** Default 0. */
  readonly seed?: number | undefined
  /** Where to compute. Default: a device of its own for the call. */
  readonly device?: Device | undefined
  readonly signal?: AbortSignal | undefined
  /** Called between pieces of the work. */
  readonly onProgress?: ((progress: ProbeProgress) => void) | undefined
}

/** Quality of each feature set, mean ± deviation over folds (and draws). */
export type SetResults = { readonly [set in FeatureSet]?: Spread } & { readonly vectors: Spread }

/** What is learnt from few labels. */
export interface BudgetResult {
  readonly labels: number
  readonly results: SetResults
  readonly macroAuc?: SetResults
}

/** How much each table knows of a label. */
export interface ProbeResult {
  readonly label: string
  /** Area under the ROC curve for two classes, accuracy for more. */
  readonly metric: 'auc' | 'accuracy'
  readonly learner: Learner
  /** Entities with a known label in every table. */
  readonly rows: number
  readonly folds: number
  readonly results: SetResults
  /** More than two classes: one-against-rest AUC, mean over the classes that a fold's test part has. */
  readonly macroAuc?: SetResults
  readonly budgets?: readonly BudgetResult[]
  /** With `scores`: entities and their out-of-fold scores. Those of different folds come from different models. */
  readonly scores?: HeldScores
  /** Entities with a known label that a table lacks; left out only when there are some. */
  readonly absent?: number
}

/** Scores of rows by models that did not see them. */
export interface HeldScores {
  readonly ids: readonly string[]
  /** 0 or 1, by the order of the label's values. */
  readonly truth: Int32Array
  readonly sets: { readonly [set in FeatureSet]?: Float64Array }
}

const where = 'probe'
const learners = { linear: LinearLearner, gbrt: BoostedLearner }
/**
 * Vectors beside features: on the same scale, and with weights that cost sixteen times as much, for what few labels can
 * learn from vectors is less than from features that somebody thought of. The validation loss inside the training part decides.
 */
const emphases = [1, 1 / 4]

/**
 * Probes vectors for a label. Entities are joined by id; those with an unknown label are skipped. The columns' scales are
 * learnt from all joined entities, as they see no label; strength and weights from the training part of each fold.
 * @throws {RangeError} for values that are not finite, ids that repeat, sizes or budgets that do not fit
 * @throws {SeqriskError} codes `NO_COMMON_IDS`, `ONE_CLASS`
 */
export async function probe(options: ProbeOptions): Promise<ProbeResult> {
  const { vectors, features, labels, label = 'label', learner = 'linear', seed = 0, signal } = checked(options)
  const columns = [await columnsOf(where, 'vectors', vectors, false, signal)]
  if (features) columns.push(await columnsOf(where, 'features', features, true, signal))
  const joined = await join(where, labels, features ? [vectors, features] : [vectors], signal)
  const problem = await inTurns(problemSteps(joined.labelRows, options), signal)
  const fits = !options.scores || problem.count === 2
  expectRange(fits, where, 'two classes with scores', problem.count, 'leave scores out')
  const [own, made] = columns.map((columns, t): Block => ({ columns, rows: joined.rows[t] }))
  const sets: { set: FeatureSet; choices: Block[][] }[] = [{ set: 'vectors', choices: [[own]] }]
  if (features) {
    sets.push({ set: 'features', choices: [[made]] })
    // Trees do not care for scale.
    const both = learner === 'gbrt' ? [1] : emphases
    sets.push({ set: 'both', choices: both.map(emphasis => [made, { ...own, emphasis }]) })
  }
  const budgets = options.budgets ?? []
  const draws: Int32Array[][][] = []
  for (const [b, size] of budgets.entries()) {
    draws.push(await inTurns(budgetSteps(problem, size, options.draws ?? 5, seed, b), signal))
  }
  const device = options.device ?? new Device()
  const runs = sets.reduce((sum, { choices }) => sum + choices.length, 0)
  const report = progressOf(options, runs, budgets.length)
  const qualities: Record<string, Judged[][]> = {}
  try {
    for (const { set, choices } of sets) {
      for (const blocks of choices) {
        const own = await learners[learner].build(device, blocks, problem, signal)
        try {
          const found = [await own.folds({ signal, onProgress: report(set) })]
          for (let b = 0; b < budgets.length; b++) {
            found.push(await own.draws(draws[b], { signal, onProgress: report(set, b) }))
          }
          const before = qualities[set]
          qualities[set] = before ? before.map((own, b) => own.map((one, i) => better(one, found[b][i]))) : found
        } finally {
          own.dispose()
        }
      }
    }
  } finally {
    if (!options.device) device.close()
  }
  const results = (b: number, key: 'score' | 'macroAuc') =>
    Object.fromEntries(
      sets.map(({ set }) => [set, spread(qualities[set][b].map(quality => quality[key]!))]),
    ) as SetResults
  const many = problem.count > 2
  const all = (b: number) => ({
    results: results(b, 'score'),
    ...(many && { macroAuc: results(b, 'macroAuc') }),
  })
  return {
    label,
    metric: many ? 'accuracy' : 'auc',
    learner,
    rows: joined.ids.length,
    folds: problem.folds.length,
    ...all(0),
    ...(budgets.length > 0 && { budgets: budgets.map((size, b) => ({ labels: size, ...all(b + 1) })) }),
    ...(options.scores && { scores: heldScores(joined.ids, problem, qualities) }),
    ...(joined.absent > 0 && { absent: joined.absent }),
  }
}

/** Scores of test parts, put back in the order of the entities. */
function heldScores(ids: readonly string[], { folds, classes }: Problem, found: Record<string, Judged[][]>) {
  const whole = ([set, [judged]]: [string, Judged[][]]) => {
    const scores = new Float64Array(ids.length)
    folds.forEach(({ test }, f) => {
      test.forEach((row, i) => {
        scores[row] = judged[f].held![i]
      })
    })
    return [set, scores]
  }
  return { ids, truth: classes, sets: Object.fromEntries(Object.entries(found).map(whole)) }
}

function checked(options: ProbeOptions): ProbeOptions {
  const known = [
    'vectors',
    'features',
    'labels',
    'label',
    'folds',
    'budgets',
    'draws',
    'learner',
    'scores',
    'seed',
    'device',
  ]
  expectOptions(where, options, [...known, 'signal', 'onProgress'])
  const { learner = 'linear', labels, folds, draws = 5, signal } = options
  signal?.throwIfAborted()
  expectRange(Object.hasOwn(learners, learner), where, "learner 'linear' or 'gbrt'", learner)
  const isDouble = labels.fold !== undefined && folds !== undefined
  expectRange(!isDouble, where, 'no number of folds beside a fold column', folds, 'leave one of them out')
  expectRange(Number.isInteger(draws) && draws >= 1, where, 'draws to be a whole number ≥ 1', draws)
  return options
}

/** The first unless the second was seen to be better. */
function better(first: Judged, second: Judged): Judged {
  return first.loss !== null && second.loss !== null && second.loss < first.loss ? second : first
}

/** Turns the progress of single fits into that of the whole: a budget counts as a third of a fit on all labels. */
function progressOf({ onProgress, budgets = [] }: ProbeOptions, sets: number, budgetCount: number) {
  const perSet = 1 + budgetCount / 3
  let before = 0
  return (set: FeatureSet, budget?: number) => {
    const share = (budget === undefined ? 1 : 1 / 3) / (perSet * sets)
    const start = before
    before += share
    return (done: number) => {
      const fraction = Math.min(1, start + share * done)
      onProgress?.({ fraction, set, ...(budget !== undefined && { budget: budgets[budget] }) })
    }
  }
}
