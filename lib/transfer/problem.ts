// A label as a problem: classes, folds and label budgets.

import { expectRange, SeqriskError, sentence } from '../util/errors.js'
import { atOnce, type Steps } from '../util/pace.js'
import { Philox } from '../util/philox.js'
import { partOfSteps, ROWS_PER_STEP, stratifiedSteps } from './folds.js'
import { type Problem, streams } from './learner.js'
import type { LabelTable } from './tables.js'

const where = 'probe'
const mostClasses = 100

export interface ProblemOptions {
  readonly labels: LabelTable
  /** Number of folds to draw where the labels name none. Default 5. */
  readonly folds?: number
  readonly seed?: number
}

/**
 * Classes and folds of joined rows.
 * @param labelRows  rows of the labels, as `join` gives them
 * @throws {RangeError} for labels or folds that cannot be
 * @throws {SeqriskError} code `ONE_CLASS`
 */
export function poseProblem(labelRows: Int32Array, options: ProblemOptions): Problem {
  return atOnce(problemSteps(labelRows, options))
}

/** The same in short steps. */
export function* problemSteps(
  labelRows: Int32Array,
  { labels, folds: foldCount = 5, seed = 0 }: ProblemOptions,
): Steps<Problem> {
  const { length } = labelRows
  const found = new Set<number>()
  for (let row = 0; row < length; row++) {
    if (row % ROWS_PER_STEP === 0) yield
    found.add(labels.values[labelRows[row]])
  }
  const distinct = [...found].sort((a, b) => a - b)
  expectRange(distinct.every(Number.isFinite), where, 'finite labels', distinct.at(-1))
  const advice = 'cut a continuous label into classes first'
  expectRange(distinct.length <= mostClasses, where, `at most ${mostClasses} classes`, distinct.length, advice)
  if (distinct.length < 2) throw oneClass('labels of two classes or more', distinct[0], 'a constant tells nothing')
  const classOf = new Map(distinct.map((value, c) => [value, c]))
  const classes = new Int32Array(length)
  const all = new Int32Array(length)
  for (let row = 0; row < length; row++) {
    if (row % ROWS_PER_STEP === 0) yield
    classes[row] = classOf.get(labels.values[labelRows[row]])!
    all[row] = row
  }
  const fold = labels.fold
    ? labelRows.map(row => labels.fold![row])
    : yield* drawFolds(all, classes, foldCount, new Philox(seed, streams.folds))
  const sizes = new Map<number, number>()
  for (let row = 0; row < length; row++) {
    if (row % ROWS_PER_STEP === 0) yield
    sizes.set(fold[row], (sizes.get(fold[row]) ?? 0) + 1)
  }
  const names = [...sizes.keys()].sort((a, b) => a - b)
  expectRange(names[0] >= 0, where, 'folds of 0 or more', names[0])
  expectRange(names.length >= 2, where, 'at least two folds', names.length)
  const folds: Problem['folds'][number][] = []
  for (const name of names) {
    const test = new Int32Array(sizes.get(name)!)
    const train = new Int32Array(length - test.length)
    for (let row = 0, tests = 0, trains = 0; row < length; row++) {
      if (row % ROWS_PER_STEP === 0) yield
      if (fold[row] === name) test[tests++] = row
      else train[trains++] = row
    }
    folds.push({ name, train, test })
  }
  for (const { name, train, test } of folds) {
    for (const [part, rows] of Object.entries({ train, test })) {
      const first = classes[rows[0]]
      // With many classes a test part of one class still has an accuracy, but no AUC.
      if (rows.some(row => classes[row] !== first)) continue
      const what = `two classes or more in the ${part} part of fold ${name}`
      throw oneClass(what, distinct[first], 'use fewer folds, or folds stratified by class')
    }
  }
  return { seed, classes, count: distinct.length, folds }
}

function oneClass(expected: string, value: number, advice: string): SeqriskError {
  return new SeqriskError('ONE_CLASS', sentence(where, expected, [value], advice))
}

function* drawFolds(rows: Int32Array, classes: Int32Array, count: number, random: Philox): Steps<Int32Array> {
  const holds = Number.isInteger(count) && count >= 2 && count <= rows.length
  expectRange(holds, where, `a number of folds in [2, ${rows.length}]`, count)
  return yield* partOfSteps(rows, classes, count, random)
}

/**
 * Training rows of every draw of a label budget, fold by fold: the same for each feature set and learner.
 * @param budget  number of the budget, of which each has draws of its own
 */
export function drawBudget(
  problem: Problem,
  size: number,
  draws: number,
  seed: number,
  budget: number,
): Int32Array[][] {
  return atOnce(budgetSteps(problem, size, draws, seed, budget))
}

/** The same in short steps. */
export function* budgetSteps(
  problem: Problem,
  size: number,
  draws: number,
  seed: number,
  budget: number,
): Steps<Int32Array[][]> {
  expectRange(Number.isInteger(size) && size >= 2, where, 'budgets to be whole numbers ≥ 2', size)
  const rows: Int32Array[][] = []
  for (const [f, { train }] of problem.folds.entries()) {
    const own: Int32Array[] = []
    for (let draw = 0; draw < draws; draw++) {
      const stream = streams.draws + (budget * problem.folds.length + f) * draws + draw
      own.push(yield* stratifiedSteps(train, problem.classes, size, new Philox(seed, stream)))
    }
    rows.push(own)
  }
  return rows
}
