// One file of a table, open in a database of its own.

import type { DuckDBConnection } from '@duckdb/node-api'
import { expectRange } from '../util/errors.js'
import type { DatabaseOptions } from './database_options.js'
import { Database } from './duckdb.js'
import { findFiles, verifyGzip } from './files.js'
import { describeFile, type Relation } from './relation.js'

export interface OpenFile {
  readonly connection: DuckDBConnection
  readonly relation: Relation
  /** Gives back the database; once. */
  readonly close: () => void
}

/** @param wanted  columns that must be there */
export async function openFile(
  file: string,
  wanted: readonly string[],
  where: string,
  options: DatabaseOptions & { readonly signal?: AbortSignal },
): Promise<OpenFile> {
  const database = await Database.open(where, options)
  try {
    const connection = await database.connect()
    const files = await findFiles(connection, file, where)
    expectRange(files.length === 1, where, 'one file', `${files.length} files`)
    if (files[0].isGzip) await verifyGzip(files[0], where, options.signal)
    const relation = await describeFile(connection, files[0], { required: wanted }, where, options.signal)
    return { connection, relation, close: () => database.close() }
  } catch (error) {
    database.close()
    throw error
  }
}
