// DuckDB as an optional peer: loading it, a database with a memory limit that spills to a folder of its own, queries that
// can be cancelled, and its result vectors as typed arrays.

import { createRequire } from 'node:module'
import { availableParallelism, tmpdir } from 'node:os'
import { join } from 'node:path'
import type { DuckDBConnection, DuckDBDataChunk, DuckDBInstance, DuckDBResult } from '@duckdb/node-api'
import { SeqriskError, sentence } from '../util/errors.js'
import { type DatabaseOptions, expectDatabaseOptions } from './database_options.js'
import { makeSpillFolder, removeSpillFolder } from './spill.js'

const INTERRUPT_EVERY_MS = 20

/** The optional package, or an error that names it. The first call loads 70 MB of native code and takes its time. */
export function loadDuckdb(where: string): typeof import('@duckdb/node-api') {
  try {
    return createRequire(import.meta.url)('@duckdb/node-api')
  } catch (cause) {
    const message = `[${where}] expected the optional package '@duckdb/node-api' but received none; run npm install @duckdb/node-api`
    throw new SeqriskError('PACKAGE_MISSING', message, { cause })
  }
}

export class Database {
  readonly #instance: DuckDBInstance
  readonly #folder: string
  readonly #connections = new Set<DuckDBConnection>()
  #isClosed = false

  private constructor(instance: DuckDBInstance, folder: string) {
    this.#instance = instance
    this.#folder = folder
  }

  /** An empty database in memory: its tables too move to the temporary folder when memory runs short. */
  static async open(where: string, options: DatabaseOptions = {}): Promise<Database> {
    expectDatabaseOptions(where, options)
    const { DuckDBInstance } = loadDuckdb(where)
    const folder = await makeSpillFolder(options.temporaryFolder ?? tmpdir(), where)
    try {
      const instance = await DuckDBInstance.create(':memory:', {
        memory_limit: options.memoryLimit ?? '1GB',
        threads: String(options.threads ?? availableParallelism()),
        temp_directory: join(folder, 'spill'),
        autoinstall_known_extensions: 'false',
      })
      return new Database(instance, folder)
    } catch (cause) {
      removeSpillFolder(folder)
      const lack = ownError(where, cause)
      if (lack) throw lack
      const reason = cause instanceof Error ? cause.message : String(cause)
      throw new SeqriskError('DATABASE_FAILED', `[${where}] expected to open DuckDB but received: ${reason}`, { cause })
    }
  }

  async connect(): Promise<DuckDBConnection> {
    const connection = await this.#instance.connect()
    await connection.run(`SET TimeZone = 'UTC'`)
    this.#connections.add(connection)
    return connection
  }

  release(connection: DuckDBConnection): void {
    if (this.#connections.delete(connection)) connection.closeSync()
  }

  close(): void {
    if (this.#isClosed) return
    this.#isClosed = true
    for (const connection of this.#connections) connection.closeSync()
    this.#connections.clear()
    this.#instance.closeSync()
    removeSpillFolder(this.#folder)
  }
}

/** What the package says of a failure: its own errors as they are, and memory or disk that ran short in DuckDB; null of others. */
export function ownError(where: string, cause: unknown): SeqriskError | null {
  if (cause instanceof SeqriskError) return cause
  const reason = cause instanceof Error ? cause.message : ''
  if (!/Out of Memory Error|No space left|max_temp_directory_size|Could not write/i.test(reason)) return null
  const first = reason.split('\n')[0]
  const message = `[${where}] expected room for the data but received: ${first}; raise memoryLimit or free the temporary folder's disk`
  return new SeqriskError('OUT_OF_MEMORY', message, { cause })
}

/** Runs work on a connection and interrupts it when the signal fires; rejects with the signal's reason then. */
export async function interruptible<T>(
  connection: DuckDBConnection,
  signal: AbortSignal | undefined,
  work: () => Promise<T>,
): Promise<T> {
  if (!signal) return work()
  signal.throwIfAborted()
  let timer: NodeJS.Timeout | undefined
  // Repeated, since an interrupt that arrives between two statements is forgotten.
  const interrupt = () => {
    connection.interrupt()
    timer ??= setInterval(interrupt, INTERRUPT_EVERY_MS)
  }
  signal.addEventListener('abort', interrupt, { once: true })
  try {
    return await work()
  } catch (error) {
    signal.throwIfAborted()
    throw error
  } finally {
    clearInterval(timer)
    signal.removeEventListener('abort', interrupt)
  }
}

/** All rows of a small result as JavaScript values; 64-bit integers as numbers. */
export async function rows(
  connection: DuckDBConnection,
  sql: string,
  signal?: AbortSignal,
): Promise<readonly (readonly unknown[])[]> {
  const result = await interruptible(connection, signal, () => connection.runAndReadAll(sql))
  return result.getRowsJS().map(row => row.map(value => (typeof value === 'bigint' ? Number(value) : value)))
}

/** The one number that a query yields. */
export async function scalar(connection: DuckDBConnection, sql: string, signal?: AbortSignal): Promise<number> {
  return Number((await rows(connection, sql, signal))[0][0])
}

/**
 * The data chunks (at most 2048 rows each) of a query, never more than a few in memory. The client ends a stream that failed or was
 * interrupted as it ends a whole one, without an error: the rows are counted, and where some are missing, the query says why.
 * @param count  rows that the query has; null where nobody knows: they are counted when it has ended
 */
export async function* stream(
  connection: DuckDBConnection,
  sql: string,
  count: number | null,
  signal?: AbortSignal,
): AsyncGenerator<DuckDBDataChunk, void, void> {
  const result: DuckDBResult = await interruptible(connection, signal, () => connection.stream(sql))
  let seen = 0
  for (;;) {
    const chunk = await interruptible(connection, signal, () => result.fetchChunk())
    if (chunk === null || chunk.rowCount === 0) break
    seen += chunk.rowCount
    yield chunk
  }
  signal?.throwIfAborted()
  const all = count ?? (await scalar(connection, `SELECT count(*) FROM (${sql})`, signal))
  if (seen === all) return
  // Looks at every value and keeps none.
  await interruptible(connection, signal, () => connection.run(`SELECT max(COLUMNS(*)) FROM (${sql})`))
  throw new SeqriskError('DATABASE_FAILED', sentence('duckdb', `${all} rows`, seen, 'read again'))
}

type Items = Float64Array | Float32Array | Int32Array

/** A numeric column without NULLs: a view of DuckDB's memory that lives as long as the chunk. */
export function view<T extends Items>(chunk: DuckDBDataChunk, column: number): T {
  const vector = chunk.getColumnVector(column) as unknown as { readonly items?: T }
  if (!ArrayBuffer.isView(vector.items)) {
    throw new SeqriskError('DATABASE_FAILED', '[duckdb] expected a numeric vector but received another one')
  }
  return vector.items
}

/** A text column. */
export function texts(chunk: DuckDBDataChunk, column: number): (string | null)[] {
  return chunk.getColumnValues(column) as (string | null)[]
}

/** Quotes an identifier. */
export function name(identifier: string): string {
  return `"${identifier.replaceAll('"', '""')}"`
}

/** Quotes a string. */
export function text(value: string): string {
  return `'${value.replaceAll("'", "''")}'`
}

/** Quotes the path of one file. DuckDB takes every path for a glob: `e[1].csv` would name `e1.csv`. */
export function filePath(path: string): string {
  return text(path.replace(/[*?[]/g, '[$&]'))
}
