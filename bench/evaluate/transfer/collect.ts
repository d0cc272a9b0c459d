// What is kept of a task, for tables and the report. What has not run is left out.

import type { BandReport } from '../../../lib/report/bands.js'
import type { Task } from '../tasks.js'
import type { StageCache } from './cache.js'
import { ENCODERS } from './encoders.js'
import { keptFinetunes } from './finetunes.js'
import { keptMap, type TaskMap } from './map.js'
import { VECTOR_ROWS } from './plan.js'
import { type Figures, keptOthers, keptProbe, PROBES } from './probes.js'
import type { Training } from './task_run.js'

export interface LabelResult {
  readonly task: string
  readonly label: string
  readonly metric: 'auc' | 'accuracy'
  readonly rows: number
  /** A tenth of the labels of a training part. */
  readonly tenth: number
  readonly figures: Readonly<Record<string, Figures>>
  readonly bands: Readonly<Record<string, BandReport>>
}

export interface TaskResult {
  readonly task: string
  readonly labels: readonly LabelResult[]
  readonly trainings: Readonly<Record<string, Training>>
  readonly map?: TaskMap
}

export function collect(task: Task, cache: StageCache): TaskResult {
  const trainings = Object.keys(ENCODERS).flatMap(name => {
    const kept = cache.peek<Training>(`pretrain-${name}`, ENCODERS[name])
    return kept ? [[name, kept] as const] : []
  })
  const labels = task.labels.flatMap((own): LabelResult[] => {
    const label = own.name
    const probes = PROBES.flatMap(learner => keptProbe(cache, label, learner) ?? [])
    if (probes.length === 0) return []
    const { metric, rows, tenth } = probes[0]
    const others = VECTOR_ROWS.flatMap(name => {
      const kept = keptOthers(cache, label, name)
      return kept ? [[name, kept] as const] : []
    })
    const sizes = Object.values(probes[0].figures)[0].budgets.map(budget => budget.labels)
    const figures = Object.assign({}, ...probes.map(one => one.figures), keptFinetunes(cache, own, sizes))
    const bands = Object.assign({}, ...probes.map(one => one.bands))
    return [
      { task: task.name, label, metric, rows, tenth, figures: { ...figures, ...Object.fromEntries(others) }, bands },
    ]
  })
  return { task: task.name, labels, trainings: Object.fromEntries(trainings), map: keptMap(cache) }
}
