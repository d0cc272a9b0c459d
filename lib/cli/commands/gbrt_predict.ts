import { readTable } from '../../events/table.js'
import { writeTable } from '../../events/write.js'
import { loadLightgbm } from '../../export/lightgbm.js'
import { Device } from '../../runtime/device.js'
import { columnsOfLayout, layoutOfModel, readingOf } from '../../trees/table_input.js'
import { defineCommand } from '../command.js'

export const gbrtPredictCommand = defineCommand({
  name: 'gbrt predict',
  about: 'scores of the rows of a table',
  options: {
    table: { kind: 'text', value: 'FILE', required: true, about: 'CSV, CSV.gz, Parquet or JSON lines' },
    model: { kind: 'text', value: 'FILE', required: true, about: 'model that gbrt fit or LightGBM wrote' },
    out: { kind: 'text', value: 'FILE', required: true, about: 'scores, .csv or .parquet' },
    id: { kind: 'text', value: 'COL', about: 'column that names the rows (default: row numbers from 1)' },
    raw: { kind: 'flag', about: 'scores before the sigmoid or softmax' },
  },
  async run(values, { signal, threads, device: kind }) {
    const { id, raw } = values
    const begun = performance.now()
    const model = await loadLightgbm(values.model)
    const layout = layoutOfModel(model)
    const table = await readTable(values.table, { ...readingOf(layout), id, signal })
    const device = new Device({ kind, threads })
    try {
      const { numClass } = model.info
      const all = await model.predict(device, { columns: columnsOfLayout(layout, table) }, { raw })
      const score = (k: number) => Float64Array.from(table.ids, (_, row) => all[row * numClass + k])
      const columns =
        numClass === 1
          ? { score: all }
          : Object.fromEntries(Array.from({ length: numClass }, (_, k) => [`score_${k}`, score(k)]))
      await writeTable(values.out, id ?? 'id', { ids: table.ids, columns }, { signal })
      return { out: values.out, rows: table.ids.length, seconds: (performance.now() - begun) / 1000 }
    } finally {
      device.close()
    }
  },
  show({ out, rows, seconds }) {
    return `scores of ${rows} rows in ${seconds.toFixed(1)} s: ${out}\n`
  },
})
