// Linear models and trees on vectors, on hand-made features, and on both.

import { type BandReport, bandsOf } from '../../../lib/report/bands.js'
import type { Spread } from '../../../lib/report/metrics.js'
import { type Learner, type ProbeResult, probe } from '../../../lib/transfer/probe.js'
import { poseProblem } from '../../../lib/transfer/problem.js'
import type { TaskLabel } from '../tasks.js'
import type { StageCache } from './cache.js'
import { ENCODERS, OURS } from './encoders.js'
import { BUDGETS, budgetSizes, tenthOf } from './plan.js'
import type { TaskRun } from './task_run.js'

/** One row of a table: with all labels, and with each budget. */
export interface Figures {
  /** Absent where few labels alone have run. */
  readonly all?: Spread
  /** More than two classes: one-against-rest AUC, where `all` is accuracy. */
  readonly macroAuc?: Spread
  readonly budgets: readonly { readonly labels: number; readonly score: Spread }[]
}

export interface ProbedLabel {
  readonly metric: 'auc' | 'accuracy'
  readonly rows: number
  /** A tenth of the labels of a training part. */
  readonly tenth: number
  /** By name of the row. */
  readonly figures: Readonly<Record<string, Figures>>
  /** Two classes: precision of each band of the out-of-fold scores, by name of the row. */
  readonly bands: Readonly<Record<string, BandReport>>
}

export const PROBES: readonly Learner[] = ['linear', 'gbrt']
const NAMES = { linear: 'linear', gbrt: 'trees' } as const
const DRAWS = 1

/** To be raised when a learner's own choices change: what was kept before is not theirs. */
const VERSIONS: Readonly<Record<Learner, number>> = { linear: 1, gbrt: 2 }

const stageOf = (label: string, name: string) => `probe-${label}-${name}`
const optionsOf = (learner: Learner) => ({ learner, version: VERSIONS[learner], BUDGETS, DRAWS })

export function keptProbe(cache: StageCache, label: string, learner: Learner): ProbedLabel | undefined {
  return cache.peek(stageOf(label, learner), optionsOf(learner))
}

export function keptOthers(cache: StageCache, label: string, name: string): Figures | undefined {
  return cache.peek(stageOf(label, name), ENCODERS[name])
}

/** Our vectors beside aggregates, by one learner, with all labels and with few. */
export function probeOurs(run: TaskRun, label: string, learner: Learner): Promise<ProbedLabel> {
  return run.cache.get(stageOf(label, learner), optionsOf(learner), async () => {
    const labels = run.label(label)
    const { sizes, tenth, classes } = budgetsOf(labels)
    const result = await probe({
      vectors: await run.vectors(OURS),
      features: await run.aggregates(),
      labels,
      learner,
      budgets: sizes,
      draws: DRAWS,
      scores: classes === 2,
      device: run.host,
    })
    const own = NAMES[learner]
    const names = { features: `aggregates, ${own}`, vectors: `vectors, ${own}`, both: `aggregates + vectors, ${own}` }
    const sets = Object.entries(names) as [keyof typeof names, string][]
    const { scores } = result
    const bands: Record<string, BandReport> = {}
    for (const [set, name] of scores ? sets : []) bands[name] = await bandsOf(scores!.sets[set]!, scores!.truth)
    return {
      metric: result.metric,
      rows: result.rows,
      tenth,
      figures: Object.fromEntries(sets.map(([set, name]) => [name, figuresOf(result, set)])),
      bands,
    }
  })
}

/** A linear model on the vectors of another origin, with all labels. */
export function probeVectors(run: TaskRun, label: string, name: string): Promise<Figures> {
  return run.cache.get(stageOf(label, name), ENCODERS[name], async () => {
    const result = await probe({ vectors: await run.vectors(name), labels: run.label(label), device: run.host })
    return figuresOf(result, 'vectors')
  })
}

function figuresOf(result: ProbeResult, set: 'vectors' | 'features' | 'both'): Figures {
  return {
    all: result.results[set]!,
    ...(result.macroAuc && { macroAuc: result.macroAuc[set]! }),
    budgets: (result.budgets ?? []).map(({ labels, results }) => ({ labels, score: results[set]! })),
  }
}

/** Label budgets that every fold of a label has rows for. */
export function budgetsOf(labels: TaskLabel) {
  const known = Int32Array.from(labels.values.keys()).filter(row => !Number.isNaN(labels.values[row]))
  const problem = poseProblem(known, { labels })
  const train = Math.min(...problem.folds.map(fold => fold.train.length))
  return { sizes: budgetSizes(train, problem.count), tenth: tenthOf(train), classes: problem.count }
}
