// What commands share that read events.

import { expectDatabaseOptions } from '../events/database_options.js'
import { readEvents } from '../events/reader.js'
import type { Fields, Schema } from '../events/schema.js'
import type { EventSource } from '../events/source.js'
import { asUsage, type Context } from './command.js'

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

const databaseOf = (values: Pick<EventValues, 'memory-limit'>, { threads }: Pick<Context, 'threads'>) => ({
  memoryLimit: values['memory-limit'],
  threads,
})

/** Looks at how events are to be read, before a schema or a model is. @throws {UsageError} for what cannot be */
export function checkEvents(values: Pick<EventValues, 'memory-limit'>, context: Pick<Context, 'threads'>): void {
  asUsage(() => expectDatabaseOptions('readEvents', databaseOf(values, context)))
}

/** The events that a command is told to read. */
export function openEvents<F extends Fields>(
  values: EventValues,
  schema: Schema<F>,
  context: Pick<Context, 'threads'>,
): EventSource<F> {
  return readEvents(values.events, schema, databaseOf(values, context))
}
