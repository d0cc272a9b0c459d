// What tells a run that has ended from one that has not: the log in the model's folder names the run and the weights that it ended
// with, the weights are those, and no checkpoint is there.

import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { SeqriskError } from '../util/errors.js'
import { hasWork } from './checkpoint.js'

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
 * The log of a run that ended in a folder, whose model is there; null where no model is, or an unfinished run beside it. A run that
 * is resumed once more has nothing left to do.
 * @param files  beside the checkpoint, what only an unfinished run leaves
 * @throws {SeqriskError} code `CHECKPOINT_MISMATCH` where the model is of another run, which resuming would write over
 */
export async function finishedRun<Log extends Ended>(
  where: string,
  folder: string,
  fingerprint: string,
  files: readonly string[] = [],
): Promise<Log | null> {
  if (await hasWork(folder)) return null
  const log = await readJson<Log>(join(folder, LOG))
  const config = await readJson<Ended>(join(folder, 'config.json'))
  if (log?.run === fingerprint && log.weights !== undefined && log.weights === config?.weights) return log
  if (config === null || (await hasWork(folder, files))) return null
  throw anotherRun(where, folder)
}

/** The error for a folder with the model of a run that had other options or data. */
export function anotherRun(where: string, folder: string): SeqriskError {
  const advice = 'leave resume out to replace that model, or name another folder'
  const text = `[${where}] expected the model of this run in '${folder}', or none, but received that of another; ${advice}`
  return new SeqriskError('CHECKPOINT_MISMATCH', text)
}

/** Null where it is not there, or no JSON. */
export async function readJson<T>(path: string): Promise<T | null> {
  try {
    return JSON.parse(await readFile(path, 'utf8')) as T
  } catch {
    return null
  }
}
