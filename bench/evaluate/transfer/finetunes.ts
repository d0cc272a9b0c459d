// Encoders that learn from labels: the pre-trained one fine-tuned, and one from scratch, the supervised baseline.

import type { EncodedEvents } from '../../../lib/events/encode.js'
import { accuracy, auc, macroAuc, type Spread, spread } from '../../../lib/report/metrics.js'
import { finetuneEncoded } from '../../../lib/transfer/finetune.js'
import type { FinetuneOptions } from '../../../lib/transfer/finetune_options.js'
import { drawBudget, poseProblem } from '../../../lib/transfer/problem.js'
import type { StageCache } from './cache.js'
import { OURS } from './encoders.js'
import { BUDGETS } from './plan.js'
import { budgetsOf, type Figures } from './probes.js'
import type { TaskRun } from './task_run.js'

const ROWS = { 'supervised encoder': 'scratch', 'fine-tuned encoder': 'pretrained' } as const
type Row = keyof typeof ROWS

/** The defaults are judged. */
const OPTIONS: Partial<FinetuneOptions> = {}

interface Judged {
  readonly score: number
  readonly macroAuc?: number
}

const optionsOf = (row: Row, budget: number | 'all') => ({ init: ROWS[row], OPTIONS, budget, BUDGETS })
const stageOf = (row: Row, label: string) => `finetune-${label}-${ROWS[row]}-folds`

/** What the claims rest on: a tenth of the labels and all of them, for both rows. */
export async function finetuneRows(run: TaskRun, label: string): Promise<void> {
  const { tenth } = budgetsOf(run.label(label))
  for (const row of Object.keys(ROWS) as Row[]) await finetuneRow(run, label, row, size => size === tenth, true)
}

/** The other budgets. */
export async function finetuneCurve(run: TaskRun, label: string): Promise<void> {
  const { tenth } = budgetsOf(run.label(label))
  for (const row of Object.keys(ROWS) as Row[]) await finetuneRow(run, label, row, size => size !== tenth, false)
}

/** Rows that have run with all labels, and with which of these budgets they have. */
export function keptFinetunes(cache: StageCache, label: string, sizes: readonly number[]): Record<string, Figures> {
  const rows = (Object.keys(ROWS) as Row[]).flatMap(row => {
    const kept = (budget: number | 'all') => cache.peek<Judged[]>(stageOf(row, label), optionsOf(row, budget))
    const all = kept('all')
    if (!all) return []
    const macro = all.flatMap(fold => fold.macroAuc ?? [])
    const budgets = sizes.flatMap(labels => {
      const folds = kept(labels)
      return folds ? [{ labels, score: spreadOf(folds) }] : []
    })
    const figures: Figures = { all: spreadOf(all), ...(macro.length > 0 && { macroAuc: spread(macro) }), budgets }
    return [[row, figures] as const]
  })
  return Object.fromEntries(rows)
}

async function finetuneRow(
  run: TaskRun,
  label: string,
  row: Row,
  isWanted: (size: number) => boolean,
  withAll: boolean,
): Promise<void> {
  const labels = run.label(label)
  const { sizes } = budgetsOf(labels)
  const encoded = await run.encoded()
  const known = Int32Array.from(labels.values.keys()).filter(at => !Number.isNaN(labels.values[at]))
  const problem = poseProblem(known, { labels })
  const entity = new Map(encoded.ids.map((id, at) => [id, at]))
  const rowOf = Int32Array.from(known, at => entity.get(labels.ids[at])!)
  const init = await run.encoder(OURS)
  const judge = async (train: Int32Array, f: number): Promise<Judged> => {
    const targets = new Float64Array(encoded.ids.length).fill(Number.NaN)
    for (const at of train) targets[rowOf[at]] = problem.classes[at]
    const { test } = problem.folds[f]
    return judgeOne(run, encoded, targets, init, row, {
      rows: test.map(at => rowOf[at]),
      truth: test.map(at => problem.classes[at]),
      classes: problem.count,
    })
  }
  const keep = (budget: number | 'all', trains: readonly Int32Array[]) =>
    run.cache.get(stageOf(row, label), optionsOf(row, budget), async () => {
      const folds: Judged[] = []
      for (const [f, train] of trains.entries()) folds.push(await judge(train, f))
      return folds
    })
  try {
    for (const [b, size] of sizes.entries()) {
      if (!isWanted(size)) continue
      const draws = drawBudget(problem, size, 1, 0, b).map(([only]) => only)
      await keep(size, draws)
    }
    const trains = problem.folds.map(({ train }) => train)
    if (withAll) await keep('all', trains)
  } finally {
    init.dispose()
  }
}

const spreadOf = (folds: readonly Judged[]): Spread => spread(folds.map(fold => fold.score))

interface TestRows {
  readonly rows: Int32Array
  readonly truth: Int32Array
  readonly classes: number
}

async function judgeOne(
  run: TaskRun,
  encoded: EncodedEvents,
  targets: Float64Array,
  pretrained: Awaited<ReturnType<TaskRun['encoder']>>,
  row: Row,
  { rows, truth, classes }: TestRows,
): Promise<Judged> {
  const init =
    ROWS[row] === 'pretrained' ? pretrained : { encoding: pretrained.encoding, config: pretrained.config, seed: 1 }
  const tuned = await finetuneEncoded(encoded, targets, { ...OPTIONS, init, device: run.device })
  try {
    const scores = await tuned.scoreEncoded(encoded, rows)
    if (classes === 2) return { score: auc(scores, truth) }
    const predicted = truth.map((_, i) => {
      const own = scores.subarray(i * classes, (i + 1) * classes)
      return own.indexOf(Math.max(...own))
    })
    return { score: accuracy(predicted, truth), macroAuc: macroAuc(scores, truth, classes) }
  } finally {
    tuned.dispose()
  }
}
