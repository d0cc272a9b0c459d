// Quality of scores and predictions. Every function refuses NaN and empty input: a silent score is worse than none.

import { expectRange } from '../util/errors.js'
import { atOnce, type Steps } from '../util/pace.js'

/** Rows that are walked between two looks at the clock: less than a millisecond. */
const ROWS_PER_STEP = 16_384

/** Mean and deviation of a quality over folds. */
export interface Spread {
  readonly mean: number
  /** Population standard deviation (divided by n), 0 for one value. */
  readonly sd: number
}

/**
 * Area under the ROC curve: the probability that a positive scores above a negative, ties counted as one half.
 * Exact, O(n log n).
 * @param scores   n values, high = positive; infinities are allowed
 * @param targets  n values of 0 or 1, both present
 */
export function auc(scores: ArrayLike<number>, targets: ArrayLike<number>): number {
  return atOnce(aucSteps(scores, targets))
}

/** The same in short steps, but for two native sorts. */
export function* aucSteps(scores: ArrayLike<number>, targets: ArrayLike<number>): Steps<number> {
  const [positives, negatives] = yield* splitByTarget('auc', scores, targets)
  expectRange(positives.length > 0 && negatives.length > 0, 'auc', 'positives and negatives', [
    positives.length,
    negatives.length,
  ])
  return yield* sortedAucSteps(positives, negatives)
}

/** The same of scores that are sorted upwards, of positives and of negatives. */
export function* sortedAucSteps(positives: Float64Array, negatives: Float64Array): Steps<number> {
  // Twice the Mann-Whitney U statistic is an integer, so the sum is exact.
  let twice = 0
  let below = 0
  let notAbove = 0
  for (let i = 0; i < positives.length; i++) {
    if (i % ROWS_PER_STEP === 0) yield
    while (below < negatives.length && negatives[below] < positives[i]) below++
    if (notAbove < below) notAbove = below
    while (notAbove < negatives.length && negatives[notAbove] <= positives[i]) notAbove++
    twice += below + notAbove
  }
  return twice / (2 * positives.length * negatives.length)
}

/**
 * Average precision: Σ (recall step) · precision at the end of the step; equal scores form one step.
 * @param scores   n values, high = positive
 * @param targets  n values of 0 or 1, at least one 1
 */
export function averagePrecision(scores: ArrayLike<number>, targets: ArrayLike<number>): number {
  const [positives, negatives] = atOnce(splitByTarget('averagePrecision', scores, targets))
  expectRange(positives.length > 0, 'averagePrecision', 'at least one positive', 0)
  return atOnce(averagePrecisionSteps(positives, negatives))
}

/** The same of scores that are sorted upwards, of positives and of negatives. */
export function* averagePrecisionSteps(positives: Float64Array, negatives: Float64Array): Steps<number> {
  let sum = 0
  let negativesLeft = negatives.length
  let end = positives.length
  for (let step = 0; end > 0; step++) {
    if (step % ROWS_PER_STEP === 0) yield
    const score = positives[end - 1]
    let start = end
    while (start > 0 && positives[start - 1] === score) start--
    while (negativesLeft > 0 && negatives[negativesLeft - 1] >= score) negativesLeft--
    const hits = positives.length - start
    const reported = hits + negatives.length - negativesLeft
    sum += ((end - start) * hits) / reported
    end = start
  }
  return sum / positives.length
}

/** Share of equal entries of `predicted` and `truth`. */
export function accuracy(predicted: ArrayLike<number>, truth: ArrayLike<number>): number {
  expectPairs('accuracy', predicted, truth)
  let hits = 0
  for (let i = 0; i < truth.length; i++) {
    const hasNaN = Number.isNaN(predicted[i]) || Number.isNaN(truth[i])
    if (hasNaN) expectRange(false, 'accuracy', `numbers in row ${i}`, Number.NaN)
    if (predicted[i] === truth[i]) hits++
  }
  return hits / truth.length
}

/**
 * Macro one-against-rest AUC: the plain mean over the classes that occur beside others.
 * @param scores  (n, classes) row by row, high = that class
 * @param truth   n class numbers in [0, classes), at least two different ones
 */
export function macroAuc(scores: ArrayLike<number>, truth: ArrayLike<number>, classes: number): number {
  return atOnce(macroAucSteps(scores, truth, classes))
}

/** The same in short steps, as `aucSteps`. */
export function* macroAucSteps(scores: ArrayLike<number>, truth: ArrayLike<number>, classes: number): Steps<number> {
  const n = truth.length
  expectRange(n > 0, 'macroAuc', 'at least one row', n)
  expectRange(scores.length === n * classes, 'macroAuc', `${n * classes} scores`, scores.length)
  const counts = new Float64Array(classes)
  for (let i = 0; i < n; i++) {
    if (i % ROWS_PER_STEP === 0) yield
    expectClass('macroAuc', truth[i], classes, i)
    counts[truth[i]]++
  }
  const present = counts.filter(count => count > 0).length
  expectRange(present > 1, 'macroAuc', 'at least two classes', present)
  const column = new Float64Array(n)
  const isClass = new Uint8Array(n)
  let sum = 0
  let scored = 0
  for (let c = 0; c < classes; c++) {
    if (counts[c] === 0) continue
    for (let i = 0; i < n; i++) {
      if (i % ROWS_PER_STEP === 0) yield
      column[i] = scores[i * classes + c]
      isClass[i] = truth[i] === c ? 1 : 0
    }
    sum += yield* aucSteps(column, isClass)
    scored++
  }
  return sum / scored
}

/** Mean and population standard deviation. */
export function spread(values: readonly number[]): Spread {
  expectRange(values.length > 0, 'spread', 'at least one value', 0)
  expectRange(values.every(Number.isFinite), 'spread', 'finite values', values)
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length
  const variance = values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / values.length
  return { mean, sd: Math.sqrt(variance) }
}

/** The scores of the positives and of the negatives, each sorted upwards. */
function* splitByTarget(
  where: string,
  scores: ArrayLike<number>,
  targets: ArrayLike<number>,
): Steps<[positives: Float64Array, negatives: Float64Array]> {
  expectPairs(where, scores, targets)
  let count = 0
  for (let i = 0; i < targets.length; i++) {
    if (i % ROWS_PER_STEP === 0) yield
    if (targets[i] !== 0 && targets[i] !== 1) expectRange(false, where, `target ${i} to be 0 or 1`, targets[i])
    if (Number.isNaN(scores[i])) expectRange(false, where, `score ${i} to be a number`, scores[i])
    count += targets[i]
  }
  const positives = new Float64Array(count)
  const negatives = new Float64Array(targets.length - count)
  let p = 0
  let q = 0
  for (let i = 0; i < targets.length; i++) {
    if (i % ROWS_PER_STEP === 0) yield
    if (targets[i] === 1) positives[p++] = scores[i]
    else negatives[q++] = scores[i]
  }
  yield
  positives.sort()
  yield
  return [positives, negatives.sort()]
}

function expectPairs(where: string, a: ArrayLike<number>, b: ArrayLike<number>): void {
  expectRange(a.length === b.length, where, `${a.length} targets, one for each score,`, b.length)
  expectRange(a.length > 0, where, 'at least one row', 0)
}

function expectClass(where: string, value: number, classes: number, row: number): void {
  if (Number.isInteger(value) && value >= 0 && value < classes) return
  expectRange(false, where, `class of row ${row} in [0, ${classes})`, value)
}

/** Spearman's rank correlation; equal values share their rank. NaN where one side is constant. */
export function rankCorrelation(a: ArrayLike<number>, b: ArrayLike<number>): number {
  expectRange(a.length > 1 && a.length === b.length, 'rankCorrelation', 'two lists of one length ≥ 2', [
    a.length,
    b.length,
  ])
  const x = midRanks(a)
  const y = midRanks(b)
  let xy = 0
  let xx = 0
  let yy = 0
  for (let i = 0; i < x.length; i++) {
    xy += x[i] * y[i]
    xx += x[i] * x[i]
    yy += y[i] * y[i]
  }
  return xy / Math.sqrt(xx * yy)
}

/** Ranks around 0. */
function midRanks(values: ArrayLike<number>): Float64Array {
  for (let i = 0; i < values.length; i++) {
    if (Number.isNaN(values[i])) expectRange(false, 'rankCorrelation', `value ${i} to be a number`, values[i])
  }
  const order = Array.from({ length: values.length }, (_, i) => i).sort((i, j) => values[i] - values[j])
  const ranks = new Float64Array(values.length)
  for (let begin = 0; begin < order.length; ) {
    let end = begin
    while (end < order.length && values[order[end]] === values[order[begin]]) end++
    for (let i = begin; i < end; i++) ranks[order[i]] = (begin + end - order.length) / 2
    begin = end
  }
  return ranks
}
