// Figures as rows of cells, for Markdown and for the page.

import type { Spread } from '../../../lib/report/metrics.js'
import type { LabelResult } from './collect.js'
import { MAIN_ROWS, VECTOR_ROWS } from './plan.js'

export interface Cells {
  readonly header: readonly string[]
  readonly rows: readonly (readonly string[])[]
}

/** A figure that is not there yet. */
const NONE = '–'
const shown = (score: Spread | undefined) => (score ? `${score.mean.toFixed(3)} ± ${score.sd.toFixed(3)}` : NONE)
const nameOf = ({ label, metric }: LabelResult) => (metric === 'auc' ? label : `${label} (accuracy)`)

/** One row per label, one column per row of the plan, all labels. `mark`: a star before the best of the main ones. */
function allLabels(labels: readonly LabelResult[], rows: readonly string[], mark = false): Cells {
  return {
    header: ['task', 'label', 'rows', ...rows],
    rows: labels.map(label => {
      const best = Math.max(...rows.map(row => label.figures[row]?.all?.mean ?? 0))
      const cells = rows.map(row => {
        const score = label.figures[row]?.all
        return `${mark && score?.mean === best ? '*' : ''}${shown(score)}`
      })
      return [label.task, nameOf(label), String(label.rows), ...cells]
    }),
  }
}

export const mainTable = (labels: readonly LabelResult[], mark = false) => allLabels(labels, MAIN_ROWS, mark)
/** Of the other encoders those that some label has. */
export function otherTable(labels: readonly LabelResult[]): Cells {
  const there = VECTOR_ROWS.filter(row => labels.some(label => label.figures[row]))
  return allLabels(labels, there)
}

/** One row per label and budget. */
export function budgetTable(labels: readonly LabelResult[], mark = false): Cells {
  const rows = labels.flatMap(label => {
    const sizes = label.figures['vectors, linear']?.budgets.map(budget => budget.labels) ?? []
    return sizes.map(size => {
      const scores = MAIN_ROWS.map(row => label.figures[row]?.budgets.find(budget => budget.labels === size)?.score)
      const best = Math.max(...scores.map(score => score?.mean ?? 0))
      const cells = scores.map(score => `${mark && score?.mean === best ? '*' : ''}${shown(score)}`)
      return [label.task, nameOf(label), `${size}${size === label.tenth ? ' (a tenth)' : ''}`, ...cells]
    })
  })
  return { header: ['task', 'label', 'labels', ...MAIN_ROWS], rows }
}
