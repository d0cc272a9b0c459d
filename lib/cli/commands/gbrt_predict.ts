import { readTable } from '../../events/table.js'
import { writeTable } from '../../events/write.js'
import { loadLightgbm } from '../../export/lightgbm.js'
import { progressLine } from '../../report/progress.js'
import type { GbrtModel } from '../../trees/model.js'
import { columnsOfLayout, layoutOfModel, readingOf } from '../../trees/table_input.js'
import { defineCommand } from '../command.js'
import { TABLE } from '../outputs.js'
import { scoringDevice } from '../table_device.js'

export const gbrtPredictCommand = defineCommand({
  name: 'gbrt predict',
  about: 'scores of the rows of a table',
  options: {
    table: { kind: 'text', value: 'FILE', required: true, about: 'CSV, CSV.gz, Parquet or JSON lines' },
    model: { kind: 'text', value: 'FILE', required: true, about: 'model that gbrt fit or LightGBM wrote' },
    out: { kind: 'text', value: 'FILE', required: true, writes: TABLE, about: 'scores, .csv or .parquet' },
    id: { kind: 'text', value: 'COL', about: 'column that names the rows (default: row numbers from 1)' },
    raw: { kind: 'flag', about: 'scores before the sigmoid or softmax' },
    shap: {
      kind: 'text',
      value: 'FILE',
      writes: TABLE,
      about: 'what each feature adds to the raw scores, .csv or .parquet',
    },
  },
  async run(values, context) {
    const { signal, threads, json } = context
    const { id, raw, shap } = values
    const begun = performance.now()
    const model = await loadLightgbm(values.model)
    const layout = layoutOfModel(model)
    const table = await readTable(values.table, { ...readingOf(layout), id, threads, signal })
    const device = scoringDevice('model', table.ids.length, model.iterations * model.info.numClass, context)
    const line = progressLine({ quiet: json })
    try {
      const { numClass } = model.info
      const data = { columns: columnsOfLayout(layout, table) }
      const all = await model.predict(device, data, { raw, signal, onProgress: line.update })
      const score = (k: number) => Float64Array.from(table.ids, (_, row) => all[row * numClass + k])
      const columns =
        numClass === 1
          ? { score: all }
          : Object.fromEntries(Array.from({ length: numClass }, (_, k) => [`score_${k}`, score(k)]))
      const added = shap === undefined ? undefined : shapColumns(model, await model.shap(device, data, { signal }))
      await writeTable(values.out, id ?? 'id', { ids: table.ids, columns }, { signal })
      if (added) await writeTable(shap!, id ?? 'id', { ids: table.ids, columns: added }, { signal })
      const seconds = (performance.now() - begun) / 1000
      return { out: values.out, ...(added && { shap }), rows: table.ids.length, seconds }
    } finally {
      line.done()
      device.close()
    }
  },
  show({ out, rows, seconds }) {
    return `scores of ${rows} rows in ${seconds.toFixed(1)} s: ${out}\n`
  },
})

/** `shap_NAME` for each feature and `base`, the mean; with the class behind where there are more. */
function shapColumns({ info }: GbrtModel, values: Float64Array): Record<string, Float64Array> {
  const { names, numClass } = info
  const width = numClass * (names.length + 1)
  const columns: Record<string, Float64Array> = {}
  const titles = [...names.map(name => `shap_${name}`), 'base']
  for (let k = 0; k < numClass; k++) {
    titles.forEach((title, f) => {
      const at = k * titles.length + f
      const column = Float64Array.from({ length: values.length / width }, (_, row) => values[row * width + at])
      columns[numClass === 1 ? title : `${title}_${k}`] = column
    })
  }
  return columns
}
