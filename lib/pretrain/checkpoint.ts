// A checkpoint: all weights, the optimiser's state and where the run stood, in one file that is whole or not there.

import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { readSafetensors, type StoredTensor, writeSafetensors } from '../export/safetensors.js'
import { SeqriskError, sentence } from '../util/errors.js'
import { expectPlace, isThere } from '../util/files.js'
import type { EpochRow, Sums } from './log.js'

/** Where a run stands, between two steps. */
export interface RunState {
  /** Steps done since the start. */
  readonly step: number
  readonly epoch: number
  /** Steps done in this epoch. */
  readonly stepInEpoch: number
  readonly sums: Sums
  readonly rows: readonly EpochRow[]
  readonly bestHeldOut: number | null
  readonly epochsWithoutBetter: number
}

export interface Checkpoint<S = RunState> {
  readonly state: S
  readonly tensors: ReadonlyMap<string, StoredTensor>
}

const NAME = 'checkpoint.safetensors'
/** The log so far: training.json belongs to the model in the folder, which may be an older one. */
export const RUNNING_LOG = 'checkpoint.json'

/** `fingerprint` stands for everything that must be the same for a resumed run to end in the same bits. */
export async function writeCheckpoint<S>(
  folder: string,
  fingerprint: string,
  checkpoint: Checkpoint<S>,
): Promise<void> {
  const metadata = { fingerprint, state: JSON.stringify(checkpoint.state) }
  await writeSafetensors(join(folder, NAME), { tensors: checkpoint.tensors, metadata })
}

/** @throws {SeqriskError} code `CHECKPOINT_MISMATCH` if it belongs to a run with other options or data */
export async function readCheckpoint<S>(
  where: string,
  folder: string,
  fingerprint: string,
): Promise<Checkpoint<S> | null> {
  const path = join(folder, NAME)
  if (!(await isThere(path))) return null
  const { tensors, metadata } = await readSafetensors(path)
  if (metadata.fingerprint !== fingerprint) {
    const advice = 'resume with the options and events of the first run, or start in another folder'
    const text = `[${where}] expected a checkpoint of this run in ${path} but received one of another run; ${advice}`
    throw new SeqriskError('CHECKPOINT_MISMATCH', text)
  }
  return { state: JSON.parse(metadata.state) as S, tensors }
}

/** Whether a run that did not end left something. @param files  as of `expectFreeFolder` */
export async function hasWork(folder: string, files: readonly string[] = []): Promise<boolean> {
  for (const path of workIn(folder, files)) if (await isThere(path)) return true
  return false
}

const workIn = (folder: string, files: readonly string[]) => [NAME, ...files].map(file => join(folder, file))

/** What a call says about a run that was there before. */
export interface Continuation {
  readonly out?: string | undefined
  readonly resume?: boolean | undefined
  readonly restart?: boolean | undefined
}

/**
 * Refuses, before any data is read, a folder that cannot be written to, and one where an interrupted run left its work: the new
 * one would write over hours of it.
 * @param files  beside the checkpoint, what only an unfinished run leaves
 * @throws {SeqriskError} codes `WRITE_FAILED`; `RUN_UNFINISHED` unless the call resumes that run or gives it up
 */
export async function expectFreeFolder(
  where: string,
  { out, resume, restart }: Continuation,
  files: readonly string[] = [],
): Promise<void> {
  if (out === undefined) return
  await expectPlace(out, 'folder')
  if (resume || restart) return
  for (const path of workIn(out, files)) if (await isThere(path)) throw unfinished(where, path)
}

/** The error for the work of a run that did not end. */
export function unfinished(where: string, path: string): SeqriskError {
  const advice = 'resume that run, restart to give it up, or name another folder'
  return new SeqriskError('RUN_UNFINISHED', sentence(where, 'no unfinished run', path, advice))
}

/**
 * Where a call gives up a run that did not end, removes what that run left: what is resumed later is the call's own. Not before
 * events and labels are read, which may refuse the call: the old run is lost then.
 * @param files  as of `expectFreeFolder`
 */
export async function giveUp(
  { out, restart, signal }: Continuation & { readonly signal?: AbortSignal | undefined },
  files: readonly string[] = [],
): Promise<void> {
  signal?.throwIfAborted()
  if (out !== undefined && restart) await removeCheckpoint(out, files)
}

/** @param files  others to remove with it, or folders */
export async function removeCheckpoint(folder: string, files: readonly string[] = []): Promise<void> {
  for (const name of [NAME, RUNNING_LOG, ...files]) await rm(join(folder, name), { force: true, recursive: true })
}
