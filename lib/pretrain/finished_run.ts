// What tells a run that has ended from one that has not: its log in the model's folder names it, and no checkpoint is there.

import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { hasCheckpoint } from './checkpoint.js'

/** Of a model, beside its weights. */
export const LOG = 'training.json'

/**
 * The log of a run that ended in a folder, whose model is there; null where another run's model is, or none. A run that is resumed
 * once more has nothing left to do.
 */
export async function finishedRun<Log>(folder: string, fingerprint: string): Promise<Log | null> {
  if (await hasCheckpoint(folder)) return null
  const text = await readFile(join(folder, LOG), 'utf8').catch(() => null)
  if (text === null) return null
  try {
    const log = JSON.parse(text) as Log & { readonly run?: string }
    return log.run === fingerprint ? log : null
  } catch {
    return null
  }
}
