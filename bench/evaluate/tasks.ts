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

/** Names of the tasks with labels, or none where the folder is absent. */
export function taskNames(): string[] {
  if (!existsSync(tasksFolder)) return []
  return readdirSync(tasksFolder, { withFileTypes: true })
    .filter(entry => entry.isDirectory() && existsSync(join(tasksFolder, entry.name, 'labels.csv.gz')))
    .map(entry => entry.name)
    .sort()
}

export async function openTask(name: string): Promise<Task> {
  const folder = join(tasksFolder, name)
  const schema = await loadSchema(join(folder, 'schema.json'))
  const source = readEvents(join(folder, 'events.csv.gz'), schema)
  const file = join(folder, 'labels.csv.gz')
  const [header] = gunzipSync(await readFile(file))
    .toString('utf8', 0, 4096)
    .split('\n')
  const names = header.split(',').slice(1)
  const table = await readTable(file, { id: schema.entity, numeric: names })
  const fold = Int32Array.from(table.columns.fold)
  const labels = names
    .filter(column => column !== 'fold')
    .map(column => ({ name: column, ids: table.ids, values: table.columns[column], fold }))
  return { name, entity: schema.entity, source, labels }
}
