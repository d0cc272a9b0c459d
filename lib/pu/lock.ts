// One process at a time in a folder: a file that names its holder. A holder that died leaves it behind; it is taken over.

import { createHash, randomBytes } from 'node:crypto'
import { link, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { SeqriskError } from '../util/errors.js'
import { writeFailed } from '../util/files.js'

interface Holder {
  readonly pid: number
  /** Since when the process runs, where the system tells: process numbers are given out again. */
  readonly started: string
  readonly host: string
}

export class FolderLock {
  readonly #path: string
  readonly #text: string

  private constructor(path: string, text: string) {
    this.#path = path
    this.#text = text
  }

  /** @throws {SeqriskError} code `SESSION_BUSY` while another process holds it */
  static async take(folder: string): Promise<FolderLock> {
    const path = join(folder, 'lock')
    const own: Holder = { pid: process.pid, started: await startOf(process.pid), host: hostname() }
    const text = JSON.stringify({ ...own, token: randomBytes(6).toString('hex') })
    const draft = join(folder, `.lock.${randomBytes(6).toString('hex')}.tmp`)
    try {
      await writeFile(draft, text)
    } catch (cause) {
      await rm(draft, { force: true })
      throw writeFailed(path, cause)
    }
    try {
      const holder = await claim(path, draft)
      if (holder !== 'ours') throw busy(path, holder)
      return new FolderLock(path, text)
    } finally {
      await rm(draft, { force: true })
    }
  }

  async release(): Promise<void> {
    if ((await readFile(this.#path, 'utf8').catch(() => null)) === this.#text) await rm(this.#path, { force: true })
  }
}

const ATTEMPTS = 400
const PAUSE_MS = 5

/**
 * Makes `path` a file with the draft's content, unless a living process has one there: then says which. What a dead one
 * left is replaced by whoever claims the marker of that very content, in the same way: no two replace one lock, and
 * nobody replaces the lock of somebody who was faster.
 */
async function claim(path: string, draft: string): Promise<'ours' | Holder | null> {
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    if (await linkNew(draft, path)) return 'ours'
    const found = await readFile(path, 'utf8').catch(() => null)
    if (found === null) continue
    const holder = parse(found)
    if (holder && (await isAlive(holder))) return holder
    const marker = `${path}.${createHash('sha256').update(found).digest('hex').slice(0, 12)}`
    if ((await claim(marker, draft)) !== 'ours') {
      // Somebody else replaces it right now.
      await new Promise(resolve => setTimeout(resolve, PAUSE_MS))
      continue
    }
    try {
      if ((await readFile(path, 'utf8').catch(() => null)) !== found) continue
      const copy = `${draft}.copy`
      await link(draft, copy)
      await rename(copy, path)
      return 'ours'
    } catch (cause) {
      throw writeFailed(path, cause)
    } finally {
      await rm(marker, { force: true })
    }
  }
  return null
}

/** A link appears whole or not at all, and never replaces: false where there is a file. */
async function linkNew(from: string, to: string): Promise<boolean> {
  try {
    await link(from, to)
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false
    throw writeFailed(to, error)
  }
}

function busy(path: string, holder: Holder | null): SeqriskError {
  const who = holder ? `process ${holder.pid} on ${holder.host}` : 'another process'
  const advice = `wait for it; if it is gone for good, remove ${path}`
  return new SeqriskError(
    'SESSION_BUSY',
    `[active] expected a free session but received one in use by ${who}; ${advice}`,
  )
}

function parse(text: string): Holder | null {
  try {
    const { pid, started, host } = JSON.parse(text) as Holder
    return Number.isInteger(pid) && pid > 0 ? { pid, started, host } : null
  } catch {
    return null
  }
}

/** Of another machine nobody can tell: it counts as alive. */
async function isAlive({ pid, started, host }: Holder): Promise<boolean> {
  if (host !== hostname()) return true
  try {
    process.kill(pid, 0)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ESRCH') return false
  }
  const now = await startOf(pid)
  return now === started
}

/** The start of a process in ticks since the machine's, on Linux; nothing elsewhere. */
async function startOf(pid: number): Promise<string> {
  const text = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '')
  // The name in brackets may hold anything; field 22 is the 20th after it.
  return text.slice(text.lastIndexOf(')') + 2).split(' ')[19] ?? ''
}
