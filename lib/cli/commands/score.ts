import { writeTable } from '../../events/write.js'
import { progressLine } from '../../report/progress.js'
import { loadFinetuned } from '../../transfer/finetune/finetuned.js'
import { asOf } from '../as_of.js'
import { defineCommand } from '../command.js'
import { checkEvents, openEvents } from '../events.js'
import { INFERENCE, inferenceDevice } from '../inference.js'
import { TABLE } from '../outputs.js'

export const scoreCommand = defineCommand({
  name: 'score',
  about: 'scores of entities by a fine-tuned model',
  options: {
    model: { kind: 'text', value: 'DIR', required: true, about: 'folder that finetune wrote' },
    ...INFERENCE,
    out: { kind: 'text', value: 'FILE', required: true, writes: TABLE, about: 'scores, .csv or .parquet' },
  },
  async run(values, context) {
    const { signal, threads, json } = context
    const present = asOf(values['as-of'])
    checkEvents(values, { threads })
    const device = inferenceDevice(values.precision, context)
    const line = progressLine({ quiet: json })
    const begun = performance.now()
    try {
      const model = await loadFinetuned(values.model, { device })
      const schema = model.schema!
      const source = openEvents(values, schema, { threads })
      try {
        const { ids, width, scores } = await model.score(source, { asOf: present, signal, onProgress: line.update })
        const column = (c: number) => Float64Array.from(ids, (_, row) => scores[row * width + c])
        const columns = Object.fromEntries(model.scoreNames.map((name, c) => [name, column(c)]))
        await writeTable(values.out, schema.entity, { ids, columns }, { signal })
        const seconds = (performance.now() - begun) / 1000
        return { out: values.out, entities: ids.length, columns: model.scoreNames, seconds }
      } finally {
        await source.close()
      }
    } finally {
      line.done()
      device.close()
    }
  },
  show({ out, entities, seconds }) {
    return `scores of ${entities} entities in ${seconds.toFixed(1)} s: ${out}\n`
  },
})
