// What a search for neighbours finds, and how near is measured.

import { Pace } from '../util/pace.js'
import type { TopRows } from './top_rows.js'

/** `cosine`: of the angle, high is near. `euclidean`: the distance, low is near. */
export type Metric = 'cosine' | 'euclidean'

/** Query i has places i·top … i·top + top − 1, nearest first; row −1, score NaN and id '' where the table has no more. */
export interface Neighbours {
  readonly top: number
  /** Numbers of rows; over all blocks where the table came in blocks. */
  readonly rows: Int32Array
  readonly ids: readonly string[]
  /** Cosines, or distances. */
  readonly scores: Float32Array
}

/** The best rows as neighbours. */
export async function ranked(
  best: TopRows,
  metric: Metric,
  idOf: (row: number) => string,
  signal?: AbortSignal,
): Promise<Neighbours> {
  const { top, rows, values } = best
  const pace = new Pace(signal)
  const scores = new Float32Array(rows.length)
  const ids: string[] = new Array(rows.length)
  for (let i = 0; i < rows.length; i++) {
    ids[i] = rows[i] < 0 ? '' : idOf(rows[i])
    scores[i] = rows[i] < 0 ? Number.NaN : metric === 'cosine' ? values[i] : Math.sqrt(0 - values[i])
    if (i % 4096 === 0) await pace.turn()
  }
  return { top, rows, ids, scores }
}

/** The cosine, or minus the squared distance, of query q and row r: high is near. */
export function closeness(
  metric: Metric,
  queries: Float32Array,
  q: number,
  length: number,
  rows: Float32Array,
  r: number,
  width: number,
): number {
  const from = q * width
  const to = r * width
  let sum = 0
  if (metric === 'euclidean') {
    for (let i = 0; i < width; i++) sum -= (queries[from + i] - rows[to + i]) ** 2
    return sum
  }
  let square = 0
  for (let i = 0; i < width; i++) {
    sum += queries[from + i] * rows[to + i]
    square += rows[to + i] * rows[to + i]
  }
  return square === 0 ? 0 : Math.max(-1, Math.min(1, sum / (length * Math.sqrt(square))))
}

export function squaredLength(values: Float32Array, begin: number, width: number): number {
  let sum = 0
  for (let i = begin; i < begin + width; i++) sum += values[i] * values[i]
  return sum
}
