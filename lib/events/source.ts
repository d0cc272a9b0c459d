// What every source of events gives: columnar chunks of whole entities, and the statistics that an encoding is fitted on.

import type { FieldKind, Fields, Schema } from './schema.js'

/** Words or codes: `codes[i]` is an index into `dictionary`, −1 where the value is missing. */
export interface TextColumn {
  readonly dictionary: readonly string[]
  readonly codes: Int32Array
}

/** Numeric fields are Float64Array with NaN for missing, the others dictionary coded. */
export type ColumnOf<K extends FieldKind> = K extends 'numeric' ? Float64Array : TextColumn

/** `calendar`: time is milliseconds since 1970 UTC; `number`: plain numbers. */
export type TimeKind = 'calendar' | 'number'

/**
 * Whole entities, in the order in which the source first names them; the events of each sorted by time, and on equal
 * times in the order of the source. Entity i owns the events offsets[i] … offsets[i + 1] − 1 of every column.
 */
export interface EventChunk<F extends Fields = Fields> {
  readonly ids: readonly string[]
  readonly offsets: Int32Array
  readonly timeKind: TimeKind
  /** Milliseconds since 1970 UTC, or the number itself where the column holds numbers. */
  readonly time: Float64Array
  readonly columns: { readonly [N in keyof F]: ColumnOf<F[N]['kind']> }
}

/** What a long call is at; training has phases of its own. */
export type ProgressPhase =
  // Events: files or rows, their order, chunks; an encoding of them.
  | 'read'
  | 'sort'
  | 'events'
  | 'fit'
  // Models: vectors, the head before training, scores, contributions.
  | 'encode'
  | 'head'
  | 'score'
  | 'explain'
  // Vectors: an index of them, neighbours, maps.
  | 'index'
  | 'search'
  | 'covariance'
  | 'umap'

/**
 * What a long call reports: `done` of `total` (NaN while unknown) events, files or other pieces in this phase. Without a parameter the
 * phase is any: a callback of it suits every long call.
 */
export interface Progress<P extends string = string> {
  readonly phase: P
  readonly done: number
  readonly total: number
}

/**
 * What every long call takes. An aborted call rejects with the reason of its signal. What it has handed to a device by then, a few batches
 * or two steps, still runs there, unseen: others may use that device.
 */
export interface LongCall {
  readonly signal?: AbortSignal | undefined
  /** Called between pieces of the work. */
  readonly onProgress?: ((progress: Progress<ProgressPhase>) => void) | undefined
}

/** How a source is cut into chunks. */
export interface ChunkOptions extends LongCall {
  /** A chunk is closed before it would pass this many events; a longer entity stands alone, whole. Default 16 384. */
  readonly eventsPerChunk?: number | undefined
}

/** Events of a chunk where nothing is said. */
export const DEFAULT_EVENTS_PER_CHUNK = 16_384

/** What a source holds. */
export interface SourceSummary {
  readonly entities: number
  readonly events: number
  readonly time: TimeKind
  /** Which parts of calendar times (UTC) take more than one value; all false for plain numbers. */
  readonly varies: { readonly hour: boolean; readonly weekday: boolean; readonly day: boolean }
}

/** How often each value occurs: by falling count, equal counts by code points. Missing values are counted apart. */
export interface ValueCounts {
  readonly values: readonly string[]
  readonly counts: Float64Array
}

/** Order statistics of finite values. */
export interface NumberProfile {
  /** All distinct values, ascending, when there are at most `buckets` of them; else null. */
  readonly distinct: Float64Array | null
  /** The quantiles 0, 1/buckets, …, 1 (discrete: values that occur); empty when there is no finite value. */
  readonly quantiles: Float64Array
}

/** Events of many entities, sorted by entity and time, read as often as needed. Made by `readEvents` or `fromRows`. */
export interface EventSource<F extends Fields = Fields> {
  readonly schema: Schema<F>
  /** Numbers of entities and events; the first call reads everything. */
  summary(options?: LongCall): Promise<SourceSummary>
  /** Each call starts again from the first entity. */
  chunks(options?: ChunkOptions): AsyncIterable<EventChunk<F>>
  /** Distinct values of a categorical or text field in blocks, most frequent first. */
  values(field: keyof F & string, options?: LongCall): AsyncIterable<ValueCounts>
  /** How many events have no value in a categorical or text field. */
  missing(field: keyof F & string, options?: LongCall): Promise<number>
  /** Quantiles of a numeric field, or of the gaps to the previous event of the entity (`null`). */
  numbers(field: (keyof F & string) | null, buckets: number, options?: LongCall): Promise<NumberProfile>
  /** Gives back memory and temporary files; safe to call twice. */
  close(): Promise<void>
}

/** Order by code points, which is also the order of UTF-8 bytes. */
export function compareText(a: string, b: string): number {
  const length = Math.min(a.length, b.length)
  for (let i = 0; i < length; i++) {
    const x = a.charCodeAt(i)
    const y = b.charCodeAt(i)
    if (x === y) continue
    const isXHigh = x >= 0xd800 && x < 0xe000
    const isYHigh = y >= 0xd800 && y < 0xe000
    return isXHigh === isYHigh ? x - y : isXHigh ? 1 : -1
  }
  return a.length - b.length
}
