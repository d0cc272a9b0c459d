// What the inputs of an encoder are: an encoding is plain data that survives JSON. `encoding.ts` fits it, `encode.ts` applies it.

import type { Value } from './slots.js'
import type { TimeKind } from './source.js'

/** The id of a value that was not seen, or of a missing number. */
export const UNKNOWN = 0
/** The id of a value that pre-training hides. */
export const MASK = 1
/** The first id that stands for a value, a bin or a word. */
export const FIRST_VALUE = 2

/** Where an input comes from: a field (cells: two fields), or a part of the time. */
export type InputPart = 'field' | 'gap' | 'age' | 'rest' | 'hour' | 'weekday' | 'day'

interface InputBase {
  /** The field's name, or time. and the part. */
  readonly name: string
  /** The column behind it. */
  readonly field: string
  readonly part: InputPart
  /** Number of ids: codes lie in [0, size). */
  readonly size: number
}

/** Codes 0 unknown, 1 mask, 2 … values by falling frequency; with `hash`, 2 … hash + 1 hashed values, hash + 2 missing. */
export interface CategoricalInput extends InputBase {
  readonly kind: 'categorical'
  /** The value of code 2 + i; null is the missing value. Empty for hashed fields and parts of the time. */
  readonly values: readonly (string | null)[]
  readonly hash: number | null
}

/**
 * Codes 0 missing, 1 mask, 2 + b for bin b = [edges[b], edges[b + 1]), with the position inside the bin as a fraction in
 * [0, 1]: the piecewise-linear encoding of Gorishniy et al. 2022. Values beyond the edges, ±Infinity too, are clamped.
 */
export interface NumericInput extends InputBase {
  readonly kind: 'numeric'
  /** Strictly ascending, size − 1 of them: size − 2 bins. */
  readonly edges: readonly number[]
}

/**
 * A number seen beside a category: codes 0 where there is no cell, 1 mask, then group by group one for each of its bins,
 * [starts[b], starts[b + 1]). A payment of 500 is large for groceries and small for rent: this input can tell.
 */
export interface CellInput extends InputBase {
  readonly kind: 'cells'
  /** The categorical field beside `field`. */
  readonly by: string
  readonly groups: readonly CellGroup[]
}

/** The bins of a number among the events that have one value of the category. */
export interface CellGroup {
  readonly value: Value
  /** Strictly ascending; what lies below the first belongs to the first bin. */
  readonly starts: readonly number[]
}

/** Codes 1 mask, 2 … hash + 1 hashed words; an event has any number of them. */
export interface TextInput extends InputBase {
  readonly kind: 'text'
  readonly hash: number
  readonly ngrams: number | null
  readonly aggregate: 'mean' | 'conv'
}

/** How one input of the encoder is made from events. */
export type InputSpec = CategoricalInput | NumericInput | CellInput | TextInput

/** How events become the inputs of an encoder: fitted once, saved with the model, plain data. */
export interface EventEncoding {
  readonly version: 1
  readonly time: TimeKind
  readonly inputs: readonly InputSpec[]
  /** `time.age` counts back from here: the newest event that it was fitted on. */
  readonly newest: number
  /** Only the newest events of an entity are kept. */
  readonly lastEvents: number
  /** What it was fitted on. */
  readonly entities: number
  readonly events: number
}
