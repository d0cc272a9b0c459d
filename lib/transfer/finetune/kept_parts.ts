// Results of those parts of a long run that are done, in one JSON file: an interrupted run goes on behind them.

import { readFile, rm } from 'node:fs/promises'
import { unfinished } from '../../pretrain/checkpoint.js'
import { SeqriskError, sentence } from '../../util/errors.js'
import { writeFileAtomic } from '../../util/files.js'

/** As they stand in the file. */
export interface StoredParts<T> {
  readonly fingerprint: string
  readonly parts: T[]
}

export class KeptParts<T> {
  readonly #path: string | null
  readonly #stored: StoredParts<T>

  private constructor(path: string | null, stored: StoredParts<T>) {
    this.#path = path
    this.#stored = stored
  }

  /**
   * @param path         null: nothing is kept
   * @param fingerprint  stands for all that decides the results
   * @param isResumed    whether to begin with what is there
   * @param ended        what a run that has ended left elsewhere
   * @throws {SeqriskError} code `CHECKPOINT_MISMATCH` for parts of another run, `CHECKPOINT_INVALID` for a file that
   * cannot be read
   */
  static async open<T>(
    path: string | null,
    fingerprint: string,
    isResumed: boolean,
    ended: StoredParts<T> | null = null,
  ): Promise<KeptParts<T>> {
    const stored = path !== null && isResumed ? await readStored<T>(path) : null
    if (stored === null && ended?.fingerprint === fingerprint) return new KeptParts(path, ended)
    if (stored === null) return new KeptParts<T>(path, { fingerprint, parts: [] })
    if (stored.fingerprint === fingerprint) return new KeptParts(path, stored)
    const advice = 'resume with the options and events of the first run, or start in another folder'
    throw new SeqriskError(
      'CHECKPOINT_MISMATCH',
      sentence('finetune', `results of this run in ${path}`, 'those of another', advice),
    )
  }

  get stored(): StoredParts<T> {
    return this.#stored
  }

  get done(): readonly T[] {
    return this.#stored.parts
  }

  async add(part: T): Promise<void> {
    this.#stored.parts.push(part)
    if (this.#path !== null) await writeFileAtomic(this.#path, `${JSON.stringify(this.#stored)}\n`)
  }

  async remove(): Promise<void> {
    if (this.#path !== null) await rm(this.#path, { force: true })
  }
}

/**
 * Refuses a file with some parts of a run that did not end.
 * @param parts  of a whole run
 * @throws {SeqriskError} codes `RUN_UNFINISHED`, `CHECKPOINT_INVALID`
 */
export async function expectAllParts(path: string, parts: number): Promise<void> {
  const stored = await readStored(path)
  if (stored !== null && stored.parts.length < parts) throw unfinished('finetune', path)
}

/** Null where there is no such file. */
async function readStored<T>(path: string): Promise<StoredParts<T> | null> {
  const advice = 'remove it to begin anew'
  const invalid = (received: string, cause?: unknown) =>
    new SeqriskError('CHECKPOINT_INVALID', sentence('finetune', `a whole ${path}`, received, advice), { cause })
  let stored: StoredParts<T>
  try {
    stored = JSON.parse(await readFile(path, 'utf8')) as StoredParts<T>
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return null
    throw invalid((cause as Error).message, cause)
  }
  if (!Array.isArray(stored?.parts)) throw invalid('no parts')
  return stored
}
