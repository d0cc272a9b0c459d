import { readEvents } from '../../events/reader.js'
import { loadSchema } from '../../events/schema.js'
import { writeTable } from '../../events/write.js'
import { progressLine } from '../../report/progress.js'
import { aggregate } from '../../transfer/aggregate.js'
import { defineCommand } from '../command.js'
import { TABLE } from '../outputs.js'

export const aggregateCommand = defineCommand({
  name: 'aggregate',
  about: 'hand-made features per entity: counts, sums, means, extremes, per category, recency',
  options: {
    events: { kind: 'texts', value: 'FILE', required: true, about: 'events: CSV, CSV.gz, Parquet or JSON lines' },
    schema: { kind: 'text', value: 'FILE', required: true, about: 'schema: entity, time and fields' },
    out: { kind: 'text', value: 'FILE', required: true, writes: TABLE, about: 'features, .parquet or .csv' },
  },
  async run(values, { signal, threads, json }) {
    const schema = await loadSchema(values.schema)
    const source = readEvents(values.events, schema, { threads })
    const line = progressLine({ quiet: json })
    const begun = performance.now()
    try {
      const table = await aggregate(source, { signal, onProgress: line.update })
      await writeTable(values.out, schema.entity, table, { signal })
      const seconds = (performance.now() - begun) / 1000
      return { out: values.out, entities: table.ids.length, features: Object.keys(table.columns).length, seconds }
    } finally {
      line.done()
      await source.close()
    }
  },
  show({ out, entities, features, seconds }) {
    return `${features} features of ${entities} entities in ${seconds.toFixed(1)} s: ${out}\n`
  },
})
