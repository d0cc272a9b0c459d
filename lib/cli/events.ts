// What commands share that read events.

import { readEvents } from '../events/reader.js'
import type { Fields, Schema } from '../events/schema.js'
import type { EventSource } from '../events/source.js'
import type { Context } from './command.js'

export const EVENTS = {
  events: { kind: 'texts', value: 'FILE', required: true, about: 'events: CSV, CSV.gz, Parquet or JSON lines' },
  'memory-limit': {
    kind: 'text',
    value: 'SIZE',
    about: 'memory for sorting events, like 4GB, before they go to disk (default 1GB)',
  },
} as const

interface EventValues {
  readonly events: readonly string[]
  readonly 'memory-limit': string | undefined
}

/** The events that a command is told to read. */
export function openEvents<F extends Fields>(
  values: EventValues,
  schema: Schema<F>,
  { threads }: Pick<Context, 'threads'>,
): EventSource<F> {
  return readEvents(values.events, schema, { memoryLimit: values['memory-limit'], threads })
}
