// An append-only log: one line of JSON and a checksum of it and all lines before. An entry is on disk when `append` returns.
// A second file says how many entries there are, so that a log that was cut is found out as well.

import { createHash } from 'node:crypto'
import { open, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { SeqriskError, sentence } from '../util/errors.js'
import { writeFailed, writeFileAtomic } from '../util/files.js'

interface Head {
  readonly entries: number
  readonly check: string
}

const LOG = 'log.jsonl'
const HEAD = 'head.json'

const chained = (before: string, text: string) =>
  createHash('sha256').update(before).update('\n').update(text).digest('hex').slice(0, 32)

export class DurableLog<T extends object> {
  readonly entries: T[]
  readonly #folder: string
  #check: string
  #bytes: number

  private constructor(folder: string, entries: T[], check: string, bytes: number) {
    this.#folder = folder
    this.entries = entries
    this.#check = check
    this.#bytes = bytes
  }

  /** An empty log. @param root  what the first checksum begins with, such as the text of the settings */
  static async create(folder: string, root: string): Promise<void> {
    await writeFileAtomic(join(folder, LOG), '')
    await writeHead(folder, { entries: 0, check: chained('', root) })
  }

  /**
   * Reads and checks a log. What a killed process left half written at its end was never acknowledged, and is cut off.
   * @throws {SeqriskError} code `LOG_DAMAGED` for a log that was edited or cut
   */
  static async open<T extends object>(folder: string, root: string): Promise<DurableLog<T>> {
    const path = join(folder, LOG)
    const head = await readHead(folder)
    const bytes = await readFile(path).catch((cause: unknown) => {
      throw damaged(`a log at ${path}`, 'none', cause)
    })
    const entries: T[] = []
    let check = chained('', root)
    let at = 0
    while (at < bytes.length) {
      const end = bytes.indexOf(10, at)
      const line = end < 0 ? null : bytes.toString('utf8', at, end)
      const next = line === null ? null : parse<T>(line, check)
      if (next === null) {
        const isTail = end < 0 || end === bytes.length - 1
        if (entries.length < head.entries || !isTail) {
          throw damaged(`line ${entries.length + 1} of ${path} as it was written`, 'another one')
        }
        break
      }
      entries.push(next.entry)
      check = next.check
      at = end + 1
      if (entries.length === head.entries && check !== head.check) {
        throw damaged(`the first ${head.entries} lines of ${path} as they were written`, 'others')
      }
    }
    if (head.entries === 0 && head.check !== chained('', root)) throw damaged('the settings as they were', 'others')
    if (entries.length < head.entries) throw damaged(`${head.entries} lines in ${path}`, entries.length)
    const log = new DurableLog<T>(folder, entries, check, at)
    if (at < bytes.length) await log.#truncate(at)
    if (entries.length > head.entries) await writeHead(folder, { entries: entries.length, check })
    return log
  }

  /** What the whole log is known by. */
  get check(): string {
    return this.#check
  }

  /**
   * One at a time: an entry is written behind those whose `append` has returned.
   * @throws {SeqriskError} code `WRITE_FAILED` (disk full, no rights); the log is as it was then
   */
  async append(entry: T): Promise<void> {
    const path = join(this.#folder, LOG)
    const text = JSON.stringify(entry)
    const check = chained(this.#check, text)
    const line = Buffer.from(`${text}\t${check}\n`)
    try {
      const file = await open(path, 'r+')
      try {
        for (let at = 0; at < line.length; ) {
          const { bytesWritten } = await file.write(line, at, line.length - at, this.#bytes + at)
          at += bytesWritten
        }
        await file.sync()
      } catch (error) {
        // What stays behind here is cut off by the next `open`.
        await file.truncate(this.#bytes).catch(() => {})
        throw error
      } finally {
        await file.close()
      }
    } catch (cause) {
      throw writeFailed(path, cause)
    }
    const bytes = this.#bytes + line.length
    try {
      await writeHead(this.#folder, { entries: this.entries.length + 1, check })
    } catch (error) {
      await this.#truncate(this.#bytes).catch(() => {})
      throw error
    }
    this.entries.push(entry)
    this.#check = check
    this.#bytes = bytes
  }

  async #truncate(bytes: number): Promise<void> {
    const path = join(this.#folder, LOG)
    try {
      const file = await open(path, 'r+')
      try {
        await file.truncate(bytes)
        await file.sync()
      } finally {
        await file.close()
      }
    } catch (cause) {
      throw writeFailed(path, cause)
    }
  }
}

function parse<T>(line: string, before: string): { entry: T; check: string } | null {
  const tab = line.lastIndexOf('\t')
  if (tab < 0) return null
  const text = line.slice(0, tab)
  const check = chained(before, text)
  return line.slice(tab + 1) === check ? { entry: JSON.parse(text) as T, check } : null
}

async function readHead(folder: string): Promise<Head> {
  const path = join(folder, HEAD)
  try {
    const { entries, check } = JSON.parse(await readFile(path, 'utf8')) as Head
    if (Number.isInteger(entries) && entries >= 0 && typeof check === 'string') return { entries, check }
  } catch (cause) {
    throw damaged(`a number of entries in ${path}`, 'none', cause)
  }
  throw damaged(`a number of entries in ${path}`, 'something else')
}

const writeHead = (folder: string, head: Head) => writeFileAtomic(join(folder, HEAD), `${JSON.stringify(head)}\n`)

function damaged(expected: string, received: unknown, cause?: unknown): SeqriskError {
  const advice = 'the session was edited or cut; restore the folder from a copy'
  return new SeqriskError('LOG_DAMAGED', sentence('active', expected, received, advice), { cause })
}
