import { readTable } from '../../events/table.js'
import { readVectors } from '../../events/vectors.js'
import { progressLine } from '../../report/progress.js'
import { markdownTable } from '../../report/table.js'
import { probe } from '../../transfer/probe.js'
import { pickLabel } from '../../transfer/tables.js'
import { defineCommand, UsageError } from '../command.js'
import { fittingDevice } from '../table_device.js'
import { readWithTargets } from '../targets.js'

export const probeCommand = defineCommand({
  name: 'probe',
  about: 'how much vectors know of a label: AUC or accuracy over folds',
  options: {
    vectors: { kind: 'text', value: 'FILE', required: true, about: 'vectors that encode wrote' },
    labels: { kind: 'text', value: 'FILE', required: true, about: 'labels: CSV or Parquet, one row per entity' },
    id: { kind: 'text', value: 'COL', required: true, about: 'column of the entity, in all files' },
    label: { kind: 'text', value: 'COL', required: true, about: 'column of the label; an empty cell is unknown' },
    features: { kind: 'text', value: 'FILE', about: 'hand-made features, to compare with and to add to' },
    folds: { kind: 'number', range: 'whole [2, ∞)', value: 'N', about: 'folds to draw (default 5)' },
    'fold-column': { kind: 'text', value: 'COL', about: 'column that says the fold of an entity' },
    budgets: {
      kind: 'numbers',
      range: 'whole [2, ∞)',
      value: '50,100,…',
      about: 'also learn from so many labels only',
    },
    learner: { kind: 'text', oneOf: ['linear', 'gbrt'], about: 'what learns from the vectors', fallback: 'linear' },
  },
  async run(values, context) {
    const { signal, seed, threads, json } = context
    const { id, label, 'fold-column': foldColumn, folds } = values
    if (folds !== undefined && foldColumn !== undefined) {
      throw new UsageError('expected --folds or --fold-column but received both')
    }
    const columns = foldColumn === undefined ? [label] : [label, foldColumn]
    const labels = pickLabel(
      await readWithTargets('labels', values.labels, label, { id, columns, numeric: columns, threads, signal }),
      label,
      foldColumn,
    )
    const vectors = await readVectors(values.vectors, { id, threads, signal })
    const features =
      values.features === undefined ? undefined : await readTable(values.features, { id, threads, signal })
    const learner = values.learner as 'linear' | 'gbrt'
    // Boosted trees are what a card was measured to gain on; the linear learner's passes over a table were not.
    const rows = learner === 'gbrt' ? Math.min(labels.ids.length, vectors.ids.length) : 0
    const width = vectors.width + Object.keys(features?.columns ?? {}).length
    const device = fittingDevice(rows, width, context)
    const line = progressLine({ quiet: json })
    try {
      return await probe({
        vectors,
        features,
        labels,
        label,
        folds,
        budgets: values.budgets,
        learner,
        seed,
        device,
        signal,
        onProgress: ({ fraction, set }) => line.update({ phase: set, done: fraction, total: 1 }),
      })
    } finally {
      line.done()
      device.close()
    }
  },
  show({ label, metric, learner, rows, folds, results, budgets = [] }) {
    const cell = (score?: { mean: number; sd: number }) =>
      score ? `${score.mean.toFixed(4)} ± ${score.sd.toFixed(4)}` : ''
    const line = (name: string, { vectors, features, both }: typeof results) => [
      name,
      cell(vectors),
      cell(features),
      cell(both),
    ]
    const lines = [line('all', results), ...budgets.map(budget => line(String(budget.labels), budget.results))]
    const head = `${label}: ${metric === 'auc' ? 'AUC' : metric}, ${learner} on ${rows} entities, ${folds} folds`
    return `${head}\n\n${markdownTable(['labels', 'vectors', 'features', 'both'], lines)}\n`
  },
})
