// What is compared: label budgets, and the rows of the tables with the stage that gives each.

import { EMBEDDINGS, ENCODERS, LAST_LAYER, OURS, SKETCH, UNTRAINED } from './encoders.js'

/** Labels to learn from: numbers, and a share of the training part. */
export const BUDGETS: readonly (number | 'tenth')[] = [50, 200, 1000, 'tenth']

/** Feature sets that are probed, beside one vector table for each encoder. */
const CONTROLS = ['shuffled order', 'count alone', 'dates alone'] as const

/** Rows with label budgets, in the order of the report. */
export const MAIN_ROWS = [
  'aggregates, linear',
  'aggregates, trees',
  'vectors, linear',
  'vectors, trees',
  'aggregates + vectors, linear',
  'aggregates + vectors, trees',
  'supervised encoder',
  'fine-tuned encoder',
] as const

/** Linear probes of vectors that have another origin, with all labels. */
export const VECTOR_ROWS: readonly string[] = [
  UNTRAINED,
  LAST_LAYER,
  EMBEDDINGS,
  SKETCH,
  ...Object.keys(ENCODERS).filter(name => name !== OURS),
  ...CONTROLS,
]

export type MainRow = (typeof MAIN_ROWS)[number]

/** Sizes of the budgets for a training part of so many rows, small to large, none as large as all of it. */
export function budgetSizes(train: number, classes: number): number[] {
  const sizes = BUDGETS.map(budget => (budget === 'tenth' ? tenthOf(train) : budget))
  return [...new Set(sizes)].filter(size => size >= 2 * classes && size < train).sort((a, b) => a - b)
}

export function tenthOf(train: number): number {
  return Math.round(train / 10)
}
