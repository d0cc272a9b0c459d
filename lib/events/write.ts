// Writing one row per entity: vectors and features, as CSV, CSV.gz or Parquet by the ending of the file. Files appear
// whole or not at all.

import { createWriteStream } from 'node:fs'
import { open } from 'node:fs/promises'
import { Readable, type Transform } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { createGzip } from 'node:zlib'
import { expectRange, expectType, SeqriskError, sentence } from '../util/errors.js'
import { isSystemPath, replaceFile } from '../util/files.js'
import { Pace } from '../util/pace.js'
import { type RowBlock, type RowLayout, writeParquetFile } from './parquet.js'
import type { FeatureTable } from './table.js'

/** What writing a table can be told. */
export interface WriteOptions {
  readonly signal?: AbortSignal | undefined
}

interface Layout extends RowLayout {
  readonly type: 'float' | 'double'
}

/** Cells formatted before the event loop gets its turn. */
const CELLS_PER_SLICE = 4096
const PARQUET = /\.(parquet|pq)$/i

/**
 * Writes vectors: Parquet (id, `v` list of float) or CSV (id, v0 … v<width − 1>), by the ending of the file.
 * @param vectors  (ids.length, width) float32
 */
export async function writeVectors(
  file: string,
  idColumn: string,
  ids: readonly string[],
  vectors: Float32Array,
  options: WriteOptions = {},
): Promise<void> {
  const width = vectors.length / ids.length
  const isWhole = Number.isInteger(width) && width > 0
  expectRange(isWhole, 'writeVectors', `one vector for each of ${ids.length} ids`, `${vectors.length} numbers`)
  const writer = new VectorWriter(file, idColumn, width, options)
  await writer.append(ids, vectors)
  await writer.close()
}

/** Writes an id column and named columns of float64; NaN becomes an empty cell (CSV) or NULL (Parquet). */
export async function writeTable(
  file: string,
  idColumn: string,
  table: FeatureTable,
  options: WriteOptions = {},
): Promise<void> {
  const where = 'writeTable'
  const names = Object.keys(table.columns)
  const columns = Object.values(table.columns)
  for (const [i, column] of columns.entries()) {
    expectRange(column.length === table.ids.length, where, `${table.ids.length} values in '${names[i]}'`, column.length)
  }
  expectRange(!names.includes(idColumn), where, `no column named as the id '${idColumn}'`, idColumn)
  const layout: Layout = { id: idColumn, columns: names, type: 'double', list: null }
  const block: RowBlock = { ids: table.ids, cell: (row, column) => columns[column][row] }
  const rows = (async function* () {
    yield block
  })()
  await writeRows(file, layout, rows, where, options)
}

/**
 * Writes vectors that come bit by bit; memory does not grow with their number. The file is there after `close()`, and
 * nothing is left of it after `abort()` or a failure.
 */
export class VectorWriter {
  readonly width: number
  readonly #queue: { readonly block: RowBlock; readonly written: () => void }[] = []
  /** Ends the waiting of each call that waits, where the file fails. A race with `#done` would leave a trace of each call there. */
  readonly #waiting = new Set<(reason: unknown) => void>()
  #wake: () => void = () => {}
  #isEnding = false
  #abortion: { readonly reason: unknown } | null = null
  #failure: { readonly reason: unknown } | null = null
  readonly #done: Promise<void>

  /** @throws {RangeError} at once, for ids that are called as the vectors are */
  constructor(file: string, idColumn: string, width: number, options: WriteOptions = {}) {
    expectRange(Number.isInteger(width) && width > 0, 'writeVectors', 'a width ≥ 1', width)
    expectOwnName(file, idColumn, width)
    this.width = width
    const columns = Array.from({ length: width }, (_, i) => `v${i}`)
    const layout: Layout = { id: idColumn, columns, type: 'float', list: 'v' }
    this.#done = writeRows(file, layout, this.#rows(), 'writeVectors', options)
    // Awaited in close; without this a failure before would end the process.
    this.#done.catch((reason: unknown) => {
      this.#failure = { reason }
      this.#queue.length = 0
      for (const fail of this.#waiting) fail(reason)
      this.#waiting.clear()
    })
  }

  /**
   * Adds rows, and waits while the file is slower than its writer. Calls may overlap: their rows come in the order of calls.
   * @param vectors  (ids.length, width) float32; copied
   * @throws {SeqriskError} code `CLOSED` once `close` was called
   */
  async append(ids: readonly string[], vectors: Float32Array): Promise<void> {
    const { width } = this
    if (this.#isEnding) {
      throw new SeqriskError('CLOSED', sentence('writeVectors', 'rows before close', `${ids.length} after it`))
    }
    expectRange(vectors.length === ids.length * width, 'writeVectors', `${ids.length * width} numbers`, vectors.length)
    if (this.#failure) throw this.#failure.reason
    const own = vectors.slice()
    const block: RowBlock = { ids: [...ids], cell: (row, column) => own[row * width + column] }
    await new Promise<void>((resolve, reject) => {
      this.#waiting.add(reject)
      const written = () => {
        this.#waiting.delete(reject)
        resolve()
      }
      this.#queue.push({ block, written })
      this.#wake()
    })
  }

  /** Writes the rest and puts the file in its place. @throws {SeqriskError} code `WRITE_FAILED` */
  async close(): Promise<void> {
    this.#isEnding = true
    this.#wake()
    await this.#done
  }

  /** Gives up: removes what was written. */
  async abort(reason: unknown = new Error('aborted')): Promise<void> {
    this.#abortion = { reason }
    this.#wake()
    await this.#done.catch(() => {})
  }

  async *#rows(): AsyncGenerator<RowBlock, void, void> {
    for (;;) {
      if (this.#abortion) throw this.#abortion.reason
      const next = this.#queue.shift()
      if (next) {
        yield next.block
        next.written()
      } else if (this.#isEnding) {
        return
      } else {
        await new Promise<void>(resolve => {
          this.#wake = resolve
        })
      }
    }
  }
}

/** Readers tell ids from vectors by their names; a column v<width> would be one number more. */
function expectOwnName(file: string, id: string, width: number): void {
  const isParquet = PARQUET.test(file)
  const isTaken = isParquet ? id === 'v' : Array.from({ length: width + 1 }, (_, i) => `v${i}`).includes(id)
  const advice = `write ${isParquet ? '.csv' : '.parquet'}, or rename the column in the events and the schema`
  expectRange(!isTaken, 'writeVectors', 'ids of another name than the vectors', id, advice)
}

async function writeRows(
  file: string,
  layout: Layout,
  blocks: AsyncGenerator<RowBlock, void, void>,
  where: string,
  options: WriteOptions,
): Promise<void> {
  expectType(typeof file === 'string' && file !== '', where, 'the name of a file', file)
  const { signal } = options
  const isParquet = PARQUET.test(file)
  const isCsv = /\.csv(\.gz)?$/i.test(file) || isSystemPath(file)
  if (!isParquet && !isCsv) throw new TypeError(sentence(where, 'a file ending in .csv, .csv.gz or .parquet', file))
  const write = isParquet
    ? (path: string) => writeParquet(path, layout, blocks, signal)
    : (path: string) => writeCsv(path, layout, blocks, /\.gz$/i.test(file), signal)
  try {
    await replaceFile(file, write)
  } catch (error) {
    signal?.throwIfAborted()
    throw error
  }
}

async function writeCsv(
  path: string,
  layout: Layout,
  blocks: AsyncGenerator<RowBlock, void, void>,
  isGzip: boolean,
  signal?: AbortSignal,
): Promise<void> {
  const source = Readable.from(csvText(layout, blocks, signal), { objectMode: false })
  const sink = createWriteStream(path, { flags: 'a' })
  const between: Transform[] = isGzip ? [createGzip()] : []
  await pipeline([source, ...between, sink], { signal })
}

async function* csvText(layout: Layout, blocks: AsyncGenerator<RowBlock, void, void>, signal?: AbortSignal) {
  yield `${[layout.id, ...layout.columns].map(quoted).join(',')}\n`
  const width = layout.columns.length
  const print = layout.type === 'float' ? printFloat : printDouble
  const pace = new Pace(signal)
  for await (const { ids, cell } of blocks) {
    let out = ''
    let cells = 0
    for (let row = 0; row < ids.length; row++) {
      out += quoted(ids[row])
      for (let column = 0; column < width; column++) out += `,${print(cell(row, column))}`
      out += '\n'
      cells += width + 1
      if (cells < CELLS_PER_SLICE) continue
      yield out
      out = ''
      cells = 0
      await pace.turn()
    }
    if (out !== '') yield out
  }
}

/** A CSV cell. */
export function quoted(value: string): string {
  return /[",\n\r]/.test(value) ? `"${value.replaceAll('"', '""')}"` : value
}

function printDouble(value: number): string {
  if (Number.isNaN(value)) return ''
  return Object.is(value, -0) ? '-0' : String(value)
}

/** Nine digits name a float32 exactly. */
function printFloat(value: number): string {
  return Number.isInteger(value) && Math.abs(value) < 1e9 ? printDouble(value) : printDigits(value)
}

function printDigits(value: number): string {
  return Number.isNaN(value) ? '' : value.toPrecision(9)
}

async function writeParquet(
  path: string,
  layout: Layout,
  blocks: AsyncGenerator<RowBlock, void, void>,
  signal?: AbortSignal,
): Promise<void> {
  const handle = await open(path, 'a')
  try {
    await writeParquetFile(handle, layout, blocks, signal)
  } finally {
    await handle.close()
  }
}
