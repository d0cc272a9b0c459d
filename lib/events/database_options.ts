// Apart from duckdb.ts, so that the types of the package can be used where the optional peer is not installed.

import { expectRange, expectType } from '../util/errors.js'

/** How files are read. */
export interface DatabaseOptions {
  /** DuckDB's own memory before it spills to disk: a number with B, KB, MB, GB or TB, e.g. '2GB'. Default '1GB'. */
  readonly memoryLimit?: string | undefined
  /** Default: all cores. */
  readonly threads?: number | undefined
  /** Folder for spilled data: one is made in it and removed on close, of a killed process by the next. Default: the system's. */
  readonly temporaryFolder?: string | undefined
}

export const DATABASE_OPTIONS = ['memoryLimit', 'threads', 'temporaryFolder'] as const

/** @throws {TypeError} for what is no text  @throws {RangeError} for a memory limit or a number of threads that cannot be */
export function expectDatabaseOptions(where: string, { memoryLimit = '1GB', threads = 1 }: DatabaseOptions): void {
  const memory = "memoryLimit like '2GB'"
  expectType(typeof memoryLimit === 'string', where, memory, memoryLimit)
  expectRange(/^\d*\.?\d+ ?(B|[KMGT](i?B)?)$/i.test(memoryLimit), where, memory, memoryLimit)
  expectRange(Number.isInteger(threads) && threads > 0, where, 'threads ≥ 1', threads)
}
