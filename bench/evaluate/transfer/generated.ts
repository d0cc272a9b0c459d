// The embedded data set as a task, for what no public label shows: whether an encoder learns the order of events.

import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { writeDemo } from '../../../lib/demo/write.js'
import { openTaskFiles, type Task } from '../tasks.js'

export const GENERATED = 'generated'

export async function openGenerated(folder: string): Promise<Task> {
  const labels = join(folder, 'labels.csv')
  // Labels are written after events; the schema is last.
  if (!existsSync(join(folder, 'schema.json'))) await writeDemo(folder)
  return openTaskFiles(GENERATED, { events: join(folder, 'events.csv'), labels, schema: join(folder, 'schema.json') })
}
