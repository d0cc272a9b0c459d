// The figures as one page with plots.

import { bandsPlot } from '../../../lib/report/bands_plot.js'
import { htmlPage, type PageFigure, type PageSection } from '../../../lib/report/page.js'
import { barsPlot, type Curve, curvesPlot, scatterPlot, toSvg } from '../../../lib/report/plot.js'
import type { LabelResult, TaskResult } from './collect.js'
import { OURS } from './encoders.js'
import { MAIN_ROWS, type MainRow } from './plan.js'
import { budgetTable, mainTable, otherTable } from './tables.js'
import { ABLATION_HEADER, ablationRows, verdicts } from './verdicts.js'

/** Rows that the plots show: all eight would hide each other. */
const CURVES: readonly MainRow[] = [
  'aggregates, trees',
  'vectors, linear',
  'aggregates + vectors, linear',
  'supervised encoder',
  'fine-tuned encoder',
]
/** Encoders whose training is drawn: those of another kind, not of another part. */
const CURVED_ENCODERS = [OURS, 'Transformer', 'GRU', 'dense convolution', 'no attention']
/** Labels with bands worth a picture: so many rows at least. */
const LEAST_ROWS_FOR_BANDS = 500

export async function reportPage(results: readonly TaskResult[], subtitle: string, more: readonly PageSection[] = []) {
  const labels = results.flatMap(result => result.labels)
  const sections: PageSection[] = [
    {
      heading: 'What was found',
      text: [
        'Encoders saw the events of all entities and no label. Every figure is the mean over five folds and its deviation; ' +
          'AUC for two classes, accuracy for more. Aggregates are hand-made features. Bold is the best of a row.',
      ],
      points: verdicts(labels),
      figures: await overallFigures(labels),
    },
    { heading: 'All labels', tables: [mainTable(labels, true)] },
    {
      heading: 'Parts of the encoder',
      text: ['Linear models on the last layers of encoders with one part changed, against ours, mean over labels.'],
      tables: [{ header: ABLATION_HEADER, rows: ablationRows(labels) }, otherTable(labels)],
    },
    ...more,
  ]
  for (const result of results) if (result.labels.length > 0) sections.push(await taskSection(result))
  return htmlPage({ title: 'What vectors of event histories know', subtitle, sections })
}

/** Two classes, mean over the labels that have every curve: with 1000 labels too where half of them go so far. */
async function overallFigures(labels: readonly LabelResult[]): Promise<PageFigure[]> {
  const whole = (sizes: readonly number[]) =>
    labels.filter(
      ({ metric, figures }) =>
        metric === 'auc' &&
        sizes.every(size => CURVES.every(row => figures[row]?.budgets.some(budget => budget.labels === size))),
    )
  const far = [50, 200, 1000]
  const sizes = 2 * whole(far).length >= whole(far.slice(0, 2)).length ? far : far.slice(0, 2)
  const binary = whole(sizes)
  if (binary.length === 0) return []
  const curves = CURVES.map(
    (row): Curve => ({
      series: row,
      points: sizes.map(size => {
        const scores = binary.map(label => label.figures[row].budgets.find(one => one.labels === size)!.score.mean)
        return { x: size, y: scores.reduce((sum, value) => sum + value, 0) / scores.length }
      }),
    }),
  )
  const frame = { title: 'Few labels', subtitle: `mean over ${binary.length} labels of two classes` }
  const svg = await toSvg(curvesPlot(frame, { x: 'labels', y: 'AUC', isLog: true }, curves))
  return [{ svg, caption: 'What is learnt from few labels, each point the mean over labels and five folds.' }]
}

async function taskSection(result: TaskResult): Promise<PageSection> {
  const { labels } = result
  const figures: PageFigure[] = []
  const draw = async (specification: object, caption: string) => {
    figures.push({ svg: await toSvg(specification), caption })
  }
  const bars = labels.flatMap(label =>
    MAIN_ROWS.flatMap(row => {
      const score = label.figures[row]?.all
      return score ? [{ group: label.label, series: row, ...score }] : []
    }),
  )
  if (bars.length > 0) {
    await draw(
      barsPlot({ title: 'All labels' }, 'AUC, or accuracy', bars),
      'Mean over five folds; lines are one deviation.',
    )
  }
  for (const label of labels) {
    const curves = budgetCurves(label)
    if (curves.length === 0) continue
    const axes = { x: 'labels', y: label.metric === 'auc' ? 'AUC' : 'accuracy', isLog: true }
    await draw(curvesPlot({ title: `${label.label}: few labels` }, axes, curves), 'Lines are one deviation over folds.')
  }
  const training = trainingCurves(result)
  if (training.length > 0) {
    await draw(
      curvesPlot({ title: 'Pre-training' }, { x: 'epoch', y: 'loss on users kept out' }, training),
      'Loss of both proxy tasks on entities that training never saw.',
    )
  }
  for (const label of labels) {
    const named = Object.entries(label.bands)
      .filter(([row]) => (CURVES as readonly string[]).includes(row))
      .map(([name, report]) => ({ name, report }))
    if (named.length === 0 || label.rows < LEAST_ROWS_FOR_BANDS) continue
    await draw(
      bandsPlot({ title: `${label.label}: precision by band of the score` }, named),
      'Out-of-fold scores; lines are 95 % intervals.',
    )
  }
  if (result.map) {
    const { label, points } = result.map
    const subtitle = `coloured by ${label}, which training never saw`
    const cloud = points.map(({ x, y, value }) => ({ x, y, series: String(value) }))
    await draw(scatterPlot({ title: 'Map of the vectors', subtitle }, cloud), `${points.length} entities.`)
  }
  return { heading: result.task, tables: [mainTable(labels, true), budgetTable(labels, true)], figures }
}

function budgetCurves(label: LabelResult): Curve[] {
  return CURVES.flatMap(row => {
    const budgets = label.figures[row]?.budgets ?? []
    if (budgets.length < 2) return []
    const points = budgets.map(({ labels, score: { mean, sd } }) => ({
      x: labels,
      y: mean,
      low: mean - sd,
      high: Math.min(1, mean + sd),
    }))
    return [{ series: row, points }]
  })
}

function trainingCurves({ trainings }: TaskResult): Curve[] {
  return CURVED_ENCODERS.flatMap(series => {
    const log = trainings[series]?.log ?? []
    const points = log.flatMap(({ epoch, heldOutLoss }) => (heldOutLoss === null ? [] : [{ x: epoch, y: heldOutLoss }]))
    return points.length > 1 ? [{ series, points }] : []
  })
}
