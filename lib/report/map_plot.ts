// A map of vectors as a plot: one point per entity, coloured by a label.

import type { FeatureTable } from '../events/table.js'
import { expectRange } from '../util/errors.js'
import { type Frame, scatterPlot } from './plot.js'

/** More points than that hide each other, and make files that no browser opens. */
const MOST_POINTS = 20_000
/** Labels with a colour of their own; the rest shares one. */
const MOST_LABELS = 6

/**
 * @param labels  label by id; entities without one are drawn as 'unknown'
 * @returns       what to draw, and how many points: of a larger map, evenly spaced rows
 */
export function mapPlot(
  frame: Frame,
  { ids, columns: { x, y } }: FeatureTable,
  labels?: ReadonlyMap<string, string>,
): { specification: object; drawn: number } {
  expectRange(ids.length > 0, 'mapPlot', 'at least one point', 0)
  const drawn = Math.min(ids.length, MOST_POINTS)
  const rows = Array.from({ length: drawn }, (_, i) => Math.floor((i * ids.length) / drawn))
  const own = (row: number) => (labels ? labels.get(ids[row]) || 'unknown' : 'vectors')
  const counts = new Map<string, number>()
  for (const row of rows) counts.set(own(row), (counts.get(own(row)) ?? 0) + 1)
  const frequent = [...counts.entries()].sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1))
  const kept = new Set(frequent.slice(0, counts.size > MOST_LABELS + 1 ? MOST_LABELS : counts.size).map(([one]) => one))
  const points = rows.map(row => ({
    x: x[row],
    y: y[row],
    series: kept.has(own(row)) ? own(row) : 'other',
  }))
  // In the order of their names, so that colours do not hang on how many there are.
  points.sort((a, b) => (a.series < b.series ? -1 : a.series > b.series ? 1 : 0))
  return { specification: scatterPlot(frame, points), drawn }
}
