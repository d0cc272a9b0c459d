// Real data: schema → events → encoding → batches → aggregates. Skipped aloud where the data is not at hand.

import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
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

const TASKS = join(import.meta.dirname, '../../../shared/tasks')
const isHere = existsSync(TASKS)
if (!isHere) console.warn('skipped: real event tables (no ../shared/tasks)')

/** Entities and events of `shared/tasks/README.md`. */
const EXPECTED: readonly (readonly [task: string, entities: number, events: number])[] = [
  ['berka', 1583, 78_164],
  ['bpic2012', 9591, 163_166],
  ['bpic2012_first8', 6942, 55_536],
  ['cdnow', 23_570, 56_902],
  ['completejourney', 2377, 75_000],
  ['online_retail', 3360, 232_053],
  ['oulad', 26_346, 79_450],
  ['physionet', 7990, 3_472_514],
  ['sepsis', 1050, 7624],
  ['sepsis_discharge', 782, 13_116],
  ['taiwan', 30_000, 180_000],
  ['traffic_fines', 98_989, 182_142],
]

describe.skipIf(!isHere)('real event tables', () => {
  it.each(EXPECTED)('%s streams through as %i entities and %i events', async (task, entities, events) => {
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
  })
})
