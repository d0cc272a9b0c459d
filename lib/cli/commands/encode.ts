import { loadEncoder } from '../../encoder/model_files.js'
import { VectorWriter } from '../../events/write.js'
import { progressLine } from '../../report/progress.js'
import { asOf } from '../as_of.js'
import { defineCommand } from '../command.js'
import { checkEvents, openEvents } from '../events.js'
import { INFERENCE, inferenceDevice } from '../inference.js'
import { TABLE } from '../outputs.js'

export const encodeCommand = defineCommand({
  name: 'encode',
  about: 'one vector per entity',
  options: {
    model: { kind: 'text', value: 'DIR', required: true, about: 'folder that pretrain wrote' },
    ...INFERENCE,
    out: { kind: 'text', value: 'FILE', required: true, writes: TABLE, about: 'vectors, .parquet or .csv' },
  },
  async run(values, context) {
    const { signal, threads, json } = context
    const present = asOf(values['as-of'])
    checkEvents(values, { threads })
    const device = inferenceDevice(values.precision, context)
    const line = progressLine({ quiet: json })
    const begun = performance.now()
    try {
      const { encoder, schema } = await loadEncoder(values.model, { device })
      const source = openEvents(values, schema, { threads })
      try {
        const writer = new VectorWriter(values.out, schema.entity, encoder.width, { signal })
        let entities = 0
        try {
          for await (const { ids, vectors } of encoder.encodeStream(source, {
            asOf: present,
            signal,
            onProgress: line.update,
          })) {
            await writer.append(ids, vectors)
            entities += ids.length
          }
          await writer.close()
        } catch (error) {
          await writer.abort()
          throw error
        }
        const seconds = (performance.now() - begun) / 1000
        return { out: values.out, entities, width: encoder.width, seconds }
      } finally {
        await source.close()
      }
    } finally {
      line.done()
      device.close()
    }
  },
  show({ out, entities, width, seconds }) {
    return `${entities} vectors of ${width} numbers in ${seconds.toFixed(1)} s: ${out}\n`
  },
})
