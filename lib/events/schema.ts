// What the columns of an event table are: the entity, the time, and the kind of every field.

import { readFile } from 'node:fs/promises'
import { expectOptions, expectRange, expectType, SeqriskError, sentence } from '../util/errors.js'
import { given } from '../util/options.js'

/** A value out of a set of words or codes. A missing value is a value of its own. */
export interface CategoricalField {
  readonly kind: 'categorical'
  /** Values seen fewer times than this become unknown. Default 2. */
  readonly minCount?: number | undefined
  /** Open vocabulary: values are hashed into this many ids instead of being listed. */
  readonly hash?: number | undefined
}

/** A number; NaN or an empty cell is missing. */
export interface NumericField {
  readonly kind: 'numeric'
  /** Most quantile bins. Default 32. */
  readonly buckets?: number | undefined
}

/** Free text, read as a bag or a row of words. */
export interface TextField {
  readonly kind: 'text'
  /** Words are hashed into this many ids. Default 4096. */
  readonly hash?: number | undefined
  /** Character n-grams of this length in place of whole words. */
  readonly ngrams?: number | undefined
  /** How the words of one event become one vector. Default `mean`. */
  readonly aggregate?: 'mean' | 'conv' | undefined
}

/** One field of a schema. */
export type FieldSpec = CategoricalField | NumericField | TextField
/** The kinds of fields. */
export type FieldKind = FieldSpec['kind']
/** The fields of a schema by name. */
export type Fields = Readonly<Record<string, FieldSpec>>

/** A column whose text, or the digits of whose numbers, a `strptime` format reads; without a zone (%z) it is UTC. */
export interface TimeFormat<T extends string = string> {
  readonly column: T
  readonly format: string
}

/**
 * The schema of an event table. `time` holds numbers, ISO dates or ISO date-times; a date-time without a zone is UTC.
 * The type parameters are the fields, the name of the entity's column and the name of the time's column.
 */
export interface Schema<F extends Fields = Fields, E extends string = string, T extends string = string> {
  readonly entity: E
  readonly time: T | TimeFormat<T>
  readonly fields: F
}

/** The names of the fields of one kind. */
export type FieldsOfKind<F extends Fields, K extends FieldKind> = {
  [N in keyof F & string]: F[N]['kind'] extends K ? N : never
}[keyof F & string]

/** Inference alone would let a field have options of another kind; here they must be `never`. */
type OwnOptions<F extends Fields> = {
  readonly [N in keyof F]: {
    readonly [O in keyof F[N]]: O extends keyof Extract<FieldSpec, { kind: F[N]['kind'] }> ? F[N][O] : never
  }
}

const KINDS: readonly FieldKind[] = ['categorical', 'numeric', 'text']
const OPTIONS: Readonly<Record<FieldKind, readonly string[]>> = {
  categorical: ['kind', 'minCount', 'hash'],
  numeric: ['kind', 'buckets'],
  text: ['kind', 'hash', 'ngrams', 'aggregate'],
}
const EVERY_OPTION = ['kind', 'minCount', 'hash', 'buckets', 'ngrams', 'aggregate']
/** What DuckDB reads. */
const STRPTIME = /^(?:[^%]|%[%ABGHIMSTUVWXYZabcdfghjmnpuwxyz]|%-[HIMSdjmy])*$/
/** Smallest and largest value of each whole-numbered option. */
const LIMITS: Readonly<Record<string, readonly [number, number]>> = {
  minCount: [1, 2 ** 31 - 1],
  hash: [1, 2 ** 24],
  buckets: [1, 4096],
  ngrams: [1, 16],
}

/**
 * Checks a schema and keeps the names of its fields in its type, so that a wrong name fails to compile.
 * @throws {TypeError} for unknown keys and kinds  @throws {RangeError} for option values out of range
 */
export function defineSchema<const F extends Fields, const E extends string, const T extends string>(
  schema: Schema<F, E, T> & { readonly fields: OwnOptions<F> },
): Schema<F, E, T> {
  return checkSchema(schema, 'defineSchema') as Schema<F, E, T>
}

/** Checks a parsed schema file. `where` names its origin in errors. */
export function parseSchema(json: unknown, where = 'parseSchema'): Schema {
  return checkSchema(json, where)
}

/** Reads a schema from a file: JSON of what `defineSchema` takes. @throws {SeqriskError} codes `FILE_NOT_FOUND`, `FILE_BROKEN` */
export async function loadSchema(file: string): Promise<Schema> {
  let text: string
  try {
    text = await readFile(file, 'utf8')
  } catch (cause) {
    const message = sentence('loadSchema', 'a readable schema file', file, 'check the path')
    throw new SeqriskError('FILE_NOT_FOUND', message, { cause })
  }
  let json: unknown
  try {
    json = JSON.parse(text.replace(/^\ufeff/, ''))
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause)
    throw new SeqriskError('FILE_BROKEN', `[loadSchema] expected JSON in '${file}' but received text: ${reason}`, {
      cause,
    })
  }
  return parseSchema(json, `schema ${file}`)
}

/** The name of the time's column. */
export function timeColumn(schema: Schema): string {
  return typeof schema.time === 'string' ? schema.time : schema.time.column
}

function checkSchema(json: unknown, where: string): Schema {
  const advice = 'write {"entity": …, "time": …, "fields": {…}}'
  expectType(isRecord(json), where, 'an object', json, advice)
  const schema = json as Record<string, unknown>
  expectOptions(where, schema, ['entity', 'time', 'fields'])
  expectType(isName(schema.entity), where, "'entity' to be the name of a column", schema.entity, advice)
  if (isRecord(schema.time)) {
    expectOptions(`${where}: time`, schema.time, ['column', 'format'])
    expectType(isName(schema.time.column), `${where}: time`, "'column' to be the name of a column", schema.time.column)
    expectFormat(schema.time.format, `${where}: time`)
  } else {
    expectType(isName(schema.time), where, "'time' to be the name of a column", schema.time, advice)
  }
  expectType(isRecord(schema.fields), where, "'fields' to be an object", schema.fields, advice)
  const fields = schema.fields as Record<string, unknown>
  const names = Object.keys(fields)
  expectRange(names.length > 0, where, 'at least one field', 'none', 'name the columns to learn from')
  for (const name of names) checkField(name, fields[name], `${where}: field '${name}'`)
  const isLeak = names.includes(schema.entity as string)
  expectRange(!isLeak, where, 'fields other than the entity', schema.entity, 'an identity is not an input')
  return json as unknown as Schema
}

function checkField(name: string, json: unknown, where: string): void {
  expectType(name !== '', where, 'a name', name)
  expectType(isRecord(json), where, 'an object like {"kind": "categorical"}', json)
  const field = json as Record<string, unknown>
  expectOptions(where, field, EVERY_OPTION)
  const kind = field.kind
  if (typeof kind !== 'string' || !KINDS.includes(kind as FieldKind)) {
    throw new TypeError(sentence(where, `'kind' to be ${KINDS.join(', ')}`, kind, 'name one of these kinds'))
  }
  for (const [option, value] of Object.entries(given(field))) {
    const isOwn = OPTIONS[kind as FieldKind].includes(option)
    expectType(isOwn, where, `options of kind ${kind} (${OPTIONS[kind as FieldKind].join(', ')})`, option)
    const limits = LIMITS[option]
    if (limits) {
      const holds = Number.isInteger(value) && (value as number) >= limits[0] && (value as number) <= limits[1]
      expectRange(holds, where, `'${option}' to be a whole number in [${limits[0]}, ${limits[1]}]`, value)
    }
  }
  if (field.aggregate !== undefined) {
    const holds = field.aggregate === 'mean' || field.aggregate === 'conv'
    expectRange(holds, where, "'aggregate' to be 'mean' or 'conv'", field.aggregate)
  }
}

function expectFormat(format: unknown, where: string): void {
  expectType(isName(format), where, "'format' to be a strptime format", format)
  const isKnown = STRPTIME.test(format as string)
  expectRange(isKnown, where, "'format' to be made of strptime parts", format, "write it like '%d.%m.%Y %H:%M'")
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function isName(value: unknown): value is string {
  return typeof value === 'string' && value !== ''
}
