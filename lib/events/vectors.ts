// Vectors of entities, read from CSV, Parquet or JSON lines: block by block, or all of them.

import { expectOptions, expectRange, SeqriskError, sentence } from '../util/errors.js'
import { Pace } from '../util/pace.js'
import { DATABASE_OPTIONS, type DatabaseOptions } from './database_options.js'
import { rows, stream, text, texts, view } from './duckdb.js'
import { type OpenFile, openFile } from './open_file.js'
import { type Conversion, convert, explain } from './relation.js'
import type { VectorTable } from './table.js'

/** What `readVectors` can be told. */
export interface ReadVectorsOptions extends DatabaseOptions {
  /** The column of the entity. Default: the one column that holds no vectors. */
  readonly id?: string | undefined
  /** Read these entities alone. Default: all. */
  readonly only?: readonly string[] | undefined
  readonly signal?: AbortSignal | undefined
}

export interface NamedVectors extends VectorTable {
  /** The name of the column of ids. */
  readonly idColumn: string
}

/** Reads vectors as `encode` writes them: a list column `v`, or number columns v0 … v<width − 1>. */
export async function readVectors(file: string, options: ReadVectorsOptions = {}): Promise<NamedVectors> {
  const where = 'readVectors'
  const ids: string[] = []
  const blocks: Float32Array[] = []
  const pace = new Pace(options.signal)
  const { idColumn, width, parts } = await openVectors(file, where, options)
  for await (const block of parts) {
    for (const id of block.ids) ids.push(id)
    blocks.push(block.vectors)
  }
  const vectors = new Float32Array(ids.length * width)
  for (let at = 0; blocks.length > 0; ) {
    const block = blocks.shift()!
    vectors.set(block, at)
    at += block.length
    await pace.turn()
  }
  return { idColumn, ids, width, vectors }
}

/** The same block by block: memory does not grow with the file. */
export async function* readVectorBlocks(
  file: string,
  options: ReadVectorsOptions = {},
): AsyncGenerator<VectorTable, void, void> {
  yield* (await openVectors(file, 'readVectorBlocks', options)).parts
}

async function openVectors(
  file: string,
  where: string,
  options: ReadVectorsOptions,
): Promise<{ idColumn: string; width: number; parts: AsyncGenerator<VectorTable, void, void> }> {
  expectOptions(where, options, ['id', 'only', 'signal', ...DATABASE_OPTIONS])
  const open = await openFile(file, options.id === undefined ? [] : [options.id], where, options)
  try {
    const width = await widthOf(open, file, where, options.signal)
    const idColumn = options.id ?? onlyOther(open, width, file, where)
    expectNoGap(open, idColumn, width, where)
    return { idColumn, width, parts: blocksOf(open, idColumn, width, where, options) }
  } catch (error) {
    open.close()
    throw error
  }
}

/** The column that holds no vectors. */
function onlyOther({ relation }: OpenFile, width: number, file: string, where: string): string {
  const isList = relation.columns.get('v')?.isList
  const vectors = new Set(isList ? ['v'] : Array.from({ length: width }, (_, i) => `v${i}`))
  const others = [...relation.columns.keys()].filter(column => !vectors.has(column))
  if (others.length === 1) return others[0]
  const received = others.length === 0 ? 'none' : others.join(', ')
  const expected = `one column of '${file}' beside the vectors`
  throw new SeqriskError('COLUMN_MISSING', sentence(where, expected, received, 'name the column of the id'))
}

/** A column v3 behind v0 and v1 would be left out without a word. */
function expectNoGap({ relation }: OpenFile, id: string, width: number, where: string): void {
  if (relation.columns.get('v')?.isList) return
  const isBehind = (name: string) => /^v\d+$/.test(name) && Number(name.slice(1)) >= width && name !== id
  const stray = [...relation.columns.keys()].find(isBehind)
  if (stray === undefined) return
  throw new SeqriskError('COLUMN_MISSING', sentence(where, `a column v${width} before '${stray}'`, 'none'))
}

async function widthOf({ connection, relation }: OpenFile, file: string, where: string, signal?: AbortSignal) {
  const list = relation.columns.get('v')
  let width = 0
  if (list?.isList) {
    const sql = `SELECT COALESCE(min(len(${list.sql})), 0), COALESCE(max(len(${list.sql})), 0), count(*) - count(${list.sql}) FROM ${relation.from}`
    const [[least, most, none]] = (await rows(connection, sql, signal)) as [[number, number, number]]
    const isEven = least === most && none === 0
    expectRange(isEven, where, `vectors of one width in '${file}'`, `widths ${none > 0 ? 0 : least} to ${most}`)
    width = most
  } else {
    while (relation.columns.has(`v${width}`)) width++
  }
  if (width > 0) return width
  const received = [...relation.columns.keys()].join(', ')
  const expected = `a list 'v' or columns v0, v1, … in '${file}'`
  throw new SeqriskError('COLUMN_MISSING', `[${where}] expected ${expected} but received ${received}`)
}

async function* blocksOf(
  { connection, relation, close }: OpenFile,
  id: string,
  width: number,
  where: string,
  { only, signal }: ReadVectorsOptions,
): AsyncGenerator<VectorTable, void, void> {
  try {
    const list = relation.columns.get('v')
    const conversions = Array.from({ length: width }, (_, i): readonly [string, string, Conversion] => {
      const column = list?.isList ? list : relation.columns.get(`v${i}`)!
      const sql = list?.isList ? `${list.sql}[${i + 1}]` : column.sql
      return [list?.isList ? 'v' : `v${i}`, sql, convert(sql, column.value, { to: 'number' })]
    })
    const cells = conversions.map(([, , one]) => `CAST(COALESCE(${one.sql}, CAST('NaN' AS DOUBLE)) AS FLOAT)`)
    const own = `CAST(${relation.columns.get(id)!.sql} AS VARCHAR)`
    const kept = only === undefined ? '' : ` WHERE ${own} IN (${only.map(text).join(', ') || 'NULL'})`
    const pace = new Pace(signal)
    try {
      for await (const chunk of stream(
        connection,
        `SELECT ${own}, ${cells.join(', ')} FROM ${relation.from}${kept}`,
        null,
        signal,
      )) {
        const vectors = new Float32Array(chunk.rowCount * width)
        const ids = texts(chunk, 0) as string[]
        for (let i = 0; i < width; i++) {
          const column = view<Float32Array>(chunk, i + 1)
          for (let row = 0; row < column.length; row++) vectors[row * width + i] = column[row]
          await pace.turn()
        }
        yield { ids, width, vectors }
      }
    } catch (cause) {
      throw await explain(connection, relation, relation.from, conversions, cause, where, signal)
    }
  } finally {
    close()
  }
}
