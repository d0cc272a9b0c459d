// Events of a prepared task, encoded, as far as they are wanted.

import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import type { EncodedEvents } from '../../lib/events/encode.js'
import { concatEncoded, encodedChunks } from '../../lib/events/encode_source.js'
import { fitEncoding } from '../../lib/events/encoding.js'
import type { EventEncoding } from '../../lib/events/inputs.js'
import { readEvents } from '../../lib/events/reader.js'
import { parseSchema } from '../../lib/events/schema.js'

export interface RealEvents {
  readonly encoding: EventEncoding
  readonly encoded: EncodedEvents
}

/** Whole entities of about so many events; null when the task is not there. */
export async function realEvents(task: string, events: number): Promise<RealEvents | null> {
  const folder = fileURLToPath(new URL(`../../../shared/tasks/${task}`, import.meta.url))
  if (!existsSync(folder)) return null
  const schema = parseSchema(JSON.parse(await readFile(`${folder}/schema.json`, 'utf8')))
  const source = await readEvents([`${folder}/events.csv.gz`], schema)
  try {
    const encoding = await fitEncoding(source)
    const chunks: EncodedEvents[] = []
    let total = 0
    for await (const chunk of encodedChunks(source, encoding, { eventsPerChunk: events })) {
      chunks.push(chunk)
      total += chunk.time.length
      if (total >= events) break
    }
    return { encoding, encoded: concatEncoded(chunks) }
  } finally {
    await source.close()
  }
}
