// Tables with one row per entity: labels, features and vectors, read from CSV, Parquet or JSON lines.

import type { DuckDBConnection } from '@duckdb/node-api'
import { expectOptions, SeqriskError, sentence } from '../util/errors.js'
import { Pace } from '../util/pace.js'
import { emptyRecord } from '../util/record.js'
import { DATABASE_OPTIONS, type DatabaseOptions } from './database_options.js'
import { rows, stream, texts, view } from './duckdb.js'
import { openFile } from './open_file.js'
import { type Conversion, convert, explain, type Relation } from './relation.js'

/** Named numbers per entity; NaN is missing. */
export interface FeatureTable {
  readonly ids: readonly string[]
  readonly columns: Readonly<Record<string, Float64Array>>
}

/** A table as it was read: columns of numbers, and columns of text with null for missing. */
export interface Table extends FeatureTable {
  /** Of all columns, in the order of the file or as they were asked for. */
  readonly names: readonly string[]
  readonly texts: Readonly<Record<string, readonly (string | null)[]>>
}

/** One row of `width` numbers per entity. */
export interface VectorTable {
  readonly ids: readonly string[]
  readonly width: number
  readonly vectors: Float32Array
}

/** What `readTable` can be told. */
export interface ReadTableOptions extends DatabaseOptions {
  /** The column of the entity. Without one, ids are the row numbers from 1. */
  readonly id?: string | undefined
  /** The columns to read. Default: all others. */
  readonly columns?: readonly string[] | undefined
  /** Columns that must be numbers, and columns to keep as text. The rest is numbers where every cell is one. */
  readonly numeric?: readonly string[] | undefined
  readonly text?: readonly string[] | undefined
  readonly signal?: AbortSignal | undefined
}

/** Reads a table in the order of its rows. @throws {SeqriskError} as `readEvents` does */
export async function readTable(file: string, options: ReadTableOptions = {}): Promise<Table> {
  const where = 'readTable'
  expectOptions(where, options, ['id', 'columns', 'numeric', 'text', 'signal', ...DATABASE_OPTIONS])
  const { id, numeric = [], text = [], signal } = options
  const named = [...(options.columns ?? []), ...numeric, ...text, ...(id === undefined ? [] : [id])]
  const { connection, relation, close } = await openFile(file, named, where, options)
  try {
    const all = [...relation.columns.keys()].filter(column => column !== id && column !== '')
    const columns = options.columns ?? all
    const found = columns.find(column => relation.columns.get(column)!.isList)
    if (found !== undefined) {
      throw new SeqriskError('COLUMN_MISSING', sentence(where, `single values in '${found}' of '${file}'`, 'lists'))
    }
    const kinds = await kindsOf(connection, relation, columns, { numeric, text }, where, signal)
    const cells = columns.map((column, i): readonly [string, string, Conversion] => {
      const { sql, value } = relation.columns.get(column)!
      return [column, sql, convert(sql, value, { to: kinds.isNumber[i] ? 'number' : 'text' })]
    })
    const idSql = id === undefined ? `''` : `CAST(${relation.columns.get(id)!.sql} AS VARCHAR)`
    const table = {
      ids: [] as string[],
      names: columns,
      columns: emptyRecord<Float64Array>(),
      texts: emptyRecord<(string | null)[]>(),
    }
    for (const [i, column] of columns.entries()) {
      if (kinds.isNumber[i]) table.columns[column] = new Float64Array(kinds.rows)
      else table.texts[column] = new Array(kinds.rows)
    }
    const selected = cells.map(([, , one], i) =>
      kinds.isNumber[i] ? `COALESCE(${one.sql}, CAST('NaN' AS DOUBLE))` : one.sql,
    )
    const sql = `SELECT ${[idSql, ...selected].join(', ')} FROM ${relation.from}`
    const pace = new Pace(signal)
    try {
      for await (const chunk of stream(connection, sql, kinds.rows, signal)) {
        const at = table.ids.length
        for (const [row, own] of texts(chunk, 0).entries())
          table.ids.push(id === undefined ? String(at + row + 1) : own!)
        for (const [i, column] of columns.entries()) {
          if (kinds.isNumber[i]) table.columns[column].set(view<Float64Array>(chunk, i + 1), at)
          else for (const [row, value] of texts(chunk, i + 1).entries()) table.texts[column][at + row] = value
          await pace.turn()
        }
      }
    } catch (cause) {
      throw await explain(connection, relation, relation.from, cells, cause, where, signal)
    }
    const hole = table.ids.findIndex(one => one === null || one === '')
    if (hole < 0) return table
    throw new SeqriskError('CELL_INVALID', sentence(where, `a value in '${id}', row ${hole + 1} of '${file}'`, 'none'))
  } finally {
    close()
  }
}

/** How many rows there are, and which columns are numbers: as asked for, by type, or because every cell of text is one. */
async function kindsOf(
  connection: DuckDBConnection,
  relation: Relation,
  columns: readonly string[],
  asked: { readonly numeric: readonly string[]; readonly text: readonly string[] },
  where: string,
  signal?: AbortSignal,
): Promise<{ rows: number; isNumber: boolean[] }> {
  const checks = columns.map(column => {
    const { sql, value } = relation.columns.get(column)!
    if (asked.text.includes(column) || value === 'calendar') return 'false'
    if (asked.numeric.includes(column) || value === 'number') return 'true'
    return `count(NULLIF(${sql}, '')) = count(TRY_CAST(replace(${sql}, '_', '?') AS DOUBLE))`
  })
  try {
    const [[count, ...isNumber]] = await rows(
      connection,
      `SELECT ${['count(*)', ...checks].join(', ')} FROM ${relation.from}`,
      signal,
    )
    return { rows: count as number, isNumber: isNumber.map(one => one === true) }
  } catch (cause) {
    throw await explain(connection, relation, relation.from, [], cause, where, signal)
  }
}
