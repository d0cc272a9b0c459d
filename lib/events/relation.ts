// One input file as SQL: what its columns are, how each becomes text, a number or a time, and which row breaks the rule.

import type { DuckDBConnection } from '@duckdb/node-api'
import { SeqriskError, sentence } from '../util/errors.js'
import { ISO_TIME } from './calendar.js'
import { filePath, name, ownError, rows, scalar, text } from './duckdb.js'
import { broken, type InputFile, readCsvHeader } from './files.js'

export type ValueClass = 'text' | 'number' | 'calendar'

export interface Column {
  readonly sql: string
  readonly value: ValueClass
  /** One list per row: the file holds one entity per row. */
  readonly isList: boolean
}

export interface Relation {
  readonly file: InputFile
  /** What stands after FROM. */
  readonly from: string
  readonly columns: ReadonlyMap<string, Column>
}

/** An expression, and whether a row of its input breaks it (for the search of the row to name). */
export interface Conversion {
  readonly sql: string
  readonly fails: string
  readonly expected: string
}

/** What a cell must become. `format` is a strptime format for calendar times in text, or in the digits of numbers. */
export type Target = { readonly to: 'text' | 'number' | 'calendar'; readonly format?: string }

/** A quarter of DuckDB's own: a cancelled query stops between buffers. Longest lines are 2 MB. */
const BUFFER_BYTES = 8_000_000

/** The columns to be read. Of the optional ones JSON lines need not have all: an object leaves out what it has no value of. */
export interface Wanted {
  readonly required: readonly string[]
  readonly optional?: readonly string[]
}

/** Looks at the columns of a file. */
export async function describeFile(
  connection: DuckDBConnection,
  file: InputFile,
  wanted: Wanted,
  where: string,
  signal?: AbortSignal,
): Promise<Relation> {
  if (file.format === 'csv') return describeCsv(file, [...wanted.required, ...(wanted.optional ?? [])], where)
  return describeTyped(connection, file, wanted, where, signal)
}

async function describeCsv(file: InputFile, wanted: readonly string[], where: string): Promise<Relation> {
  const header = await readCsvHeader(file, where)
  for (const column of wanted) {
    const count = header.columns.filter(one => one === column).length
    if (count > 1) {
      throw new SeqriskError('COLUMN_MISSING', sentence(where, `one column '${column}' in '${file.path}'`, count))
    }
  }
  expectColumns(header.columns, wanted, file, where)
  // Positions as names: header cells may repeat or be empty.
  const types = header.columns.map((_, i) => `'c${i}': 'VARCHAR'`).join(', ')
  const options = `auto_detect = false, buffer_size = ${BUFFER_BYTES}, header = true, delim = ${text(header.delimiter)}, quote = '"', escape = '"', nullstr = ''`
  return {
    file,
    from: `read_csv([${filePath(file.path)}], ${options}, columns = {${types}})`,
    columns: new Map(header.columns.map((one, i) => [one, { sql: `c${i}`, value: 'text', isList: false }])),
  }
}

async function describeTyped(
  connection: DuckDBConnection,
  file: InputFile,
  { required, optional = [] }: Wanted,
  where: string,
  signal?: AbortSignal,
): Promise<Relation> {
  const isJson = file.format === 'jsonl'
  const wanted = [...required, ...optional]
  const look = (options: string) => {
    const reader = isJson
      ? `read_json([${filePath(file.path)}], format = 'newline_delimited', records = true${options})`
      : parquet(file)
    return rows(connection, `DESCRIBE SELECT * FROM ${reader}`, signal) as Promise<readonly (readonly string[])[]>
  }
  let found: readonly (readonly string[])[]
  try {
    found = await look('')
    // The first look samples; a rare key may stand further down.
    const isMissing = () => wanted.some(column => !found.some(([one]) => one === column))
    if (isJson && isMissing()) found = await look(', sample_size = -1')
  } catch (cause) {
    signal?.throwIfAborted()
    if (isJson) await expectObjects(connection, file, where)
    throw broken(file, cause, where)
  }
  const names = found.map(([one]) => one)
  const absent = isJson ? absentFields(names, optional) : []
  expectColumns([...names, ...absent], wanted, file, where)
  found = [...found, ...absent.map(column => [column, 'VARCHAR'])]
  const columns = new Map<string, Column>()
  for (const [column, type] of found) {
    const isList = type.endsWith('[]')
    columns.set(column, {
      sql: name(column),
      value: isJson ? 'text' : valueClass(type.replace(/\[\d*\]$/, '')),
      isList,
    })
  }
  if (!isJson) return { file, from: parquet(file), columns }
  // As text, so that no guess about a type changes a value; 'columns' also refuses rows that are no objects.
  const types = found.map(([column, type]) => `${text(column)}: ${type.endsWith('[]') ? "'VARCHAR[]'" : "'VARCHAR'"}`)
  const from = `read_json([${filePath(file.path)}], format = 'newline_delimited', records = true, columns = {${types.join(', ')}})`
  return { file, from, columns }
}

/**
 * Fields that no object has, hence missing values. None of them where all are absent, which a wrong file is, nor one that is there in
 * other letters' case: these are errors.
 */
function absentFields(found: readonly string[], optional: readonly string[]): string[] {
  if (!optional.some(column => found.includes(column))) return []
  const names = new Set(found.map(one => one.toLowerCase()))
  return optional.filter(column => !names.has(column.toLowerCase()))
}

/** The look for columns does not say which row is no object, or that there is no row; reading does. */
async function expectObjects(connection: DuckDBConnection, file: InputFile, where: string): Promise<void> {
  const options = `format = 'newline_delimited', records = true, columns = {x: 'VARCHAR'}`
  const sql = `SELECT count(*), count(x) FROM read_json([${filePath(file.path)}], ${options})`
  const count = await scalar(connection, sql).catch(cause => {
    throw broken(file, cause, where)
  })
  if (count > 0) return
  throw new SeqriskError('FILE_EMPTY', sentence(where, 'at least one object', `none in '${file.path}'`))
}

function parquet(file: InputFile): string {
  return `read_parquet([${filePath(file.path)}])`
}

function valueClass(type: string): ValueClass {
  if (/^(DATE|TIMESTAMP)/.test(type)) return 'calendar'
  return /^(U?(TINY|SMALL|BIG|HUGE)INT|U?INTEGER|DOUBLE|FLOAT|DECIMAL|BOOLEAN)/.test(type) ? 'number' : 'text'
}

function expectColumns(found: readonly string[], wanted: readonly string[], file: InputFile, where: string): void {
  const lost = [...new Set(wanted)].filter(column => !found.includes(column))
  if (lost.length === 0) return
  const list = lost.map(column => `'${column}'`).join(', ')
  const message = `[${where}] expected ${lost.length > 1 ? 'columns' : 'column'} ${list} in '${file.path}' but received ${found.join(', ')}; name the columns that exist`
  throw new SeqriskError('COLUMN_MISSING', message)
}

/** How the value `sql` of a class becomes the target. An empty text is missing (NULL). */
export function convert(sql: string, value: ValueClass, target: Target): Conversion {
  const cell = value === 'text' ? `NULLIF(${sql}, '')` : sql
  const never = 'false'
  if (target.to === 'text') return { sql: `NULLIF(CAST(${sql} AS VARCHAR), '')`, fails: never, expected: 'text' }
  if (target.to === 'number') {
    const expected = 'a number'
    if (value === 'calendar') {
      return { sql: `CAST(CAST(${cell} AS VARCHAR) AS DOUBLE)`, fails: `${cell} IS NOT NULL`, expected }
    }
    // DuckDB reads 1_000 as a number; here it is none.
    const fails = `${cell} IS NOT NULL AND (TRY_CAST(${cell} AS DOUBLE) IS NULL OR contains(CAST(${cell} AS VARCHAR), '_'))`
    return value === 'number'
      ? { sql: `CAST(${cell} AS DOUBLE)`, fails: never, expected }
      : { sql: `CAST(replace(${cell}, '_', '?') AS DOUBLE)`, fails, expected }
  }
  const micros = (time: string) => `epoch_us(CAST(${time} AS TIMESTAMPTZ)) / 1000.0`
  if (target.format !== undefined && value !== 'calendar') {
    const format = text(target.format)
    const written = value === 'text' ? cell : `CAST(${cell} AS VARCHAR)`
    return {
      sql: micros(`strptime(${written}, ${format})`),
      fails: `${cell} IS NOT NULL AND try_strptime(${written}, ${format}) IS NULL`,
      expected: `a time in the format ${target.format}`,
    }
  }
  const time = value === 'text' ? isoTime(cell) : cell
  return {
    sql: micros(time),
    fails: `${cell} IS NOT NULL AND TRY(${micros(time)}) IS NULL`,
    expected: 'an ISO date or date-time (other texts need a format in the schema)',
  }
}

/** DuckDB takes much that is no ISO text, and refuses a zone right behind the minutes: the slow second way is for these. */
function isoTime(cell: string): string {
  const iso = text(ISO_TIME.source)
  const usual = `CASE WHEN regexp_full_match(${cell}, ${iso}) THEN ${cell} END`
  const rare = `regexp_replace(regexp_extract(${cell}, ${iso}), '([T ]\\d+:\\d\\d)(Z| UTC|[+-].*)$', '\\1:00\\2')`
  return `COALESCE(TRY_CAST(${usual} AS TIMESTAMPTZ), CAST(${rare} AS TIMESTAMPTZ))`
}

/** The error behind a failed read: the cell that breaks its rule, or what DuckDB says about the file. */
export async function explain(
  connection: DuckDBConnection,
  relation: Relation,
  source: string,
  conversions: readonly (readonly [column: string, input: string, conversion: Conversion])[],
  cause: unknown,
  where: string,
  signal?: AbortSignal,
): Promise<Error> {
  signal?.throwIfAborted()
  const lack = ownError(where, cause)
  if (lack) return lack
  const { file } = relation
  const reason = cause instanceof Error ? cause.message : String(cause)
  const line = /CSV Error on Line: (\d+)/.exec(reason)?.[1]
  if (line !== undefined) {
    const original = /^Original Line: (.*)$/m.exec(reason)?.[1]
    const why =
      /^(Expected Number|Value with|Invalid unicode|Maximum|Error).*$/m.exec(reason)?.[0] ?? reason.split('\n')[1]
    const seen = original === undefined ? why : `'${original.slice(0, 200)}' (${why.trim()})`
    const message = `[${where}] expected a whole CSV row in line ${line} of '${file.path}' but received ${seen}; mend the file`
    return new SeqriskError('FILE_BROKEN', message, { cause })
  }
  for (const [column, input, conversion] of conversions) {
    if (conversion.fails === 'false') continue
    const numbered = `SELECT row_number() OVER () AS row_number, * FROM ${source}`
    const sql = `SELECT row_number, CAST(${input} AS VARCHAR) FROM (${numbered}) WHERE ${conversion.fails} ORDER BY row_number LIMIT 1`
    const found = await rows(connection, sql, signal).catch(() => [])
    if (found.length === 0) continue
    const place = `column '${column}', row ${found[0][0]} of '${file.path}'`
    const message = sentence(
      where,
      `${conversion.expected} in ${place}`,
      found[0][1],
      'mend the cell or leave it empty',
    )
    return new SeqriskError('CELL_INVALID', message, { cause })
  }
  return broken(file, cause, where)
}
