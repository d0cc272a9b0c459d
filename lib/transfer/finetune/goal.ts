// What is learnt: classes or a number, how far off outputs are, and how good scores are.

import { auc, macroAucSteps } from '../../report/metrics.js'
import { expectRange, expectType, SeqriskError, sentence } from '../../util/errors.js'
import { inTurns, Pace } from '../../util/pace.js'
import type { FinetuneOptions, FinetuneTask } from './options.js'

const where = 'finetune'
/** More different whole numbers than these are a quantity. */
const MOST_AUTO_CLASSES = 20
const MOST_CLASSES = 1000
/** Rows whose scores are looked at between two turns of the event loop. */
const ROWS_PER_STEP = 4096

/** As it stands in config.json. */
export interface Goal {
  readonly task: FinetuneTask
  /** Labels of the classes, ascending; empty for regression. */
  readonly classes: readonly number[]
  /** Regression: what outputs are multiplied by, and what is added. */
  readonly mean: number
  readonly deviation: number
}

/** How well scores fit labels. */
export interface ScoreQuality {
  readonly metric: 'auc' | 'macroAuc' | 'r2'
  /** AUC; mean AUC of each class that occurs against the rest; share of the variance that is explained. High = good. */
  readonly score: number
  /** Log loss, or half the mean square in units of the variance that training saw. */
  readonly loss: number
  /** More than two classes. */
  readonly accuracy?: number
  /** Regression, in units of the label. */
  readonly rmse?: number
}

/** How many numbers the head gives per sequence. */
export function outputsOf({ task, classes }: Goal): number {
  return task === 'regression' ? 1 : classes.length
}

/** How many numbers a score has: a probability per class, but the one of the larger label where there are two. */
export function scoresOf({ task, classes }: Goal): number {
  return task === 'regression' || classes.length === 2 ? 1 : classes.length
}

/**
 * The goal behind labels.
 * @param rows  of `targets`, those that are used
 * @throws {RangeError} for labels that are not finite or too many classes
 * @throws {SeqriskError} codes `ONE_CLASS`, `TOO_FEW_LABELS`
 */
export function goalOf(
  targets: Float64Array,
  rows: Int32Array,
  options: FinetuneOptions,
  ids: readonly string[],
): Goal {
  const values = new Float64Array(rows.length)
  const counts = new Map<number, number>()
  for (let i = 0; i < rows.length; i++) {
    const value = targets[rows[i]]
    if (!Number.isFinite(value)) expectRange(false, where, `a finite label of '${ids[rows[i]]}'`, value)
    values[i] = value
    counts.set(value, (counts.get(value) ?? 0) + 1)
  }
  if (rows.length < 2) throw tooFew('labels of two entities or more', rows.length)
  const isClasses = counts.size <= MOST_AUTO_CLASSES && [...counts.keys()].every(Number.isInteger)
  const { task = 'auto' } = options
  if (counts.size < 2) throw oneClass(values[0])
  if (task === 'regression' || (task === 'auto' && !isClasses)) {
    expectType(options.classWeights === undefined, where, 'no classWeights with regression', options.classWeights)
    const mean = values.reduce((sum, value) => sum + value, 0) / values.length
    const variance = values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / values.length
    const deviation = Math.sqrt(variance)
    expectRange(Number.isFinite(deviation) && deviation > 0, where, 'labels of a finite variance', variance)
    return { task: 'regression', classes: [], mean, deviation }
  }
  const advice = "say task: 'regression', or cut the label into classes"
  expectRange(counts.size <= MOST_CLASSES, where, `at most ${MOST_CLASSES} classes`, counts.size, advice)
  for (const [value, count] of counts) if (count < 2) throw tooFew(`two entities or more of class ${value}`, count)
  return { task: 'classification', classes: [...counts.keys()].sort((a, b) => a - b), mean: 0, deviation: 1 }
}

/** Entities whose label is known. @param targets  NaN where it is not */
export function rowsWithLabel(targets: Float64Array): Int32Array {
  const rows = new Int32Array(targets.length)
  let count = 0
  for (let row = 0; row < targets.length; row++) if (!Number.isNaN(targets[row])) rows[count++] = row
  return rows.slice(0, count)
}

/**
 * Looks at labels before the events are read that they belong to: what is wrong with all of them is wrong with any.
 * @param values  NaN where unknown
 * @throws {RangeError} for an infinite label  @throws {SeqriskError} code `ONE_CLASS`
 */
export function expectTwoValues(ids: readonly string[], values: Float64Array): void {
  const known = values.filter(value => !Number.isNaN(value))
  const infinite = values.findIndex(value => Math.abs(value) === Number.POSITIVE_INFINITY)
  if (infinite >= 0) expectRange(false, where, `a finite label of '${ids[infinite]}'`, values[infinite])
  if (known.length > 1 && known.every(value => value === known[0])) throw oneClass(known[0])
}

function oneClass(value: number): SeqriskError {
  const text = sentence(where, 'labels of two values or more', value, 'a constant tells nothing')
  return new SeqriskError('ONE_CLASS', text)
}

function tooFew(expected: string, received: number): SeqriskError {
  return new SeqriskError('TOO_FEW_LABELS', sentence(where, expected, received, 'label more'))
}

/** What the device learns from: the number of the class, or the label in deviations from the mean; −1, NaN if unknown. */
export function deviceTargets({ task, classes, mean, deviation }: Goal, targets: Float64Array): Float64Array {
  if (task === 'regression') return targets.map(value => (value - mean) / deviation)
  const place = new Map(classes.map((value, c) => [value, c]))
  return targets.map(value => place.get(value) ?? -1)
}

/** One weight per class, with a mean of 1 over the rows; null where all are 1. */
export function classWeightsOf(
  goal: Goal,
  learnt: Float64Array,
  rows: Int32Array,
  { classWeights = 'none' }: FinetuneOptions,
): Float64Array | null {
  if (goal.task === 'regression' || classWeights === 'none') return null
  const count = goal.classes.length
  if (classWeights !== 'balanced') {
    const fits = Array.isArray(classWeights) && classWeights.length === count
    expectRange(fits, where, `classWeights 'balanced', 'none' or ${count} numbers`, classWeights)
    const arePositive = classWeights.every(weight => Number.isFinite(weight) && weight > 0)
    expectRange(arePositive, where, 'classWeights above 0', classWeights)
    const total = rows.reduce((sum, row) => sum + classWeights[learnt[row]], 0)
    return Float64Array.from(classWeights, weight => (weight * rows.length) / total)
  }
  const counts = new Float64Array(count)
  for (const row of rows) counts[learnt[row]]++
  return counts.map(own => rows.length / (count * own))
}

/** Scores out of outputs, in place: softmax, or back to the label's units. (rows, outputs) to (rows, scores) */
export async function finishScores(goal: Goal, outputs: Float32Array, pace: Pace): Promise<Float64Array> {
  const { task, classes, mean, deviation } = goal
  if (task === 'regression') return Float64Array.from(outputs, value => mean + deviation * value)
  const count = classes.length
  const rows = outputs.length / count
  const width = scoresOf(goal)
  const scores = new Float64Array(rows * width)
  const row = new Float64Array(count)
  for (let r = 0; r < rows; r++) {
    let largest = Number.NEGATIVE_INFINITY
    for (let c = 0; c < count; c++) largest = Math.max(largest, outputs[r * count + c])
    let total = 0
    for (let c = 0; c < count; c++) {
      row[c] = Math.exp(outputs[r * count + c] - largest)
      total += row[c]
    }
    if (width === 1) scores[r] = row[1] / total
    else for (let c = 0; c < count; c++) scores[r * count + c] = row[c] / total
    if (r % ROWS_PER_STEP === 0) await pace.turn()
  }
  return scores
}

/**
 * How good scores are.
 * @param scores   (rows, scores) as `finishScores` gives them
 * @param targets  the labels of these rows
 */
export async function qualityOf(
  goal: Goal,
  scores: Float64Array,
  targets: Float64Array,
  signal?: AbortSignal,
): Promise<ScoreQuality> {
  const pace = new Pace(signal)
  if (goal.task === 'regression') return regressionQuality(goal, scores, targets)
  const { classes } = goal
  const place = new Map(classes.map((value, c) => [value, c]))
  const truth = Int32Array.from(targets, value => place.get(value) ?? -1)
  expectRange(!truth.includes(-1), where, `labels of the classes ${classes.join(', ')}`, 'another label')
  const count = classes.length
  let loss = 0
  for (let r = 0; r < truth.length; r++) {
    const own = count === 2 ? (truth[r] === 1 ? scores[r] : 1 - scores[r]) : scores[r * count + truth[r]]
    loss -= Math.log(Math.max(own, 1e-15))
    if (r % ROWS_PER_STEP === 0) await pace.turn()
  }
  loss /= truth.length
  if (count === 2) return { metric: 'auc', score: auc(scores, truth), loss }
  let hits = 0
  for (let r = 0; r < truth.length; r++) {
    let best = 0
    for (let c = 1; c < count; c++) if (scores[r * count + c] > scores[r * count + best]) best = c
    if (best === truth[r]) hits++
  }
  await pace.turn()
  const score = await inTurns(macroAucSteps(scores, truth, count), signal)
  return { metric: 'macroAuc', score, loss, accuracy: hits / truth.length }
}

function regressionQuality({ deviation }: Goal, scores: Float64Array, targets: Float64Array): ScoreQuality {
  const n = targets.length
  const mean = targets.reduce((sum, value) => sum + value, 0) / n
  let residual = 0
  let total = 0
  for (let r = 0; r < n; r++) {
    residual += (scores[r] - targets[r]) ** 2
    total += (targets[r] - mean) ** 2
  }
  expectRange(total > 0, where, 'labels that differ', mean, 'R² is not defined for equal ones')
  return {
    metric: 'r2',
    score: 1 - residual / total,
    loss: residual / n / deviation ** 2 / 2,
    rmse: Math.sqrt(residual / n),
  }
}
