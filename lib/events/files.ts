// Finding input files and looking at their beginnings: globs, formats by ending, the header of a CSV file, whole gzip.

import { createReadStream } from 'node:fs'
import { readdir, realpath, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { createGunzip } from 'node:zlib'
import type { DuckDBConnection } from '@duckdb/node-api'
import { expectType, SeqriskError, sentence } from '../util/errors.js'
import { rows, text } from './duckdb.js'

export type Format = 'csv' | 'parquet' | 'jsonl'

export interface InputFile {
  readonly path: string
  readonly format: Format
  readonly isGzip: boolean
}

export interface CsvHeader {
  readonly columns: readonly string[]
  readonly delimiter: string
}

const ENDINGS: readonly (readonly [RegExp, Format])[] = [
  [/\.csv(\.gz)?$/i, 'csv'],
  [/\.(parquet|pq)$/i, 'parquet'],
  [/\.(jsonl|ndjson|json)(\.gz)?$/i, 'jsonl'],
]
const DELIMITERS = [',', ';', '\t', '|']
const LONGEST_HEADER = 1 << 20
/** What is no CSV by its first bytes, and what to do about it. */
const FOREIGN: readonly (readonly [bytes: readonly number[], what: string, advice: string])[] = [
  [[0xff, 0xfe], 'UTF-16', 'save it as UTF-8'],
  [[0xfe, 0xff], 'UTF-16', 'save it as UTF-8'],
  [[0x1f, 0x8b], 'gzip', 'name it .csv.gz'],
  [[0x50, 0x4b, 0x03, 0x04], 'a zip archive or spreadsheet', 'save it as CSV'],
]

/**
 * The files that paths, globs and folders name: in the order given, a glob's or folder's files by name. A file that is named
 * again, by a link too, counts once, where it was named first.
 */
export async function findFiles(
  connection: DuckDBConnection,
  patterns: string | readonly string[],
  where: string,
): Promise<InputFile[]> {
  const list = typeof patterns === 'string' ? [patterns] : patterns
  const isList = Array.isArray(list) && list.length > 0 && list.every(one => typeof one === 'string' && one !== '')
  expectType(isList, where, 'a file, a glob or a list of them', patterns)
  const files = new Map<string, InputFile>()
  for (const pattern of list) {
    for (const file of await expand(connection, pattern, where)) {
      // A link to nothing fails when it is read, with an error that says so.
      const real = await realpath(file.path).catch(() => file.path)
      if (!files.has(real)) files.set(real, file)
    }
  }
  return [...files.values()]
}

async function expand(connection: DuckDBConnection, pattern: string, where: string): Promise<InputFile[]> {
  const info = await stat(pattern).catch(() => null)
  if (info?.isDirectory()) {
    const names = (await readdir(pattern)).filter(one => !/^[._]/.test(one) && ENDINGS.some(([end]) => end.test(one)))
    if (names.length === 0) throw missing(where, pattern, 'a folder with CSV, Parquet or JSON lines files')
    return names.sort().map(one => inputFile(join(pattern, one), where))
  }
  if (info) {
    if (info.isFile() && info.size === 0) {
      throw new SeqriskError('FILE_EMPTY', sentence(where, 'a file with a header', `${pattern} of 0 bytes`))
    }
    return [inputFile(pattern, where)]
  }
  if (!/[*?[]/.test(pattern)) throw missing(where, pattern, 'an existing file')
  const found = (await rows(connection, `SELECT file FROM glob(${text(pattern)}) ORDER BY file`)) as [string][]
  if (found.length === 0) throw missing(where, pattern, 'a glob that matches a file')
  return found.map(([path]) => inputFile(path, where))
}

function missing(where: string, path: string, expected: string): SeqriskError {
  return new SeqriskError('FILE_NOT_FOUND', sentence(where, expected, path, 'check the path'))
}

function inputFile(path: string, where: string): InputFile {
  const format = ENDINGS.find(([ending]) => ending.test(path))?.[1]
  if (!format) {
    throw new TypeError(
      sentence(where, 'a file ending in .csv, .csv.gz, .parquet, .jsonl or .ndjson', path, 'rename it'),
    )
  }
  return { path, format, isGzip: /\.gz$/i.test(path) }
}

/** The first record of a CSV file, and which of `, ; tab |` separates it. */
export async function readCsvHeader(file: InputFile, where: string): Promise<CsvHeader> {
  const record = await firstRecord(file, where)
  if (record.trim() === '') {
    throw new SeqriskError('FILE_EMPTY', sentence(where, 'a header line', `'${file.path}' without one`))
  }
  let best: CsvHeader = { columns: splitRecord(record, ','), delimiter: ',' }
  for (const delimiter of DELIMITERS) {
    const columns = splitRecord(record, delimiter)
    if (columns.length > best.columns.length) best = { columns, delimiter }
  }
  return best
}

async function firstRecord(file: InputFile, where: string): Promise<string> {
  const source = createReadStream(file.path, { highWaterMark: 1 << 16 })
  const bytes = file.isGzip ? source.pipe(createGunzip()) : source
  source.on('error', error => bytes.destroy(error))
  const decoder = new TextDecoder()
  let seen = ''
  let isQuoted = false
  let at = 0
  try {
    for await (const block of bytes) {
      if (seen === '') expectCsv(file, block as Uint8Array, where)
      seen += decoder.decode(block as Uint8Array, { stream: true })
      for (; at < seen.length; at++) {
        const char = seen[at]
        if (char === '"') isQuoted = !isQuoted
        else if (char === '\0') throw foreign(file, 'NUL bytes, as UTF-16 has', 'save it as UTF-8', where)
        else if (!isQuoted && (char === '\n' || char === '\r')) return seen.slice(0, at)
      }
      if (seen.length > LONGEST_HEADER) break
    }
  } catch (cause) {
    throw cause instanceof SeqriskError ? cause : broken(file, cause, where)
  } finally {
    source.destroy()
  }
  if (isQuoted || seen.length > LONGEST_HEADER) {
    throw new SeqriskError('FILE_BROKEN', sentence(where, `a header line in '${file.path}'`, 'one that never ends'))
  }
  return seen
}

function expectCsv(file: InputFile, begin: Uint8Array, where: string): void {
  const found = FOREIGN.find(([bytes]) => bytes.every((byte, i) => begin[i] === byte))
  if (!found) return
  const [, what, advice] = found
  throw foreign(file, what, advice, where)
}

function foreign(file: InputFile, what: string, advice: string, where: string): SeqriskError {
  const message = `[${where}] expected CSV in UTF-8 in '${file.path}' but received ${what}; ${advice}`
  return new SeqriskError('FILE_BROKEN', message)
}

function splitRecord(record: string, delimiter: string): string[] {
  const cells: string[] = []
  let cell = ''
  let isQuoted = false
  for (let i = 0; i < record.length; i++) {
    const char = record[i]
    if (isQuoted && char === '"' && record[i + 1] === '"') {
      cell += '"'
      i++
    } else if (char === '"') {
      isQuoted = !isQuoted
    } else if (char === delimiter && !isQuoted) {
      cells.push(cell)
      cell = ''
    } else {
      cell += char
    }
  }
  cells.push(cell)
  return cells
}

/** Reads a gzip file to its end, since DuckDB takes a truncated or damaged one for a shorter one. */
export async function verifyGzip(file: InputFile, where: string, signal?: AbortSignal): Promise<void> {
  const gunzip = createGunzip({ chunkSize: 1 << 18 })
  try {
    await pipeline(
      createReadStream(file.path, { highWaterMark: 1 << 18 }),
      gunzip,
      async bytes => {
        for await (const _ of bytes);
      },
      { signal },
    )
  } catch (cause) {
    signal?.throwIfAborted()
    throw broken(file, cause, where)
  }
}

/** The error of a file that cannot be read to its end. */
export function broken(file: InputFile, cause: unknown, where: string): SeqriskError {
  const reason = cause instanceof Error ? cause.message.split('\n')[0] : String(cause)
  const message = `[${where}] expected a whole ${file.format} file but received '${file.path}': ${reason}; write it again`
  return new SeqriskError('FILE_BROKEN', message, { cause })
}
