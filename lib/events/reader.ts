// Events from files: CSV, CSV.gz, Parquet and JSON lines, sorted out of core by DuckDB and streamed as columnar chunks.

import type { DuckDBConnection, DuckDBDataChunk } from '@duckdb/node-api'
import { expectOptions, expectRange, expectType } from '../util/errors.js'
import { emptyRecord } from '../util/record.js'
import { SharedWork } from '../util/shared_work.js'
import { DATABASE_OPTIONS, type DatabaseOptions, expectDatabaseOptions } from './database_options.js'
import { Dictionary } from './dictionary.js'
import { Database, loadDuckdb, ownError, scalar, stream, texts, view } from './duckdb.js'
import { profileNumbers } from './quantiles.js'
import { type Fields, parseSchema, type Schema } from './schema.js'
import {
  type ChunkOptions,
  DEFAULT_EVENTS_PER_CHUNK,
  type EventChunk,
  type EventSource,
  type LongCall,
  type NumberProfile,
  type Progress,
  type ProgressPhase,
  type SourceSummary,
  type TextColumn,
  type ValueCounts,
} from './source.js'
import { buildStore, type StoredField, storedFields } from './store.js'

const WHERE = 'readEvents'
/** Exact quantiles hold every value in memory; beyond this many events a systematic sample stands for them. */
const EXACT_QUANTILES = 30_000_000

/**
 * Events of files, globs or folders. Nothing is read before the first use; from then on a sorted copy lives in memory
 * and, beyond `memoryLimit`, in a temporary folder, until `close()`.
 * @throws {SeqriskError} PACKAGE_MISSING at once; on first use FILE_NOT_FOUND, FILE_EMPTY, FILE_BROKEN, COLUMN_MISSING,
 *   CELL_INVALID, OUT_OF_MEMORY
 */
export function readEvents<const F extends Fields>(
  files: string | readonly string[],
  schema: Schema<F>,
  options: DatabaseOptions = {},
): EventSource<F> {
  expectOptions(WHERE, options, DATABASE_OPTIONS)
  expectDatabaseOptions(WHERE, options)
  parseSchema(schema, WHERE)
  // Here, since loading it holds the event loop: long calls must not.
  loadDuckdb(WHERE)
  return new FileSource(files, schema, options)
}

interface Store {
  readonly database: Database
  readonly summary: SourceSummary
}

class FileSource<F extends Fields> implements EventSource<F> {
  readonly schema: Schema<F>
  readonly #files: string | readonly string[]
  readonly #options: DatabaseOptions
  readonly #fields: readonly StoredField[]
  /** Built at the first use; all who need it wait for the same one. */
  readonly #store = new SharedWork<Store, Progress<ProgressPhase>>(call => this.#build(call))

  constructor(files: string | readonly string[], schema: Schema<F>, options: DatabaseOptions) {
    this.schema = schema
    this.#files = files
    this.#options = options
    this.#fields = storedFields(schema)
  }

  async summary(options: LongCall = {}): Promise<SourceSummary> {
    return (await this.#store.join(options)).summary
  }

  /** A failed or cancelled build leaves nothing behind. */
  async #build(options: LongCall): Promise<Store> {
    const database = await Database.open(WHERE, this.#options)
    try {
      return { database, summary: await buildStore(database, this.#files, this.schema, WHERE, options) }
    } catch (error) {
      database.close()
      throw ownError(WHERE, error) ?? error
    }
  }

  async #withConnection<T>(
    options: LongCall,
    work: (connection: DuckDBConnection, summary: SourceSummary) => Promise<T>,
  ): Promise<T> {
    const { database, summary } = await this.#store.join(options)
    const connection = await database.connect()
    try {
      return await work(connection, summary)
    } finally {
      database.release(connection)
    }
  }

  async *chunks(options: ChunkOptions = {}): AsyncGenerator<EventChunk<F>, void, void> {
    expectOptions(WHERE, options, ['eventsPerChunk', 'signal', 'onProgress'])
    const budget = options.eventsPerChunk ?? DEFAULT_EVENTS_PER_CHUNK
    expectRange(Number.isInteger(budget) && budget > 0, WHERE, 'eventsPerChunk to be a whole number ≥ 1', budget)
    const { signal, onProgress } = options
    const { database, summary } = await this.#store.join(options)
    const connections = [await database.connect(), await database.connect(), await database.connect()]
    try {
      const entities = new EntityCursor(
        stream(connections[0], 'SELECT id, events FROM entity', summary.entities, signal),
      )
      const columns = ['time', ...this.#fields.map(field => field.column)]
      const cursor = new EventCursor(
        stream(connections[1], `SELECT ${columns.join(', ')} FROM event`, summary.events, signal),
      )
      const dictionaries = this.#fields.map(
        field => field.dictionary && new Dictionary(connections[2], field.dictionary),
      )
      const total = summary.events
      let done = 0
      for (;;) {
        const { ids, offsets } = await entities.take(budget)
        if (ids.length === 0) break
        const arrays = await cursor.take(offsets[ids.length], this.#fields)
        const chunkColumns = emptyRecord<Float64Array | TextColumn>()
        for (const [i, field] of this.#fields.entries()) {
          const dictionary = dictionaries[i]
          const array = arrays[i + 1]
          chunkColumns[field.name] = dictionary
            ? await dictionary.resolve(array as Int32Array, signal)
            : (array as Float64Array)
        }
        done += offsets[ids.length]
        onProgress?.({ phase: 'events', done, total })
        yield {
          ids,
          offsets,
          timeKind: summary.time,
          time: arrays[0] as Float64Array,
          columns: chunkColumns as EventChunk<F>['columns'],
        }
      }
    } finally {
      for (const connection of connections) database.release(connection)
    }
  }

  async *values(field: keyof F & string, options: LongCall = {}): AsyncGenerator<ValueCounts, void, void> {
    const { dictionary } = this.#field(field, 'text')
    const { database } = await this.#store.join(options)
    const connection = await database.connect()
    try {
      for await (const chunk of stream(connection, `SELECT value, events FROM ${dictionary}`, null, options.signal)) {
        yield { values: texts(chunk, 0) as string[], counts: new Float64Array(view<Float64Array>(chunk, 1)) }
      }
    } finally {
      database.release(connection)
    }
  }

  missing(field: keyof F & string, options: LongCall = {}): Promise<number> {
    const { column } = this.#field(field, 'text')
    const sql = `SELECT count(*) FROM event WHERE ${column} < 0`
    return this.#withConnection(options, connection => scalar(connection, sql, options.signal))
  }

  numbers(field: (keyof F & string) | null, buckets: number, options: LongCall = {}): Promise<NumberProfile> {
    return this.#withConnection(options, async (connection, { events }) => {
      // The entity of the row before decides, so the store's own order is all that is needed.
      const gaps = `SELECT time - lag(time) OVER () AS x, entity = lag(entity) OVER () AS holds, rowid AS row FROM event`
      const step = Math.ceil(events / EXACT_QUANTILES)
      const sample = step > 1 ? `AND row % ${step} = 0` : ''
      const source =
        field === null
          ? `(SELECT x FROM (${gaps}) WHERE holds ${sample})`
          : `(SELECT ${this.#field(field, 'numeric').column} AS x FROM (SELECT *, rowid AS row FROM event) WHERE isfinite(x) ${sample})`
      return profileNumbers(connection, source, buckets, options.signal)
    })
  }

  async close(): Promise<void> {
    const store = await this.#store.drop()
    store?.database.close()
  }

  #field(field: string, kind: 'text' | 'numeric'): StoredField {
    const found = this.#fields.find(one => one.name === field)
    const isRight = found !== undefined && (found.dictionary === null) === (kind === 'numeric')
    const expected = kind === 'numeric' ? 'a numeric field' : 'a categorical or text field'
    expectType(isRight, WHERE, expected, field, `use one of ${Object.keys(this.schema.fields).join(', ')}`)
    return found!
  }
}

/** Reads whole entities in order. */
class EntityCursor {
  readonly #chunks: AsyncGenerator<DuckDBDataChunk, void, void>
  #ids: string[] = []
  #counts = new Int32Array(0)
  #at = 0

  constructor(chunks: AsyncGenerator<DuckDBDataChunk, void, void>) {
    this.#chunks = chunks
  }

  /** The next entities of at most `budget` events together, at least one; none at the end. */
  async take(budget: number): Promise<{ ids: string[]; offsets: Int32Array }> {
    const ids: string[] = []
    const ends = [0]
    for (;;) {
      if (this.#at === this.#ids.length && !(await this.#advance())) break
      const end = ends[ids.length] + this.#counts[this.#at]
      if (ids.length > 0 && end > budget) break
      ids.push(this.#ids[this.#at++])
      ends.push(end)
    }
    return { ids, offsets: Int32Array.from(ends) }
  }

  async #advance(): Promise<boolean> {
    const { value, done } = await this.#chunks.next()
    if (done) return false
    this.#ids = texts(value, 0) as string[]
    this.#counts = new Int32Array(view<Int32Array>(value, 1))
    this.#at = 0
    return true
  }
}

/** Reads a given number of events in order. */
class EventCursor {
  readonly #chunks: AsyncGenerator<DuckDBDataChunk, void, void>
  #chunk: DuckDBDataChunk | null = null
  #at = 0

  constructor(chunks: AsyncGenerator<DuckDBDataChunk, void, void>) {
    this.#chunks = chunks
  }

  /** Time and the fields of the next `count` events. */
  async take(count: number, fields: readonly StoredField[]): Promise<(Float64Array | Int32Array)[]> {
    const out = [new Float64Array(count), ...fields.map(one => new (one.dictionary ? Int32Array : Float64Array)(count))]
    for (let done = 0; done < count; ) {
      if (this.#chunk === null || this.#at === this.#chunk.rowCount) {
        const { value } = await this.#chunks.next()
        this.#chunk = value as DuckDBDataChunk
        this.#at = 0
      }
      const size = Math.min(count - done, this.#chunk.rowCount - this.#at)
      for (const [i, array] of out.entries()) {
        array.set(view<Float64Array | Int32Array>(this.#chunk, i).subarray(this.#at, this.#at + size), done)
      }
      this.#at += size
      done += size
    }
    return out
  }
}
