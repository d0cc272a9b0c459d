// The ready tasks beside the project: events, schema, labels and folds.

import { existsSync, readdirSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { gunzipSync } from 'node:zlib'
import { type EventSource, loadSchema, readEvents, readTable } from '../../lib/events/index.js'

export const tasksFolder = fileURLToPath(new URL('../../../shared/tasks', import.meta.url))

export interface TaskLabel {
  readonly name: string
  readonly ids: readonly string[]
  /** NaN where unknown. */
  readonly values: Float64Array
  readonly fold: Int32Array
}

export interface Task {
  readonly name: string
  readonly entity: string
  readonly source: EventSource
  readonly labels: readonly TaskLabel[]
}

/** In how many folds a label is known. */
export function foldsOf({ values, fold }: TaskLabel): number {
  return new Set(fold.filter((_, row) => !Number.isNaN(values[row]))).size
}

/** Names of the tasks with labels, or none where the folder is absent. */
export function taskNames(): string[] {
  if (!existsSync(tasksFolder)) return []
  return readdirSync(tasksFolder, { withFileTypes: true })
    .filter(entry => entry.isDirectory() && existsSync(join(tasksFolder, entry.name, 'labels.csv.gz')))
    .map(entry => entry.name)
    .sort()
}

export function openTask(name: string): Promise<Task> {
  const file = (ending: string) => join(tasksFolder, name, ending)
  return openTaskFiles(name, {
    events: file('events.csv.gz'),
    labels: file('labels.csv.gz'),
    schema: file('schema.json'),
  })
}

interface TaskFiles {
  readonly events: string
  /** Entity, a column for each label, `fold`. */
  readonly labels: string
  readonly schema: string
}

export async function openTaskFiles(name: string, files: TaskFiles): Promise<Task> {
  const schema = await loadSchema(files.schema)
  const source = readEvents(files.events, schema)
  const bytes = await readFile(files.labels)
  const text = files.labels.endsWith('.gz') ? gunzipSync(bytes) : bytes
  const [header] = text.toString('utf8', 0, 4096).split('\n')
  const names = header.split(',').slice(1)
  const table = await readTable(files.labels, { id: schema.entity, numeric: names })
  const fold = Int32Array.from(table.columns.fold)
  const labels = names
    .filter(column => column !== 'fold')
    .map(column => ({ name: column, ids: table.ids, values: table.columns[column], fold }))
  return { name, entity: schema.entity, source, labels }
}
