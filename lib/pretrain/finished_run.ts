// What tells a run that has ended from one that has not: the log in the model's folder names the run and the weights that it ended
// with, the weights are those, and no checkpoint is there.

import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { hasCheckpoint } from './checkpoint.js'

/** Of a model, beside its weights. */
export const LOG = 'training.json'

/** What the log says of its run. */
export interface Ended {
  /** The fingerprint, as checkpoints have it. */
  readonly run?: string | undefined
  /** The digest of the weights, as config.json has it. */
  readonly weights?: string | undefined
}

/**
 * The log of a run that ended in a folder, whose model is there; null where another model is, or none. A run that is resumed once
 * more has nothing left to do.
 */
export async function finishedRun<Log extends Ended>(folder: string, fingerprint: string): Promise<Log | null> {
  if (await hasCheckpoint(folder)) return null
  const log = await readJson<Log>(join(folder, LOG))
  const config = await readJson<Ended>(join(folder, 'config.json'))
  const isOurs = log?.run === fingerprint && log.weights !== undefined && log.weights === config?.weights
  return isOurs ? log : null
}

/** Null where it is not there, or no JSON. */
export async function readJson<T>(path: string): Promise<T | null> {
  try {
    return JSON.parse(await readFile(path, 'utf8')) as T
  } catch {
    return null
  }
}
