// Encoders that learn from labels: the pre-trained one fine-tuned, and one from scratch, the supervised baseline.

import type { EncodedEvents } from '../../../lib/events/encode.js'
import { accuracy, auc, macroAuc, type Spread, spread } from '../../../lib/report/metrics.js'
import { finetuneEncoded } from '../../../lib/transfer/finetune/finetune.js'
import type { FinetuneOptions } from '../../../lib/transfer/finetune/options.js'
import { drawBudget, poseProblem } from '../../../lib/transfer/problem.js'
import { SeqriskError } from '../../../lib/util/errors.js'
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
/** A fold by itself: with all labels of long sequences one takes a quarter of an hour. */
const foldStageOf = (row: Row, label: string, fold: number) => `finetune-${label}-${ROWS[row]}-fold${fold}`

/** What is run together, in the order of what the claims rest on. */
export const FINETUNE_PARTS = {
  /** Both rows with a tenth of the labels. */
  tenth: (size, tenth) => (size === tenth ? ['fine-tuned encoder', 'supervised encoder'] : []),
  finetune: size => (size === 'all' ? ['fine-tuned encoder'] : []),
  supervised: size => (size === 'all' ? ['supervised encoder'] : []),
  /** Both rows with all other budgets. */
  curve: (size, tenth) => (size === 'all' || size === tenth ? [] : ['fine-tuned encoder', 'supervised encoder']),
} satisfies Record<string, (size: number | 'all', tenth: number) => Row[]>

/** A part of the rows of a label; what has run is kept. */
export async function finetuneRows(run: TaskRun, label: string, part: keyof typeof FINETUNE_PARTS): Promise<void> {
  const { sizes, tenth } = budgetsOf(run.label(label))
  for (const size of [...sizes, 'all'] as const) {
    for (const row of FINETUNE_PARTS[part](size, tenth)) await finetuneFolds(run, label, row, size)
  }
}

/** Both rows, as far as they have run, with which of these budgets. */
export function keptFinetunes(cache: StageCache, label: string, sizes: readonly number[]): Record<string, Figures> {
  const rows = (Object.keys(ROWS) as Row[]).flatMap(row => {
    const kept = (budget: number | 'all') => {
      const folds = cache.peek<Judged[]>(stageOf(row, label), optionsOf(row, budget))
      return folds?.length ? folds : undefined
    }
    const all = kept('all')
    const macro = all?.flatMap(fold => fold.macroAuc ?? []) ?? []
    const budgets = sizes.flatMap(labels => {
      const folds = kept(labels)
      return folds ? [{ labels, score: spreadOf(folds) }] : []
    })
    if (!all && budgets.length === 0) return []
    const figures: Figures = {
      ...(all && { all: spreadOf(all) }),
      ...(macro.length > 0 && { macroAuc: spread(macro) }),
      budgets,
    }
    return [[row, figures] as const]
  })
  return Object.fromEntries(rows)
}

/** Fold by fold with so many labels; none where a fold's are too few to learn from. */
async function finetuneFolds(run: TaskRun, label: string, row: Row, size: number | 'all'): Promise<void> {
  const options = optionsOf(row, size)
  await run.cache.get(stageOf(row, label), options, async () => {
    const labels = run.label(label)
    const encoded = await run.encoded()
    const known = Int32Array.from(labels.values.keys()).filter(at => !Number.isNaN(labels.values[at]))
    const problem = poseProblem(known, { labels })
    const entity = new Map(encoded.ids.map((id, at) => [id, at]))
    const rowOf = Int32Array.from(known, at => entity.get(labels.ids[at])!)
    const trains =
      size === 'all'
        ? problem.folds.map(({ train }) => train)
        : drawBudget(problem, size, 1, 0, budgetsOf(labels).sizes.indexOf(size)).map(([only]) => only)
    const init = await run.encoder(OURS)
    try {
      const folds: Judged[] = []
      for (const [f, train] of trains.entries()) {
        const judged = await run.cache.get(foldStageOf(row, label, f), options, () => {
          const targets = new Float64Array(encoded.ids.length).fill(Number.NaN)
          for (const at of train) targets[rowOf[at]] = problem.classes[at]
          const { test } = problem.folds[f]
          return judgeOne(run, encoded, targets, init, row, {
            rows: test.map(at => rowOf[at]),
            truth: test.map(at => problem.classes[at]),
            classes: problem.count,
          })
        })
        folds.push(judged)
      }
      return folds
    } catch (error) {
      if (!isTooFew(error)) throw error
      console.error(`${run.task.name} ${label}, ${row}, ${size} labels: left out. ${error.message}`)
      return []
    } finally {
      init.dispose()
    }
  })
}

function isTooFew(error: unknown): error is SeqriskError {
  return error instanceof SeqriskError && (error.code === 'TOO_FEW_LABELS' || error.code === 'ONE_CLASS')
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
