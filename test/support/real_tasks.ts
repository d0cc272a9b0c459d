// The walk over a real task folder that every table must survive: summary, encoding, chunks, batches, aggregates.

import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { expect } from 'vitest'
import {
  encodeChunk,
  fitEncoding,
  lengthGroupedBatches,
  loadSchema,
  readEvents,
  sliceBatch,
  wholeSequences,
} from '../../lib/events/index.js'
import { aggregate } from '../../lib/transfer/aggregate.js'

export const TASKS = join(import.meta.dirname, '../../../shared/tasks')
export const hasTasks = existsSync(TASKS)

export async function walkTask(task: string, entities: number, events: number): Promise<void> {
  const schema = await loadSchema(join(TASKS, task, 'schema.json'))
  const source = readEvents(join(TASKS, task, 'events.csv.gz'), schema)
  try {
    expect(await source.summary()).toMatchObject({ entities, events })
    const encoding = await fitEncoding(source)
    const seen = new Set<string>()
    let count = 0
    for await (const chunk of source.chunks()) {
      const encoded = encodeChunk(chunk, encoding)
      for (const id of chunk.ids) seen.add(id)
      count += encoded.time.length
      for (const [i, { codes }] of encoded.inputs.entries()) {
        const { size } = encoding.inputs[i]
        expect(codes.every(code => code >= 0 && code < size)).toBe(true)
      }
      const lengths = Array.from(chunk.ids, (_, i) => chunk.offsets[i + 1] - chunk.offsets[i])
      const [first] = lengthGroupedBatches(lengths, { events: 2048, seed: 1, epoch: 0 })
      const batch = sliceBatch(encoded, wholeSequences(encoded.offsets, first))
      expect(batch.offsets[first.length]).toBe(first.reduce((sum, sequence) => sum + lengths[sequence], 0))
    }
    expect([seen.size, count]).toEqual([entities, events])
    const table = await aggregate(source)
    expect(table.ids).toEqual([...seen])
    expect(table.columns['time.count'].reduce((sum, one) => sum + one, 0)).toBe(events)
  } finally {
    await source.close()
  }
}
