// Figures of stages, kept on disk as soon as they are there: a run that was ended goes on where it was.

import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { writeFileAtomic } from '../../../lib/util/files.js'

/** To be raised when a stage computes something else from the same options. */
const VERSION = 1

export class StageCache {
  readonly folder: string

  constructor(folder: string) {
    this.folder = folder
  }

  /** A name for files of a stage: the options decide, not when or where it ran. */
  path(stage: string, options: unknown, ending = '.json'): string {
    const hash = createHash('sha256')
      .update(JSON.stringify([VERSION, options]))
      .digest('hex')
      .slice(0, 12)
    return join(this.folder, `${stage.replaceAll(/[^\w.-]+/g, '_')}-${hash}${ending}`)
  }

  /** What was kept, or undefined. */
  peek<T>(stage: string, options: unknown): T | undefined {
    try {
      return JSON.parse(readFileSync(this.path(stage, options), 'utf8')) as T
    } catch {
      return undefined
    }
  }

  async get<T>(stage: string, options: unknown, compute: () => Promise<T>): Promise<T> {
    const kept = this.peek<T>(stage, options)
    if (kept !== undefined) return kept
    const value = await compute()
    await writeFileAtomic(this.path(stage, options), JSON.stringify(value))
    return value
  }
}
