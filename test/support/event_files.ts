// Event files for tests, and the events of a source as plain rows to compare.

import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { DuckDBInstance } from '@duckdb/node-api'
import type { EventSource } from '../../lib/events/index.js'
import { temporaryFolder } from './folder.js'

export class EventFiles {
  readonly folder = temporaryFolder()
  #count = 0

  /** A new path with this ending. */
  path(ending: string): string {
    return join(this.folder, `file${this.#count++}${ending}`)
  }

  emptyFolder(): string {
    const path = this.path('')
    mkdirSync(path)
    return path
  }

  write(ending: string, content: string | Buffer): string {
    const path = this.path(ending)
    writeFileSync(path, content)
    return path
  }

  /** A Parquet file of a query. */
  async parquet(sql: string): Promise<string> {
    const path = this.path('.parquet')
    const instance = await DuckDBInstance.create(':memory:')
    const connection = await instance.connect()
    await connection.run(`SET TimeZone = 'UTC'`)
    await connection.run(`COPY (${sql}) TO '${path}' (FORMAT parquet)`)
    connection.closeSync()
    instance.closeSync()
    return path
  }
}

export type PlainEvent = readonly [id: string, time: number, ...fields: (string | number | null)[]]

/** Every event in order, missing values as null. Closes the source. */
export async function plainEvents(source: EventSource, eventsPerChunk?: number): Promise<PlainEvent[]> {
  const events: PlainEvent[] = []
  try {
    for await (const chunk of source.chunks({ eventsPerChunk })) {
      for (const [i, id] of chunk.ids.entries()) {
        for (let t = chunk.offsets[i]; t < chunk.offsets[i + 1]; t++) {
          const cells = Object.values(chunk.columns).map(column => {
            if (column instanceof Float64Array) return Number.isNaN(column[t]) ? null : column[t]
            return column.codes[t] < 0 ? null : column.dictionary[column.codes[t]]
          })
          events.push([id, chunk.time[t], ...cells])
        }
      }
    }
  } finally {
    await source.close()
  }
  return events
}
