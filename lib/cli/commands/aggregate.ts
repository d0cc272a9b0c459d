import { loadSchema } from '../../events/schema.js'
import { writeTable } from '../../events/write.js'
import { progressLine } from '../../report/progress.js'
import { aggregate } from '../../transfer/aggregate.js'
import { planAggregates } from '../../transfer/aggregate_plan.js'
import { loadAggregatePlan, saveAggregatePlan } from '../../transfer/plan_file.js'
import { AS_OF, asOf } from '../as_of.js'
import { defineCommand, UsageError } from '../command.js'
import { checkEvents, EVENTS, openEvents } from '../events.js'
import { TABLE } from '../outputs.js'

export const aggregateCommand = defineCommand({
  name: 'aggregate',
  about: 'hand-made features per entity: counts, sums, means, extremes, per category, recency',
  options: {
    ...EVENTS,
    schema: { kind: 'text', value: 'FILE', required: true, about: 'schema: entity, time and fields' },
    out: { kind: 'text', value: 'FILE', required: true, writes: TABLE, about: 'features, .parquet or .csv' },
    'save-plan': {
      kind: 'text',
      value: 'FILE',
      writes: 'file',
      about: 'keep which features there are, to make the same of later events',
    },
    plan: {
      kind: 'text',
      value: 'FILE',
      about: 'make the features that --save-plan kept (default: those of the events)',
    },
    'as-of': { ...AS_OF, about: 'the present, from which ages count back (default: the newest event of the plan)' },
  },
  async run(values, { signal, threads, json }) {
    if (values.plan !== undefined && values['save-plan'] !== undefined) {
      throw new UsageError('expected --plan or --save-plan but received both')
    }
    const present = asOf(values['as-of'])
    checkEvents(values, { threads })
    const schema = await loadSchema(values.schema)
    const kept = values.plan === undefined ? undefined : await loadAggregatePlan(values.plan)
    const source = openEvents(values, schema, { threads })
    const line = progressLine({ quiet: json })
    const control = { signal, onProgress: line.update }
    const begun = performance.now()
    try {
      const plan = kept ?? (await planAggregates(source, control))
      const table = await aggregate(source, { plan, asOf: present, ...control })
      await writeTable(values.out, schema.entity, table, { signal })
      if (values['save-plan'] !== undefined) await saveAggregatePlan(values['save-plan'], plan)
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
