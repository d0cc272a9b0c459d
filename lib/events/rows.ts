// Events that are already in memory: rows of plain objects, typed by the schema. Needs no other package.

import { expectOptions, expectRange, expectType, SeqriskError, sentence } from '../util/errors.js'
import { Pace } from '../util/pace.js'
import { emptyRecord } from '../util/record.js'
import { SharedWork } from '../util/shared_work.js'
import { TextIndex } from '../util/text_index.js'
import { calendarPart, parseIso } from './calendar.js'
import { type FieldSpec, type Fields, parseSchema, type Schema, timeColumn } from './schema.js'
import { sortedCopy, sortedPlaces } from './sort.js'
import {
  type ChunkOptions,
  compareText,
  DEFAULT_EVENTS_PER_CHUNK,
  type EventChunk,
  type EventSource,
  type LongCall,
  type NumberProfile,
  type Progress,
  type ProgressPhase,
  type SourceSummary,
  type TextColumn,
  type TimeKind,
  type ValueCounts,
} from './source.js'
import { timeReader } from './time_format.js'

/** The value of a field in a row; null, undefined, '' and NaN are missing. */
export type CellOf<K extends FieldSpec['kind']> =
  | (K extends 'numeric' ? number : K extends 'text' ? string : string | number | boolean)
  | null
  | undefined

/**
 * One event. The entity is a text, a bigint or a number below 2^53. Times are numbers, or ISO texts (UTC without a zone),
 * Dates and, where the schema has one, texts and digits of its format: of %Y %y %m %b %B %d %a %A %H %I %p %M %S %f %z. A
 * field that is left out is missing. Where the type of the schema does not know the names, as that of a loaded one, any
 * object will do and cells are checked as they are read.
 */
export type EventRow<F extends Fields, E extends string = string, T extends string = string> =
  // An index signature in place of object would ask the same of all columns, and of those that are not read.
  (string extends E ? object : { readonly [K in E]: string | number | bigint }) &
    (string extends T ? object : { readonly [K in T]: string | number | Date }) &
    (string extends keyof F ? object : { readonly [N in keyof F]?: CellOf<F[N]['kind']> })

const WHERE = 'fromRows'
const BLOCK = 1024
/** Numbers of a column that are looked at between two turns of the event loop. */
const NUMBERS_PER_TURN = 65_536

/**
 * A source over rows in any order. They are read at the first use and may be dropped afterwards.
 * @throws {TypeError} for what is no schema, or no array
 */
export function fromRows<const F extends Fields, const E extends string, const T extends string>(
  schema: Schema<F, E, T>,
  rows: readonly EventRow<F, E, T>[],
): EventSource<F> {
  expectType(Array.isArray(rows), WHERE, 'an array of rows', rows, 'call fromRows(schema, rows)')
  parseSchema(schema, WHERE)
  return new RowSource(schema, rows as readonly Readonly<Record<string, unknown>>[])
}

interface Sorted {
  readonly summary: SourceSummary
  readonly ids: readonly string[]
  readonly offsets: Int32Array
  readonly time: Float64Array
  readonly columns: Readonly<Record<string, Float64Array | TextColumn>>
}

class RowSource<F extends Fields> implements EventSource<F> {
  readonly schema: Schema<F>
  #rows: readonly Readonly<Record<string, unknown>>[] | null
  /** Sorted at the first use; all who need them wait for the same ones. */
  readonly #sorted = new SharedWork<Sorted, Progress<ProgressPhase>>(async call => {
    const sorted = await sortRows(this.schema, this.#rows ?? [], call)
    this.#rows = null
    return sorted
  })

  constructor(schema: Schema<F>, rows: readonly Readonly<Record<string, unknown>>[]) {
    this.schema = schema
    this.#rows = rows
  }

  async summary(options: LongCall = {}): Promise<SourceSummary> {
    return (await this.#sorted.join(options)).summary
  }

  async *chunks(options: ChunkOptions = {}): AsyncGenerator<EventChunk<F>, void, void> {
    expectOptions(WHERE, options, ['eventsPerChunk', 'signal', 'onProgress'])
    const budget = options.eventsPerChunk ?? DEFAULT_EVENTS_PER_CHUNK
    expectRange(Number.isInteger(budget) && budget > 0, WHERE, 'eventsPerChunk to be a whole number ≥ 1', budget)
    const sorted = await this.#sorted.join(options)
    const pace = new Pace(options.signal)
    const total = sorted.time.length
    for (let from = 0; from < sorted.ids.length; ) {
      options.signal?.throwIfAborted()
      let to = from + 1
      while (to < sorted.ids.length && sorted.offsets[to + 1] - sorted.offsets[from] <= budget) to++
      const begin = sorted.offsets[from]
      const end = sorted.offsets[to]
      const columns = Object.entries(sorted.columns).map(([field, column]) => {
        if (column instanceof Float64Array) return [field, column.subarray(begin, end)]
        return [field, { dictionary: column.dictionary, codes: column.codes.subarray(begin, end) }]
      })
      yield {
        ids: sorted.ids.slice(from, to),
        offsets: sorted.offsets.slice(from, to + 1).map(offset => offset - begin),
        timeKind: sorted.summary.time,
        time: sorted.time.subarray(begin, end),
        columns: Object.fromEntries(columns) as EventChunk<F>['columns'],
      }
      options.onProgress?.({ phase: 'events', done: end, total })
      await pace.turn()
      from = to
    }
  }

  async *values(field: keyof F & string, options: LongCall = {}): AsyncGenerator<ValueCounts, void, void> {
    const { dictionary, codes } = (await this.#sorted.join(options)).columns[field] as TextColumn
    const counts = new Float64Array(dictionary.length)
    await inBlocks(codes.length, options.signal, (begin, end) => {
      for (let t = begin; t < end; t++) if (codes[t] >= 0) counts[codes[t]]++
    })
    const compare = (a: number, b: number) => counts[b] - counts[a] || compareText(dictionary[a], dictionary[b])
    const order = await sortedPlaces(dictionary.length, compare, options.signal)
    const pace = new Pace(options.signal)
    for (let from = 0; from < order.length; from += BLOCK) {
      const block = order.subarray(from, from + BLOCK)
      yield { values: Array.from(block, i => dictionary[i]), counts: Float64Array.from(block, i => counts[i]) }
      await pace.turn()
    }
  }

  async missing(field: keyof F & string, options: LongCall = {}): Promise<number> {
    const { codes } = (await this.#sorted.join(options)).columns[field] as TextColumn
    let count = 0
    await inBlocks(codes.length, options.signal, (begin, end) => {
      for (let t = begin; t < end; t++) if (codes[t] < 0) count++
    })
    return count
  }

  async numbers(field: (keyof F & string) | null, buckets: number, options: LongCall = {}): Promise<NumberProfile> {
    const sorted = await this.#sorted.join(options)
    const values = await (field === null
      ? gapsOf(sorted, options.signal)
      : finiteOf(sorted.columns[field] as Float64Array, options.signal))
    const ascending = await sortedCopy(values, options.signal)
    return profileOf(ascending, buckets)
  }

  async close(): Promise<void> {
    this.#rows = null
    await this.#sorted.drop()
  }
}

/** Quantiles as DuckDB's quantile_disc has them, so that both kinds of source fit the same encoding. */
function profileOf(ascending: Float64Array, buckets: number): NumberProfile {
  const distinct: number[] = []
  for (let i = 0; i < ascending.length && distinct.length <= buckets; i++) {
    if (i === 0 || ascending[i] !== ascending[i - 1]) distinct.push(ascending[i])
  }
  const count = ascending.length
  const quantiles = new Float64Array(count === 0 ? 0 : buckets + 1)
  for (let i = 0; i < quantiles.length; i++) {
    const place = Math.max(1, count - Math.floor(count - (i / buckets) * count)) - 1
    quantiles[i] = ascending[place]
  }
  return { distinct: distinct.length <= buckets ? Float64Array.from(distinct) : null, quantiles }
}

/** Calls `look` with ranges that cover 0 … count − 1, with turns of the event loop in between. */
async function inBlocks(
  count: number,
  signal: AbortSignal | undefined,
  look: (begin: number, end: number) => void,
): Promise<void> {
  const pace = new Pace(signal)
  for (let begin = 0; begin < count; begin += NUMBERS_PER_TURN) {
    look(begin, Math.min(count, begin + NUMBERS_PER_TURN))
    await pace.turn()
  }
}

async function finiteOf(values: Float64Array, signal?: AbortSignal): Promise<Float64Array> {
  const kept = new Float64Array(values.length)
  let count = 0
  await inBlocks(values.length, signal, (begin, end) => {
    for (let t = begin; t < end; t++) if (Number.isFinite(values[t])) kept[count++] = values[t]
  })
  return kept.slice(0, count)
}

async function gapsOf({ offsets, time }: Sorted, signal?: AbortSignal): Promise<Float64Array> {
  const gaps = new Float64Array(time.length - (offsets.length - 1))
  let at = 0
  await inBlocks(offsets.length - 1, signal, (begin, end) => {
    for (let i = begin; i < end; i++) {
      for (let t = offsets[i] + 1; t < offsets[i + 1]; t++) gaps[at++] = time[t] - time[t - 1]
    }
  })
  return gaps
}

async function sortRows(
  schema: Schema,
  rows: readonly Readonly<Record<string, unknown>>[],
  options: LongCall,
): Promise<Sorted> {
  if (rows.length === 0) throw new SeqriskError('FILE_EMPTY', sentence(WHERE, 'at least one event', 'none'))
  const pace = new Pace(options.signal)
  const numbers = new TextIndex()
  const ids: string[] = []
  const entity = new Int32Array(rows.length)
  const time = new Float64Array(rows.length)
  const isNumber = typeof schema.time === 'string' && typeof rows[0]?.[schema.time] === 'number'
  const reading = isNumber ? PLAIN_NUMBERS : calendarReading(schema)
  for (const [i, row] of rows.entries()) {
    if (typeof row !== 'object' || row === null) throw new TypeError(sentence(WHERE, `row ${i} to be an object`, row))
    const id = row[schema.entity]
    const isId = typeof id === 'string' ? id !== '' : Number.isFinite(id) || typeof id === 'bigint'
    if (!isId) throw invalid(schema.entity, i, 'an entity', id)
    // Ids that differ may have been rounded to this one, and their users would be one user.
    const isExact = !Number.isInteger(id) || Number.isSafeInteger(id)
    if (!isExact) throw invalid(schema.entity, i, 'a number below 2^53', id, 'give a text or a bigint')
    const text = String(id)
    let number = numbers.get(text)
    if (number === undefined) {
      number = ids.length
      numbers.set(text, number)
      ids.push(text)
    }
    entity[i] = number
    const at = row[timeColumn(schema)]
    time[i] = reading.read(at)
    if (!Number.isFinite(time[i])) throw invalid(timeColumn(schema), i, reading.expected, at)
    if (i % BLOCK === 0) {
      options.onProgress?.({ phase: 'read', done: i, total: rows.length })
      await pace.turn()
    }
  }
  const { order, offsets } = await orderOf(entity, time, ids.length, options.signal)
  const columns = emptyRecord<Float64Array | TextColumn>()
  for (const [field, spec] of Object.entries(schema.fields)) {
    columns[field] = await readColumn(rows, order, field, spec, pace)
  }
  const sortedTime = new Float64Array(order.length)
  await inBlocks(order.length, options.signal, (begin, end) => {
    for (let t = begin; t < end; t++) sortedTime[t] = time[order[t]]
  })
  const kind: TimeKind = isNumber ? 'number' : 'calendar'
  const summary = {
    entities: ids.length,
    events: rows.length,
    time: kind,
    varies: varyingParts(sortedTime, kind),
  } as const
  return { summary, ids, offsets, time: sortedTime, columns }
}

/** Rows by entity (in order of first appearance), then time, then place. */
async function orderOf(entity: Int32Array, time: Float64Array, entities: number, signal?: AbortSignal) {
  const offsets = new Int32Array(entities + 1)
  await inBlocks(entity.length, signal, (begin, end) => {
    for (let i = begin; i < end; i++) offsets[entity[i] + 1]++
  })
  for (let i = 0; i < entities; i++) offsets[i + 1] += offsets[i]
  const next = offsets.slice()
  const order = new Int32Array(entity.length)
  await inBlocks(entity.length, signal, (begin, end) => {
    for (let i = begin; i < end; i++) order[next[entity[i]]++] = i
  })
  const pace = new Pace(signal)
  for (let i = 0; i < entities; i++) {
    const own = order.subarray(offsets[i], offsets[i + 1])
    if (own.some((row, t) => t > 0 && time[row] < time[own[t - 1]])) {
      if (own.length <= BLOCK) own.sort((a, b) => time[a] - time[b])
      else {
        const places = await sortedPlaces(own.length, (a, b) => time[own[a]] - time[own[b]], signal)
        own.set(places.map(place => own[place]))
      }
    }
    if (i % BLOCK === 0 || own.length > BLOCK) await pace.turn()
  }
  return { order, offsets }
}

async function readColumn(
  rows: readonly Readonly<Record<string, unknown>>[],
  order: Int32Array,
  field: string,
  spec: FieldSpec,
  pace: Pace,
): Promise<Float64Array | TextColumn> {
  const numbers = new Float64Array(spec.kind === 'numeric' ? rows.length : 0)
  const codes = new Int32Array(spec.kind === 'numeric' ? 0 : rows.length)
  const known = new TextIndex()
  const dictionary: string[] = []
  for (const [t, i] of order.entries()) {
    const cell = rows[i][field]
    const isMissing = cell === null || cell === undefined || cell === ''
    if (spec.kind === 'numeric') {
      if (!isMissing && typeof cell !== 'number') throw invalid(field, i, 'a number', cell)
      numbers[t] = isMissing ? Number.NaN : (cell as number)
    } else if (isMissing) {
      codes[t] = -1
    } else {
      const isText = typeof cell === 'string'
      const isValue = isText || (spec.kind === 'categorical' && (typeof cell === 'number' || typeof cell === 'boolean'))
      if (!isValue) throw invalid(field, i, spec.kind === 'text' ? 'a text' : 'a text, number or boolean', cell)
      const value = isText ? (cell as string) : String(cell)
      let code = known.get(value)
      if (code === undefined) {
        code = dictionary.length
        known.set(value, code)
        dictionary.push(value)
      }
      codes[t] = code
    }
    if (t % BLOCK === 0) await pace.turn()
  }
  return spec.kind === 'numeric' ? numbers : { dictionary, codes }
}

/** How the cells of a time are read (NaN for what is none), and what they are expected to be. */
interface TimeReading {
  readonly read: (cell: unknown) => number
  readonly expected: string
}

const PLAIN_NUMBERS: TimeReading = {
  read: cell => (typeof cell === 'number' ? cell : Number.NaN),
  expected: 'a finite number',
}

function calendarReading({ time }: Schema): TimeReading {
  const reading = (readText: (text: string) => number, expected: string): TimeReading => ({
    read(cell) {
      if (cell instanceof Date) return cell.getTime()
      return typeof cell === 'string' || typeof cell === 'number' ? readText(String(cell)) : Number.NaN
    },
    expected,
  })
  const usual = 'a Date or an ISO date or date-time'
  if (typeof time === 'string') return reading(parseIso, usual)
  const read = timeReader(time.format)
  if (read === null) return reading(parseIso, `${usual} (of '${time.format}' only files are read)`)
  const expected = `a Date, an ISO date or date-time or a text in the format ${time.format}`
  return reading(text => read(text) ?? parseIso(text), expected)
}

function varyingParts(time: Float64Array, kind: TimeKind): SourceSummary['varies'] {
  const varies = (part: 'hour' | 'weekday' | 'day') => {
    if (kind === 'number') return false
    const first = calendarPart(time[0], part)
    return time.some(one => calendarPart(one, part) !== first)
  }
  return { hour: varies('hour'), weekday: varies('weekday'), day: varies('day') }
}

function invalid(column: string, row: number, expected: string, cell: unknown, advice?: string): SeqriskError {
  return new SeqriskError('CELL_INVALID', sentence(WHERE, `${expected} in '${column}' of row ${row}`, cell, advice))
}
