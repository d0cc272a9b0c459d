// Encoders that learn from labels: the pre-trained one fine-tuned, and one from scratch, the supervised baseline.

import type { EncodedEvents } from '../../../lib/events/encode.js'
import { accuracy, auc, macroAuc, type Spread, spread } from '../../../lib/report/metrics.js'
import { finetuneEncoded } from '../../../lib/transfer/finetune/finetune.js'
import type { FinetuneOptions } from '../../../lib/transfer/finetune/options.js'
import { drawBudget, poseProblem } from '../../../lib/transfer/problem.js'
import { SeqriskError } from '../../../lib/util/errors.js'
import { foldsOf, type TaskLabel } from '../tasks.js'
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

/** Of a fold whose labels are too few to learn from: its row is left out. */
const TOO_FEW = null

const optionsOf = (row: Row, budget: number | 'all') => ({ init: ROWS[row], OPTIONS, budget, BUDGETS })
const stageOf = (row: Row, label: string, fold: number) => `finetune-${label}-${ROWS[row]}-fold${fold}`

/** What is run together, in the order of what the claims rest on. */
export const FINETUNE_PARTS = {
  /** Both rows with a tenth of the labels. */
  tenth: (size, tenth) => (size === tenth ? ['fine-tuned encoder', 'supervised encoder'] : []),
  finetune: size => (size === 'all' ? ['fine-tuned encoder'] : []),
  supervised: size => (size === 'all' ? ['supervised encoder'] : []),
  /** Both rows with all other budgets. */
  curve: (size, tenth) => (size === 'all' || size === tenth ? [] : ['fine-tuned encoder', 'supervised encoder']),
} satisfies Record<string, (size: number | 'all', tenth: number) => Row[]>

/** A part of the rows of a label in one fold: with all labels of long sequences one takes a quarter of an hour. What has run is kept. */
export async function finetuneFold(
  run: TaskRun,
  label: string,
  part: keyof typeof FINETUNE_PARTS,
  fold: number,
): Promise<void> {
  const { sizes, tenth } = budgetsOf(run.label(label))
  for (const size of [...sizes, 'all'] as const) {
    for (const row of FINETUNE_PARTS[part](size, tenth)) {
      await run.cache.get(stageOf(row, label, fold), optionsOf(row, size), async () => {
        try {
          return await judgeFold(run, label, row, size, fold)
        } catch (error) {
          if (!isTooFew(error)) throw error
          console.error(`${run.task.name} ${label}, ${row}, ${size} labels, fold ${fold}: left out. ${error.message}`)
          return TOO_FEW
        }
      })
    }
  }
}

/** Both rows, as far as all of their folds have run, with which of these budgets. */
export function keptFinetunes(cache: StageCache, label: TaskLabel, sizes: readonly number[]): Record<string, Figures> {
  const folds = foldsOf(label)
  const rows = (Object.keys(ROWS) as Row[]).flatMap(row => {
    const kept = (budget: number | 'all'): Judged[] | undefined => {
      const judged = Array.from({ length: folds }, (_, fold) =>
        cache.peek<Judged | typeof TOO_FEW>(stageOf(row, label.name, fold), optionsOf(row, budget)),
      )
      return judged.every(one => one !== undefined && one !== TOO_FEW) ? judged : undefined
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

async function judgeFold(run: TaskRun, label: string, row: Row, size: number | 'all', fold: number): Promise<Judged> {
  const labels = run.label(label)
  const encoded = await run.encoded()
  const known = Int32Array.from(labels.values.keys()).filter(at => !Number.isNaN(labels.values[at]))
  const problem = poseProblem(known, { labels })
  const entity = new Map(encoded.ids.map((id, at) => [id, at]))
  const rowOf = Int32Array.from(known, at => entity.get(labels.ids[at])!)
  const { train, test } = problem.folds[fold]
  const drawn = size === 'all' ? train : drawBudget(problem, size, 1, 0, budgetsOf(labels).sizes.indexOf(size))[fold][0]
  const targets = new Float64Array(encoded.ids.length).fill(Number.NaN)
  for (const at of drawn) targets[rowOf[at]] = problem.classes[at]
  const pretrained = await run.encoder(OURS)
  try {
    return await judgeOne(run, encoded, targets, pretrained, row, {
      rows: test.map(at => rowOf[at]),
      truth: test.map(at => problem.classes[at]),
      classes: problem.count,
    })
  } finally {
    pretrained.dispose()
  }
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
