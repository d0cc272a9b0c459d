import { readTable } from '../../events/table.js'
import { writeTable } from '../../events/write.js'
import { progressLine } from '../../report/progress.js'
import { IsolationForest } from '../../trees/isolation_forest.js'
import { columnsOfLayout, layoutOf } from '../../trees/table_input.js'
import { defineCommand, UsageError } from '../command.js'
import { TABLE } from '../outputs.js'
import { scoringDevice } from '../table_device.js'

export const iforestCommand = defineCommand({
  name: 'iforest',
  about: 'how unusual each row of a table is, by an isolation forest: scores in [0, 1], high = unusual',
  options: {
    table: { kind: 'text', value: 'FILE', required: true, about: 'CSV, CSV.gz, Parquet or JSON lines' },
    out: { kind: 'text', value: 'FILE', required: true, writes: TABLE, about: 'scores, .csv or .parquet' },
    id: { kind: 'text', value: 'COL', about: 'column that names the rows (default: row numbers from 1)' },
    drop: { kind: 'list', value: 'COL,…', about: 'columns to leave out' },
    categorical: { kind: 'list', value: 'COL,…', about: 'columns of text to take as codes' },
    trees: { kind: 'number', range: 'whole [1, 65536]', value: 'N', about: 'trees', fallback: 100 },
    samples: {
      kind: 'number',
      range: 'whole [1, 16777216]',
      value: 'N',
      about: 'rows that each tree is grown from',
      fallback: 256,
    },
    extension: {
      kind: 'number',
      range: 'whole [0, ∞)',
      value: 'N',
      about: 'features that a cut looks at besides one',
      fallback: 0,
    },
  },
  async run(values, context) {
    const { signal, seed, threads, json } = context
    const { id, drop = [], categorical, trees, samples, extension } = values
    if (id !== undefined && drop.includes(id))
      throw new UsageError(`expected '${id}' in one option but received it in two`)
    const begun = performance.now()
    const table = await readTable(values.table, { id, threads, signal })
    const layout = layoutOf('iforest', table, { drop, categorical })
    const columns = columnsOfLayout(layout, table)
    const device = scoringDevice('isolation', table.ids.length, trees, context)
    const line = progressLine({ quiet: json })
    try {
      const options = { trees, samples, extension, seed, signal, onProgress: line.update }
      const forest = await IsolationForest.fit(device, { columns }, options)
      const score = await forest.score({ columns }, { signal })
      await writeTable(values.out, id ?? 'id', { ids: table.ids, columns: { score } }, { signal })
    } finally {
      line.done()
      device.close()
    }
    const seconds = (performance.now() - begun) / 1000
    return { out: values.out, rows: table.ids.length, features: columns.length, trees, samples, seconds }
  },
  show({ out, rows, features, trees, seconds }) {
    return `scores of ${rows} rows × ${features} features by ${trees} trees in ${seconds.toFixed(1)} s: ${out}\n`
  },
})
