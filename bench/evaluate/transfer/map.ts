// Vectors of a task in two dimensions, coloured by its first label.

import { type MapMethod, mapVectors } from '../../../lib/transfer/map.js'
import type { StageCache } from './cache.js'
import { OURS } from './encoders.js'
import type { TaskRun } from './task_run.js'

export interface TaskMap {
  readonly label: string
  readonly points: readonly MapPoint[]
}

export interface MapPoint {
  readonly x: number
  readonly y: number
  readonly value: number
}

/** More points than these hide each other. */
const MOST_POINTS = 1000
const STAGE = 'map'
const OPTIONS: { readonly MOST_POINTS: number; readonly method: MapMethod } = { MOST_POINTS, method: 'umap' }

export function keptMap(cache: StageCache): TaskMap | undefined {
  return cache.peek(STAGE, OPTIONS)
}

/** Of entities whose label is known, evenly taken from all. */
export function mapTask(run: TaskRun): Promise<TaskMap> {
  return run.cache.get(STAGE, OPTIONS, async () => {
    const { ids, width, vectors } = await run.vectors(OURS)
    const [{ name, ids: labelled, values }] = run.task.labels
    const labelOf = new Map(labelled.map((id, row) => [id, values[row]]))
    const known = [...ids.keys()].filter(row => Number.isFinite(labelOf.get(ids[row])))
    const step = Math.max(1, known.length / MOST_POINTS)
    const rows = known.filter((_, i) => Math.floor(i / step) !== Math.floor((i - 1) / step))
    const chosen = new Float32Array(rows.length * width)
    rows.forEach((row, i) => {
      chosen.set(vectors.subarray(row * width, (row + 1) * width), i * width)
    })
    const table = { ids: rows.map(row => ids[row]), width, vectors: chosen }
    const { x, y } = (await mapVectors(table, { method: OPTIONS.method, device: run.host })).columns
    return {
      label: name,
      points: rows.map((row, i) => ({ x: x[i], y: y[i], value: labelOf.get(ids[row])! })),
    }
  })
}
