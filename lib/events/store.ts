// The sorted store behind a file source: events typed, dictionary coded and ordered by entity, time and source, in DuckDB
// tables that spill to disk. Tables: `entity` (id, events) by rowid = number of the entity, `dictionary_i` (value, events)
// by rowid = code, and `event` (entity, time, f0, f1, …) by rowid = place; nothing in `event` is NULL.

import type { DuckDBConnection } from '@duckdb/node-api'
import { SeqriskError, sentence } from '../util/errors.js'
import { type Database, interruptible, rows, scalar } from './duckdb.js'
import { findFiles, type InputFile, verifyGzip } from './files.js'
import { type Conversion, convert, describeFile, explain, type Relation, type Target } from './relation.js'
import { type Schema, timeColumn } from './schema.js'
import type { LongCall, SourceSummary, TimeKind } from './source.js'

/** The column of the store that holds a field; dictionary_<i> belongs to text in column i. */
export interface StoredField {
  readonly name: string
  readonly column: string
  readonly dictionary: string | null
}

const PROGRESS_EVERY_MS = 200
const NOTHING_VARIES = { hour: false, weekday: false, day: false }

export function storedFields(schema: Schema): StoredField[] {
  return Object.entries(schema.fields).map(([field, spec], i) => ({
    name: field,
    column: `f${i}`,
    dictionary: spec.kind === 'numeric' ? null : `dictionary_${i}`,
  }))
}

/** Reads all files into the store. */
export async function buildStore(
  database: Database,
  patterns: string | readonly string[],
  schema: Schema,
  where: string,
  options: LongCall,
): Promise<SourceSummary> {
  const connection = await database.connect()
  const { signal } = options
  try {
    const files = await findFiles(connection, patterns, where)
    const time = await load(connection, files, schema, where, options)
    const events = await scalar(connection, 'SELECT count(*) FROM raw', signal)
    if (events === 0) {
      const received = files.map(file => file.path).join(', ')
      throw new SeqriskError('FILE_EMPTY', sentence(where, 'at least one event', `none in '${received}'`))
    }
    options.onProgress?.({ phase: 'sort', done: 0, total: events })
    const run = (sql: string) => interruptible(connection, signal, () => connection.run(sql))
    await run(`CREATE TABLE entity AS SELECT id, events FROM
      (SELECT id, min(rowid) AS first, CAST(count(*) AS INTEGER) AS events FROM raw GROUP BY id) ORDER BY first`)
    const columns: string[] = []
    const joins: string[] = []
    for (const { column, dictionary } of storedFields(schema)) {
      if (dictionary === null) {
        columns.push(`COALESCE(${column}, CAST('NaN' AS DOUBLE)) AS ${column}`)
        continue
      }
      await run(`CREATE TABLE ${dictionary} AS SELECT value, events FROM
        (SELECT ${column} AS value, CAST(count(*) AS DOUBLE) AS events FROM raw WHERE ${column} IS NOT NULL GROUP BY ${column})
        ORDER BY events DESC, value`)
      columns.push(`COALESCE(CAST(${dictionary}.rowid AS INTEGER), -1) AS ${column}`)
      joins.push(`LEFT JOIN ${dictionary} ON raw.${column} = ${dictionary}.value`)
    }
    await run(`CREATE TABLE event AS
      SELECT CAST(entity.rowid AS INTEGER) AS entity, raw.time AS time, ${columns.join(', ')}
      FROM raw JOIN entity ON raw.id = entity.id ${joins.join(' ')}
      ORDER BY entity.rowid, raw.time, raw.rowid`)
    await run('DROP TABLE raw')
    options.onProgress?.({ phase: 'sort', done: events, total: events })
    const entities = await scalar(connection, 'SELECT count(*) FROM entity', signal)
    const varies = time === 'calendar' ? await varyingParts(connection, signal) : NOTHING_VARIES
    return { entities, events, time, varies }
  } finally {
    database.release(connection)
  }
}

async function varyingParts(connection: DuckDBConnection, signal?: AbortSignal): Promise<SourceSummary['varies']> {
  const day = 'floor(time / 86400000)'
  const parts = [
    `floor(time / 3600000) - 24 * ${day}`,
    `${day} + 3 - 7 * floor((${day} + 3) / 7)`,
    `date_part('day', epoch_ms(CAST(floor(time) AS BIGINT)))`,
  ]
  const sql = `SELECT ${parts.map(part => `min(${part}) < max(${part})`).join(', ')} FROM event`
  const [[hour, weekday, dayOfMonth]] = await rows(connection, sql, signal)
  return { hour: hour === true, weekday: weekday === true, day: dayOfMonth === true }
}

/** Fills `raw` (id, time, f0, …), whose rowid is the order of the source. */
async function load(
  connection: DuckDBConnection,
  files: readonly InputFile[],
  schema: Schema,
  where: string,
  options: LongCall,
): Promise<TimeKind> {
  const required = [schema.entity, timeColumn(schema)]
  const optional = Object.keys(schema.fields).filter(field => !required.includes(field))
  const fields = storedFields(schema)
  const types = fields.map(field => `${field.column} ${field.dictionary === null ? 'DOUBLE' : 'VARCHAR'}`)
  await connection.run(`CREATE TABLE raw (id VARCHAR, time DOUBLE, ${types.join(', ')})`)
  let kind: TimeKind | null = null
  for (const [i, file] of files.entries()) {
    const relation = await describeFile(connection, file, { required, optional }, where, options.signal)
    const own: TimeKind = await timeKind(connection, relation, schema, where, options.signal)
    if (kind !== null && own !== kind) {
      const advice = 'give both files times of one kind'
      throw new SeqriskError('CELL_INVALID', sentence(where, `${kind} times in '${file.path}'`, own, advice))
    }
    kind = own
    const report = (part: number) => options.onProgress?.({ phase: 'read', done: i + part, total: files.length })
    report(0)
    const timer = setInterval(() => {
      const { percentage } = connection.progress
      if (percentage > 0 && percentage < 100) report(percentage / 100)
    }, PROGRESS_EVERY_MS)
    try {
      // One after the other the check would cost its whole time; side by side it hides behind the parser.
      const check = file.isGzip ? verifyGzip(file, where, options.signal) : Promise.resolve()
      const both = await Promise.allSettled([check, insert(connection, relation, schema, own, where, options.signal)])
      for (const one of both) if (one.status === 'rejected') throw one.reason
    } finally {
      clearInterval(timer)
    }
    report(1)
  }
  return kind ?? 'number'
}

/** Whether times are numbers or dates; without a format, text is a number when the first time that is not empty is one. */
async function timeKind(
  connection: DuckDBConnection,
  relation: Relation,
  schema: Schema,
  where: string,
  signal?: AbortSignal,
): Promise<TimeKind> {
  const { sql, value, isList } = relation.columns.get(timeColumn(schema))!
  if (value === 'calendar' || typeof schema.time !== 'string') return 'calendar'
  if (value === 'number') return 'number'
  const cells = isList
    ? `SELECT unnest(${sql}) AS cell FROM ${relation.from}`
    : `SELECT ${sql} AS cell FROM ${relation.from}`
  const query = `SELECT TRY_CAST(cell AS DOUBLE) IS NOT NULL FROM (${cells}) WHERE cell <> '' LIMIT 1`
  try {
    const found = await rows(connection, query, signal)
    return found.length > 0 && found[0][0] === false ? 'calendar' : 'number'
  } catch (cause) {
    throw await explain(connection, relation, relation.from, [], cause, where, signal)
  }
}

async function insert(
  connection: DuckDBConnection,
  relation: Relation,
  schema: Schema,
  time: TimeKind,
  where: string,
  signal?: AbortSignal,
): Promise<void> {
  const targets: [column: string, target: Target][] = [[schema.entity, { to: 'text' }]]
  const format = typeof schema.time === 'string' ? undefined : schema.time.format
  targets.push([timeColumn(schema), { to: time, format }])
  for (const [field, spec] of Object.entries(schema.fields)) {
    targets.push([field, { to: spec.kind === 'numeric' ? 'number' : 'text' }])
  }
  const isNested = await expectLists(connection, relation, schema, where, signal)
  const inputs = targets.map(([column], i) => {
    const { sql, isList } = relation.columns.get(column)!
    return `${isList ? `unnest(${sql})` : sql} AS x${i}`
  })
  const source = `(SELECT ${inputs.join(', ')} FROM ${relation.from})`
  const conversions = targets.map(([column, target], i): readonly [string, string, Conversion] => {
    return [column, `x${i}`, convert(`x${i}`, relation.columns.get(column)!.value, target)]
  })
  const before = await scalar(connection, 'SELECT count(*) FROM raw')
  try {
    const sql = `INSERT INTO raw SELECT ${conversions.map(([, , one]) => one.sql).join(', ')} FROM ${source}`
    await interruptible(connection, signal, () => connection.run(sql))
  } catch (cause) {
    throw await explain(connection, relation, source, conversions, cause, where, signal)
  }
  const holes = `SELECT rowid - ${before} + 1, id IS NULL FROM raw
    WHERE rowid >= ${before} AND (id IS NULL OR time IS NULL OR NOT isfinite(time)) ORDER BY rowid LIMIT 1`
  const found = await rows(connection, holes, signal)
  if (found.length === 0) return
  const [row, isEntity] = found[0]
  const column = isEntity ? schema.entity : timeColumn(schema)
  const place = `in column '${column}', ${isNested ? 'event' : 'row'} ${row} of '${relation.file.path}'`
  const expected = isEntity ? `an entity ${place}` : `a finite time ${place}`
  throw new SeqriskError('CELL_INVALID', sentence(where, expected, 'none', 'fill the cell or remove the row'))
}

/** Whether the file holds one entity per row; its lists must then be of equal length in every row. */
async function expectLists(
  connection: DuckDBConnection,
  relation: Relation,
  schema: Schema,
  where: string,
  signal?: AbortSignal,
): Promise<boolean> {
  const { path } = relation.file
  const time = relation.columns.get(timeColumn(schema))!
  const lists = Object.keys(schema.fields).filter(field => relation.columns.get(field)!.isList)
  if (relation.columns.get(schema.entity)!.isList || (!time.isList && lists.length > 0)) {
    const column = relation.columns.get(schema.entity)!.isList ? schema.entity : lists[0]
    const advice = `make '${timeColumn(schema)}' a list and '${schema.entity}' a single value, or write one event per row`
    throw new SeqriskError(
      'COLUMN_MISSING',
      sentence(where, `one value per row in '${column}' of '${path}'`, 'lists', advice),
    )
  }
  if (!time.isList) return false
  for (const field of lists) {
    const { sql } = relation.columns.get(field)!
    const numbered = `SELECT row_number() OVER () AS row_number, len(${sql}) AS own, COALESCE(len(${time.sql}), 0) AS want FROM ${relation.from}`
    const query = `SELECT row_number, own, want FROM (${numbered}) WHERE own <> want LIMIT 1`
    const found = await rows(connection, query, signal)
    if (found.length === 0) continue
    const [row, own, want] = found[0]
    const expected = `a list of ${want} values in column '${field}', row ${row} of '${path}'`
    throw new SeqriskError('CELL_INVALID', sentence(where, expected, own, 'give each event one value'))
  }
  return true
}
