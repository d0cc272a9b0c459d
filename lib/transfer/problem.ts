// A label as a problem: classes, folds and label budgets.

import { expectRange, SeqriskError, sentence } from '../util/errors.js'
import { Philox } from '../util/philox.js'
import { stratifiedParts, stratifiedSample } from './folds.js'
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
export function poseProblem(
  labelRows: Int32Array,
  { labels, folds: foldCount = 5, seed = 0 }: ProblemOptions,
): Problem {
  const values = Float64Array.from(labelRows, row => labels.values[row])
  const distinct = [...new Set(values)].sort((a, b) => a - b)
  expectRange(distinct.every(Number.isFinite), where, 'finite labels', distinct.at(-1))
  const advice = 'cut a continuous label into classes first'
  expectRange(distinct.length <= mostClasses, where, `at most ${mostClasses} classes`, distinct.length, advice)
  if (distinct.length < 2) throw oneClass('labels of two classes or more', distinct[0], 'a constant tells nothing')
  const classOf = new Map(distinct.map((value, c) => [value, c]))
  const classes = Int32Array.from(values, value => classOf.get(value)!)
  const all = Int32Array.from(values, (_, row) => row)
  const fold = labels.fold ? labelRows.map(row => labels.fold![row]) : drawFolds(all, classes, foldCount, seed)
  const names = [...new Set(fold)].sort((a, b) => a - b)
  expectRange(names[0] >= 0, where, 'folds of 0 or more', names[0])
  expectRange(names.length >= 2, where, 'at least two folds', names.length)
  const folds = names.map(name => ({
    name,
    train: all.filter(row => fold[row] !== name),
    test: all.filter(row => fold[row] === name),
  }))
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

function drawFolds(rows: Int32Array, classes: Int32Array, count: number, seed: number): Int32Array {
  const holds = Number.isInteger(count) && count >= 2 && count <= rows.length
  expectRange(holds, where, `a number of folds in [2, ${rows.length}]`, count)
  const fold = new Int32Array(rows.length)
  stratifiedParts(rows, classes, count, new Philox(seed, streams.folds)).forEach((part, f) => {
    for (const row of part) fold[row] = f
  })
  return fold
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
  expectRange(Number.isInteger(size) && size >= 2, where, 'budgets to be whole numbers ≥ 2', size)
  return problem.folds.map(({ train }, f) =>
    Array.from({ length: draws }, (_, draw) => {
      const stream = streams.draws + (budget * problem.folds.length + f) * draws + draw
      return stratifiedSample(train, problem.classes, size, new Philox(seed, stream))
    }),
  )
}
