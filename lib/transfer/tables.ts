// Tables in memory, one row per entity, and how they are joined.

import type { FeatureTable, VectorTable } from '../events/table.js'
import { expectRange, expectType, SeqriskError, sentence } from '../util/errors.js'
import { inSlices, Pace } from '../util/pace.js'
import { TextIndex } from '../util/text_index.js'
import type { TableColumn } from './linear/scaling.js'

/** Vectors of an encoder, or named features. */
export type Table = VectorTable | FeatureTable

/** Ids that are looked up between two turns of the event loop. */
const IDS_PER_TURN = 1024

/** One label per entity; NaN is unknown. */
export interface LabelTable {
  readonly ids: readonly string[]
  readonly values: Float64Array
  /** The fold that each entity is tested in, 0 or more. */
  readonly fold?: Int32Array | undefined
}

/** Entities that have a known label and stand in every table. */
export interface Joined {
  readonly ids: readonly string[]
  /** Row of the label table. */
  readonly labelRows: Int32Array
  /** Per table, its rows. */
  readonly rows: readonly Int32Array[]
  /** Known labels of entities that a table lacks. */
  readonly absent: number
}

/**
 * A label, and the fold if a column of it is named, out of a table of labels.
 * @throws {RangeError} if a column is missing or an entity with a known label has no whole-numbered fold of 0 or more
 */
export function pickLabel(table: FeatureTable, label: string, foldColumn?: string): LabelTable {
  const values = numbersOf('labels', table, label)
  if (foldColumn === undefined) return { ids: table.ids, values }
  const fold = numbersOf('labels', table, foldColumn)
  values.forEach((value, row) => {
    if (Number.isNaN(value) || (Number.isInteger(fold[row]) && fold[row] >= 0)) return
    expectRange(false, 'labels', `a fold of 0 or more for id '${table.ids[row]}'`, fold[row])
  })
  return { ids: table.ids, values, fold: Int32Array.from(fold) }
}

function numbersOf(where: string, { columns }: FeatureTable, name: string): Float64Array {
  const isThere = Object.hasOwn(columns, name)
  expectRange(isThere, where, `a column '${name}'`, Object.keys(columns), 'columns of numbers count')
  return columns[name]
}

/**
 * A column of a table for entities in another order, such as labels for the rows of vectors: one number per id, NaN where the
 * table does not have the id or its number.
 * @throws {RangeError} if the column is missing or an id repeats in the table
 */
export async function alignColumn(table: FeatureTable, column: string, ids: readonly string[]): Promise<Float64Array> {
  const where = 'alignColumn'
  const values = numbersOf(where, table, column)
  const rowOf = await indexOf(where, 'table', table.ids, undefined)
  const aligned = new Float64Array(ids.length)
  await inSlices(
    ids.length,
    undefined,
    (from, to) => {
      for (let i = from; i < to; i++) aligned[i] = values[rowOf.get(ids[i]) ?? -1] ?? Number.NaN
    },
    IDS_PER_TURN,
  )
  return aligned
}

/**
 * Vectors as columns `v0`, `v1`, … of one number per entity, named as in files: trees take them beside columns of features.
 * @throws {RangeError} if the vectors are not (ids.length, width) numbers
 */
export async function vectorColumns(table: VectorTable): Promise<Record<string, Float64Array>> {
  const { ids, width, vectors } = table
  expectVectors('vectorColumns', 'vectors', table)
  const columns: Record<string, Float64Array> = {}
  for (let c = 0; c < width; c++) {
    const column = new Float64Array(ids.length)
    await inSlices(ids.length, undefined, (from, to) => {
      for (let i = from; i < to; i++) column[i] = vectors[i * width + c]
    })
    columns[`v${c}`] = column
  }
  return columns
}

function expectVectors(where: string, what: string, { ids, width, vectors }: VectorTable): void {
  expectRange(Number.isInteger(width) && width > 0, where, `${what} of width ≥ 1`, width)
  const size = `${ids.length * width} values of ${what} (${ids.length} × ${width})`
  expectRange(vectors.length === ids.length * width, where, size, vectors.length)
}

/** @throws {RangeError} if sizes disagree or a value is infinite, or NaN unless `allowNaN` */
export async function columnsOf(where: string, what: string, table: Table, allowNaN: boolean, signal?: AbortSignal) {
  const rows = table.ids.length
  const columns: TableColumn[] = []
  if ('vectors' in table) {
    const { vectors, width } = table
    expectVectors(where, what, table)
    for (let c = 0; c < width; c++) columns.push({ name: `v${c}`, values: vectors, start: c, stride: width })
  } else {
    for (const [name, values] of Object.entries(table.columns)) {
      expectRange(values.length === rows, where, `${rows} values of '${name}', one for each id`, values.length)
      columns.push({ name, values, start: 0, stride: 1 })
    }
    expectRange(columns.length > 0, where, `${what} of one column or more`, 0)
  }
  const pace = new Pace(signal)
  for (const { name, values, start, stride } of columns) {
    await pace.turn()
    for (let row = 0; row < rows; row++) {
      const value = values[start + row * stride]
      if (Number.isFinite(value) || (allowNaN && Number.isNaN(value))) continue
      const advice = allowNaN ? 'leave it empty if it is unknown' : 'encode again, or leave the entity out'
      expectRange(false, where, `finite ${what} in '${name}' of id '${table.ids[row]}'`, value, advice)
    }
  }
  return columns
}

/**
 * Looks at labels alone, before what they belong to is read; the event loop runs meanwhile.
 * @throws {TypeError} for what is no table of labels  @throws {RangeError} for sizes that disagree or an id that repeats
 */
export async function expectLabels(where: string, labels: LabelTable, signal?: AbortSignal): Promise<void> {
  const given: { readonly ids?: unknown; readonly values?: unknown } | null | undefined = labels
  const isTable = Array.isArray(given?.ids) && (Array.isArray(given.values) || ArrayBuffer.isView(given.values))
  expectType(isTable, where, 'labels as { ids, values, fold? }', labels, 'pickLabel makes them of a table')
  const { ids, values, fold } = labels
  expectRange(values.length === ids.length, where, `${ids.length} labels, one for each id`, values.length)
  expectRange(!fold || fold.length === ids.length, where, `${ids.length} folds, one for each id`, fold?.length)
  await indexOf(where, 'labels', ids, signal)
}

/** Joins by entity id, in the order of the labels; the event loop runs meanwhile. @throws {SeqriskError} code `NO_COMMON_IDS` */
export async function join(
  where: string,
  labels: LabelTable,
  tables: readonly { readonly ids: readonly string[] }[],
  signal?: AbortSignal,
): Promise<Joined> {
  await expectLabels(where, labels, signal)
  const { ids, values } = labels
  const indexes: TextIndex[] = []
  for (const table of tables) indexes.push(await indexOf(where, 'vectors or features', table.ids, signal))
  const pace = new Pace(signal)
  const places = tables.map(() => new Int32Array(ids.length))
  const labelRows = new Int32Array(ids.length)
  const joined = new Array<string>(ids.length)
  let count = 0
  let known = 0
  for (let row = 0; row < ids.length; row++) {
    if (row % IDS_PER_TURN === 0) await pace.turn()
    if (Number.isNaN(values[row])) continue
    known++
    const isEverywhere = indexes.every((index, t) => {
      const place = index.get(ids[row])
      places[t][count] = place ?? 0
      return place !== undefined
    })
    if (!isEverywhere) continue
    labelRows[count] = row
    joined[count++] = ids[row]
  }
  if (count === 0) {
    const advice =
      known === 0
        ? 'check the name of the label'
        : `compare the id columns: labels have ${example(ids)}, tables ${tables.map(t => example(t.ids)).join(' and ')}`
    const message = sentence(where, 'entities with a known label in every table', 0, advice)
    throw new SeqriskError('NO_COMMON_IDS', message)
  }
  joined.length = count
  return {
    ids: joined,
    labelRows: labelRows.slice(0, count),
    rows: places.map(rows => rows.slice(0, count)),
    absent: known - count,
  }
}

async function indexOf(
  where: string,
  what: string,
  ids: readonly string[],
  signal: AbortSignal | undefined,
): Promise<TextIndex> {
  const index = new TextIndex()
  const pace = new Pace(signal)
  for (let row = 0; row < ids.length; row++) {
    // In each row: the small maps of an index grow at about the same time.
    if (pace.isDue) await pace.rest()
    const id = ids[row]
    if (index.get(id) !== undefined) {
      throw new RangeError(sentence(where, `every id of the ${what} once`, [id, id], 'keep one row per entity'))
    }
    index.set(id, row)
  }
  return index
}

function example(ids: readonly string[]): string {
  return ids.length > 0 ? `'${ids[0]}'` : 'none'
}
