// What the figures say of the article's claims, over all labels.

import { markdownTable } from '../../../lib/report/table.js'
import type { LabelResult } from './collect.js'
import { EMBEDDINGS, ENCODERS, LAST_LAYER, OURS, SKETCH, UNTRAINED } from './encoders.js'

/** With all labels, or with a number of them. */
export function scoreOf(label: LabelResult, row: string, labels?: number): number | undefined {
  const figures = label.figures[row]
  if (labels === undefined) return figures?.all?.mean
  return figures?.budgets.find(budget => budget.labels === labels)?.score.mean
}

/** One row better than another: on how many labels, and by how much on average. Labels that lack either are left out. */
export interface Comparison {
  readonly better: number
  readonly of: number
  readonly mean: number
  /** Standard error of the mean over labels. */
  readonly error: number
}

export function compareRows(
  labels: readonly LabelResult[],
  first: readonly string[],
  second: readonly string[],
  budget?: (label: LabelResult) => number,
): Comparison {
  const best = (label: LabelResult, rows: readonly string[]) => {
    const scores = rows.flatMap(row => scoreOf(label, row, budget?.(label)) ?? [])
    return scores.length === rows.length ? Math.max(...scores) : Number.NaN
  }
  const differences = labels
    .map(label => best(label, first) - best(label, second))
    .filter(value => !Number.isNaN(value))
  const of = differences.length
  const mean = differences.reduce((sum, value) => sum + value, 0) / of
  const variance = differences.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (of - 1)
  return { better: differences.filter(value => value > 0).length, of, mean, error: Math.sqrt(variance / of) }
}

const signed = (mean: number, digits: number) => `${mean < 0 ? '−' : '+'}${(100 * Math.abs(mean)).toFixed(digits)}`
/** One label has no deviation. */
const within = ({ error, of }: Comparison, digits: number) => (of > 1 ? ` ± ${(100 * error).toFixed(digits)}` : '')
const points = (comparison: Comparison) => `${signed(comparison.mean, 1)}${within(comparison, 1)} points on average`
const said = (what: string, comparison: Comparison) =>
  `${what}: on ${comparison.better} of ${comparison.of} labels, ${points(comparison)}.`

/** Claims of the article beside what was measured, one sentence each. */
export function verdicts(labels: readonly LabelResult[]): string[] {
  const frozen = ['vectors, linear', 'vectors, trees']
  const encoders = [...frozen, 'fine-tuned encoder']
  const aggregates = ['aggregates, linear', 'aggregates, trees']
  const both = ['aggregates + vectors, linear', 'aggregates + vectors, trees']
  const tenth = (label: LabelResult) => label.tenth
  const compare = (
    what: string,
    first: readonly string[],
    second: readonly string[],
    budget?: (label: LabelResult) => number,
  ) => {
    const comparison = compareRows(labels, first, second, budget)
    return comparison.of > 0 ? [said(what, comparison)] : []
  }
  return [
    ...compare('Vectors with a linear model beat aggregates with trees', [frozen[0]], [aggregates[1]]),
    ...compare('Vectors beat aggregates, both linear', [frozen[0]], [aggregates[0]]),
    ...compare('The best row of frozen vectors beats aggregates with trees', frozen, ['aggregates, trees']),
    ...compare('The best encoder row beats aggregates with trees', encoders, ['aggregates, trees']),
    ...compare('The best encoder row beats the best of aggregates', encoders, aggregates),
    ...compare('Aggregates + vectors beat the best of aggregates', both, aggregates),
    ...compare('Aggregates + vectors with a linear model beat the best of aggregates', [both[0]], aggregates),
    ...compare('Aggregates + vectors beat aggregates, both linear', [both[0]], [aggregates[0]]),
    ...compare('Aggregates + vectors beat aggregates, both trees', [both[1]], [aggregates[1]]),
    ...compare('Aggregates + vectors beat the best encoder row', both, encoders),
    ...compare('Vectors beat those of an untrained encoder, both linear', ['vectors, linear'], [UNTRAINED]),
    ...compare('Vectors beat their last layer alone, both linear', ['vectors, linear'], [LAST_LAYER]),
    ...compare('Vectors beat their embeddings alone, both linear', ['vectors, linear'], [EMBEDDINGS]),
    ...compare('Vectors beat their sketch alone, both linear', ['vectors, linear'], [SKETCH]),
    ...compare('Fine-tuned beats frozen with a linear model', ['fine-tuned encoder'], ['vectors, linear']),
    ...compare('Fine-tuned beats supervised from scratch', ['fine-tuned encoder'], ['supervised encoder']),
    ...compare(
      'With a tenth of the labels, fine-tuned beats supervised',
      ['fine-tuned encoder'],
      ['supervised encoder'],
      tenth,
    ),
    ...compare(
      'With a tenth of the labels, frozen with a linear model beats supervised',
      ['vectors, linear'],
      ['supervised encoder'],
      tenth,
    ),
    ...compare(
      'With a tenth of the labels, vectors with a linear model beat aggregates with trees',
      [frozen[0]],
      [aggregates[1]],
      tenth,
    ),
    ...compare('With a tenth of the labels, vectors beat aggregates, both linear', [frozen[0]], [aggregates[0]], tenth),
    ...compare(
      'With a tenth of the labels, the best row of frozen vectors beats aggregates with trees',
      frozen,
      ['aggregates, trees'],
      tenth,
    ),
    ...compare('With a tenth of the labels, aggregates + vectors beat the best of aggregates', both, aggregates, tenth),
    ...compare(
      'With a tenth of the labels, aggregates + vectors with a linear model beat the best of aggregates',
      [both[0]],
      aggregates,
      tenth,
    ),
  ]
}

export interface Ablation {
  readonly name: string
  /** Its vectors against the last layer of ours, both linear with all labels. */
  readonly comparison: Comparison
}

export function ablations(labels: readonly LabelResult[]): Ablation[] {
  return Object.keys(ENCODERS)
    .filter(name => name !== OURS)
    .map(name => ({ name, comparison: compareRows(labels, [name], [LAST_LAYER]) }))
    .filter(({ comparison }) => comparison.of > 0)
}

export function ablationRows(labels: readonly LabelResult[]): string[][] {
  return ablations(labels).map(({ name, comparison }) => [
    name,
    `${signed(comparison.mean, 2)}${within(comparison, 2)}`,
    `${comparison.better} of ${comparison.of}`,
  ])
}

export const ABLATION_HEADER = ['encoder', 'points against ours, last layer alone', 'better on']

export const ablationTable = (labels: readonly LabelResult[]) => markdownTable(ABLATION_HEADER, ablationRows(labels))
