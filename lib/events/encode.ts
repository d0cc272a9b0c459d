// Applying an encoding: chunks of events to columns of ids, bins and words.

import { ArrayPool } from '../util/array_pool.js'
import { expectOptions, expectRange, expectType } from '../util/errors.js'
import { atOnce, type Steps } from '../util/pace.js'
import { TextIndex } from '../util/text_index.js'
import { calendarPart } from './calendar.js'
import { expectTimes } from './expect_source.js'
import type { CategoricalInput, CellInput, EventEncoding, InputPart, NumericInput, TextInput } from './inputs.js'
import { FIRST_VALUE, UNKNOWN } from './inputs.js'
import type { FieldKind } from './schema.js'
import { SlotMap } from './slots.js'
import type { EventChunk, TextColumn } from './source.js'
import { logSpan } from './spans.js'
import { hashText, words } from './text.js'

/** One model input of many events. The kind says which arrays there are. */
export interface InputColumn {
  readonly name: string
  readonly field: string
  readonly kind: 'categorical' | 'numeric' | 'text'
  /** One id per event; for text one per word. */
  readonly codes: Int32Array
  /** Numeric: the position inside the bin, in [0, 1]; 0 for missing. */
  readonly fraction?: Float32Array
  /** Text: event t owns the words offsets[t] … offsets[t + 1] − 1. */
  readonly offsets?: Int32Array
}

/** Sequences ready for a model: entity i owns the events offsets[i] … offsets[i + 1] − 1. */
export interface EncodedEvents {
  readonly ids: readonly string[]
  readonly offsets: Int32Array
  readonly time: Float64Array
  readonly inputs: readonly InputColumn[]
}

const WHERE = 'encodeChunk'
/** Events and values that are looked at between two turns of the event loop. */
const PER_STEP = 4096

/** What the values of one dictionary became: ids, or for text the ids of their words. */
interface Known {
  readonly ids: Int32Array
  readonly words: (Int32Array | undefined)[]
}
/** The codes of the values of a categorical input. */
interface Codes {
  readonly of: TextIndex
  readonly missing: number
}
interface Compiled {
  readonly codes: readonly (Codes | null)[]
  /** Per input of cells: the group of a value. */
  readonly groups: readonly (SlotMap | null)[]
  readonly known: readonly WeakMap<readonly string[], Known>[]
}
const compiled = new WeakMap<EventEncoding, Compiled>()

/** The inputs of every event of a chunk; entities keep their newest `lastEvents` (default: the encoding's) events. */
export function encodeChunk(
  chunk: EventChunk,
  encoding: EventEncoding,
  options: { readonly lastEvents?: number | undefined } = {},
): EncodedEvents {
  expectOptions(WHERE, options, ['lastEvents'])
  const lastEvents = options.lastEvents ?? encoding.lastEvents
  const holds = Number.isInteger(lastEvents) && lastEvents > 0
  expectRange(holds, WHERE, 'lastEvents to be a whole number ≥ 1', lastEvents)
  return atOnce(encodeSteps(chunk, encoding, lastEvents))
}

/** Encodes one input at a time, so that a caller may rest between them. */
export function* encodeSteps(chunk: EventChunk, encoding: EventEncoding, lastEvents: number): Steps<EncodedEvents> {
  expectTimes(WHERE, chunk.timeKind, encoding.time)
  const found = compiled.get(encoding) ?? (yield* compile(encoding))
  const inputs: InputColumn[] = []
  for (const i of encoding.inputs.keys()) {
    inputs.push(yield* encodeInput(chunk, encoding, i, found))
    yield
  }
  const all = { ids: chunk.ids, offsets: chunk.offsets, time: chunk.time, inputs }
  return yield* keepLast(all, lastEvents)
}

function* encodeInput(chunk: EventChunk, encoding: EventEncoding, i: number, found: Compiled): Steps<InputColumn> {
  const { codes, groups, known } = found
  const input = encoding.inputs[i]
  const { name, field } = input
  if (input.part !== 'field') {
    return input.kind === 'numeric'
      ? { name, field, kind: 'numeric', ...encodeNumbers(spansOf(chunk, input.part, encoding), input) }
      : encodePart(chunk, name, field, input.part)
  }
  const numbers = () => columnOf(chunk, field, 'numeric') as Float64Array
  if (input.kind === 'numeric') return { name, field, kind: 'numeric', ...encodeNumbers(numbers(), input) }
  if (input.kind === 'cells') {
    const by = columnOf(chunk, input.by, 'categorical') as TextColumn
    return { name, field, kind: 'categorical', codes: encodeCells(numbers(), groups[i]!.of(by), input) }
  }
  const text = columnOf(chunk, field, input.kind) as TextColumn
  let cache = known[i].get(text.dictionary)
  if (!cache) {
    // Of full length at once: a list that is filled in any order becomes a hash table, which grows in jumps.
    const { length } = text.dictionary
    cache = { ids: new Int32Array(length).fill(-1), words: new Array<Int32Array | undefined>(length) }
    known[i].set(text.dictionary, cache)
  }
  if (input.kind === 'text') return yield* encodeText(text, input, cache)
  return { name, field, kind: 'categorical', codes: encodeValues(text, input, codes[i], cache) }
}

function columnOf(chunk: EventChunk, field: string, kind: FieldKind): Float64Array | TextColumn {
  const isThere = Object.hasOwn(chunk.columns, field)
  const column = chunk.columns[field]
  const isNumber = column instanceof Float64Array
  const isRight = isThere && isNumber === (kind === 'numeric')
  expectType(isRight, WHERE, `a ${kind} column '${field}'`, isThere ? (isNumber ? 'numbers' : 'texts') : undefined)
  return column
}

function* compile(encoding: EventEncoding): Steps<Compiled> {
  const codes: (Codes | null)[] = []
  for (const input of encoding.inputs) {
    const hasValues = input.kind === 'categorical' && input.hash === null && input.part === 'field'
    codes.push(hasValues ? yield* codesOf(input.values) : null)
  }
  const groups = encoding.inputs.map(input =>
    input.kind === 'cells' ? new SlotMap(input.groups.map(({ value }) => value)) : null,
  )
  const found = { codes, groups, known: encoding.inputs.map(() => new WeakMap()) }
  compiled.set(encoding, found)
  return found
}

function* codesOf(values: readonly (string | null)[]): Steps<Codes> {
  const of = new TextIndex()
  let missing = UNKNOWN
  for (let i = 0; i < values.length; i++) {
    const value = values[i]
    if (value === null) missing = FIRST_VALUE + i
    else of.set(value, FIRST_VALUE + i)
    if (i % PER_STEP === 0) yield
  }
  return { of, missing }
}

function encodeValues(column: TextColumn, input: CategoricalInput, known: Codes | null, cache: Known): Int32Array {
  const { dictionary, codes } = column
  const { ids } = cache
  const { hash } = input
  const missing = hash === null ? known!.missing : FIRST_VALUE + hash
  const out = new Int32Array(codes.length)
  for (let t = 0; t < codes.length; t++) {
    const code = codes[t]
    if (code < 0) {
      out[t] = missing
      continue
    }
    if (ids[code] < 0) {
      const value = dictionary[code]
      ids[code] = hash === null ? (known!.of.get(value) ?? UNKNOWN) : FIRST_VALUE + (hashText(value) % hash)
    }
    out[t] = ids[code]
  }
  return out
}

function encodeNumbers(values: Float64Array, input: NumericInput): { codes: Int32Array; fraction: Float32Array } {
  const edges = Float64Array.from(input.edges)
  const lastBin = edges.length - 2
  const codes = new Int32Array(values.length)
  const fraction = new Float32Array(values.length)
  for (let t = 0; t < values.length; t++) {
    const value = values[t]
    if (Number.isNaN(value)) continue
    const low = binOf(edges, lastBin + 1, value)
    const part = (value - edges[low]) / (edges[low + 1] - edges[low])
    codes[t] = FIRST_VALUE + low
    fraction[t] = part > 0 ? Math.min(part, 1) : 0
  }
  return { codes, fraction }
}

/** The last of the first `bins` edges that is ≤ value; below all of them, the first bin. */
function binOf(edges: ArrayLike<number>, bins: number, value: number): number {
  let low = 0
  let high = bins
  while (high - low > 1) {
    const middle = (low + high) >> 1
    if (edges[middle] <= value) low = middle
    else high = middle
  }
  return low
}

function encodeCells(values: Float64Array, group: Int32Array, { groups }: CellInput): Int32Array {
  const first = new Int32Array(groups.length)
  for (let g = 0, code = FIRST_VALUE; g < groups.length; code += groups[g++].starts.length) first[g] = code
  const codes = new Int32Array(values.length)
  for (let t = 0; t < values.length; t++) {
    const g = group[t]
    if (g === groups.length || Number.isNaN(values[t])) continue
    const { starts } = groups[g]
    codes[t] = first[g] + binOf(starts, starts.length, values[t])
  }
  return codes
}

/** Log spans of every event. The first event of an entity has no gap: it is missing. */
function spansOf({ time, offsets }: EventChunk, part: InputPart, encoding: EventEncoding): Float64Array {
  const spans = new Float64Array(time.length)
  for (let i = 0; i + 1 < offsets.length; i++) {
    const end = part === 'age' ? encoding.newest : time[offsets[i + 1] - 1]
    for (let t = offsets[i]; t < offsets[i + 1]; t++) {
      const isFirst = t === offsets[i]
      const span = part !== 'gap' ? end - time[t] : isFirst ? Number.NaN : time[t] - time[t - 1]
      spans[t] = Number.isNaN(span) ? span : logSpan(span, encoding.time)
    }
  }
  return spans
}

function encodePart(chunk: EventChunk, name: string, field: string, part: InputPart): InputColumn {
  const codes = new Int32Array(chunk.time.length)
  for (let t = 0; t < codes.length; t++) codes[t] = FIRST_VALUE + calendarPart(chunk.time[t], part)
  return { name, field, kind: 'categorical', codes }
}

function* encodeText(column: TextColumn, input: TextInput, cache: Known): Steps<InputColumn> {
  const { dictionary, codes } = column
  const offsets = new Int32Array(codes.length + 1)
  for (let t = 0; t < codes.length; t++) {
    const code = codes[t]
    let count = 0
    if (code >= 0) {
      cache.words[code] ??= wordIds(dictionary[code], input)
      count = cache.words[code].length
    }
    offsets[t + 1] = offsets[t] + count
    if (t % PER_STEP === 0) yield
  }
  yield
  const out = new Int32Array(offsets[codes.length])
  for (let t = 0; t < codes.length; t++) if (codes[t] >= 0) out.set(cache.words[codes[t]]!, offsets[t])
  return { name: input.name, field: input.field, kind: 'text', codes: out, offsets }
}

function wordIds(text: string, input: TextInput): Int32Array {
  const found = words(text, input.ngrams ?? undefined)
  const ids = new Int32Array(found.length)
  for (let i = 0; i < ids.length; i++) ids[i] = FIRST_VALUE + (hashText(found[i]) % input.hash)
  return ids
}

/** Cuts every entity down to its newest events. */
function* keepLast(encoded: EncodedEvents, lastEvents: number): Steps<EncodedEvents> {
  const { offsets } = encoded
  const starts: number[] = []
  let isCut = false
  for (let i = 0; i + 1 < offsets.length; i++) {
    const start = Math.max(offsets[i], offsets[i + 1] - lastEvents)
    if (start > offsets[i]) isCut = true
    starts.push(start)
  }
  if (!isCut) return encoded
  const ranges = starts.map((start, i) => ({ begin: start, end: offsets[i + 1] }))
  const kept = yield* gatherSteps(encoded, ranges)
  return { ids: encoded.ids, ...kept }
}

/** A range of events. */
interface Range {
  readonly begin: number
  readonly end: number
}

/** Copies ranges of events, each a sequence of the result. The large arrays of the result are the pool's. */
export function* gatherSteps(
  encoded: Pick<EncodedEvents, 'time' | 'inputs'>,
  ranges: readonly Range[],
  pool = new ArrayPool(),
): Steps<Omit<EncodedEvents, 'ids'>> {
  const offsets = new Int32Array(ranges.length + 1)
  for (let i = 0; i < ranges.length; i++) offsets[i + 1] = offsets[i] + ranges[i].end - ranges[i].begin
  const events = offsets[ranges.length]
  const time = gather(encoded.time, ranges, pool.float64(events))
  const inputs: InputColumn[] = []
  for (const { name, field, kind, codes: from, fraction: part, offsets: words } of encoded.inputs) {
    yield
    if (words) {
      inputs.push({ name, field, kind, ...gatherWords(from, words, ranges, events, pool) })
      continue
    }
    const codes = gather(from, ranges, pool.int32(events))
    const fraction = part && gather(part, ranges, pool.float32(events))
    inputs.push(fraction ? { name, field, kind, codes, fraction } : { name, field, kind, codes })
  }
  return { offsets, time, inputs }
}

/** Below it a loop copies a range faster than `set`, which wants an array of its own for it. */
const SHORT_RANGE = 48

/** The ranges of `from`, one after the other, in `to`. */
function gather<T extends Int32Array | Float32Array | Float64Array>(from: T, ranges: readonly Range[], to: T): T {
  let at = 0
  for (let i = 0; i < ranges.length; i++) {
    const { begin, end } = ranges[i]
    if (end - begin < SHORT_RANGE) {
      for (let t = begin; t < end; t++) to[at++] = from[t]
    } else {
      to.set(from.subarray(begin, end), at)
      at += end - begin
    }
  }
  return to
}

function gatherWords(
  codes: Int32Array,
  offsets: Int32Array,
  ranges: readonly Range[],
  events: number,
  pool: ArrayPool,
): { codes: Int32Array; offsets: Int32Array } {
  const ends = pool.int32(events + 1)
  ends[0] = 0
  let t = 0
  for (const { begin, end } of ranges) {
    for (let from = begin; from < end; from++, t++) ends[t + 1] = ends[t] + offsets[from + 1] - offsets[from]
  }
  const words = ranges.map(({ begin, end }) => ({ begin: offsets[begin], end: offsets[end] }))
  return { codes: gather(codes, words, pool.int32(ends[events])), offsets: ends }
}
