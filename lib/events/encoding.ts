// How events become model inputs: ids of categories, quantile bins of numbers, parts of the time, hashed words.

import { expectOptions, expectRange } from '../util/errors.js'
import { fitCells } from './cells.js'
import { expectSource } from './expect_source.js'
import {
  type CategoricalInput,
  type EventEncoding,
  FIRST_VALUE,
  type InputSpec,
  type NumericInput,
  type TextInput,
} from './inputs.js'
import { type CategoricalField, type Fields, type NumericField, type TextField, timeColumn } from './schema.js'
import type { EventSource, LongCall, NumberProfile } from './source.js'
import { fitSpans, logSpan } from './spans.js'

/** What `fitEncoding` can be told. */
export interface FitEncodingOptions extends LongCall {
  /** Default of `minCount` for categorical fields. Default 2. */
  readonly minCount?: number | undefined
  /** Default of `buckets` for numeric fields. Default 32. */
  readonly buckets?: number | undefined
  /** Default of `hash` for text fields. Default 4096. */
  readonly words?: number | undefined
  /** Most values of a categorical field; rarer ones become unknown. Default 100 000. */
  readonly maxValues?: number | undefined
  /** Newest events kept of an entity, 1 … 64 000. Default 64 000. */
  readonly lastEvents?: number | undefined
}

/** Most events of an entity that can be encoded. */
export const MAX_EVENTS = 64_000
const WHERE = 'fitEncoding'
const NUMBERS = ['minCount', 'buckets', 'words', 'maxValues', 'lastEvents'] as const
const PARTS: readonly (readonly [part: 'hour' | 'weekday' | 'day', values: number])[] = [
  ['hour', 24],
  ['weekday', 7],
  ['day', 31],
]

/** Fits vocabularies and quantile bins on all events of a source. */
export async function fitEncoding<F extends Fields>(
  source: EventSource<F>,
  options: FitEncodingOptions = {},
): Promise<EventEncoding> {
  expectSource(WHERE, source)
  expectOptions(WHERE, options, [...NUMBERS, 'signal', 'onProgress'])
  for (const name of NUMBERS) {
    const value = options[name]
    const holds = value === undefined || (Number.isInteger(value) && value > 0)
    expectRange(holds, WHERE, `${name} to be a whole number ≥ 1`, value)
  }
  const lastEvents = options.lastEvents ?? MAX_EVENTS
  expectRange(lastEvents <= MAX_EVENTS, WHERE, `lastEvents in [1, ${MAX_EVENTS}]`, lastEvents)
  const { schema } = source
  const column = timeColumn(schema)
  const summary = await source.summary(options)
  const inputs: InputSpec[] = []
  const fields = Object.entries(schema.fields)
  const report = (done: number) => options.onProgress?.({ phase: 'fit', done, total: fields.length + 1 })
  for (const [i, [field, spec]] of fields.entries()) {
    report(i)
    if (spec.kind === 'categorical') inputs.push(await fitCategorical(source, field, spec, options))
    else if (spec.kind === 'numeric') inputs.push(await fitNumeric(source, field, spec, options))
    else inputs.push(textInput(field, spec, options))
  }
  inputs.push(...(await fitCells(source, inputs, options)))
  report(fields.length)
  const buckets = options.buckets ?? 32
  const gaps = await source.numbers(null, buckets, options)
  const scale = (gap: number) => logSpan(gap, summary.time)
  const gap = { distinct: gaps.distinct?.map(scale) ?? null, quantiles: gaps.quantiles.map(scale) }
  const { newest, age, rest } = await fitSpans(source, buckets, options)
  for (const [part, profile] of Object.entries({ gap, age, rest }) as ['gap' | 'age' | 'rest', NumberProfile][]) {
    const edges = edgesOf(profile)
    inputs.push({ name: `time.${part}`, field: column, part, kind: 'numeric', size: edges.length + 1, edges })
  }
  for (const [part, values] of PARTS) {
    if (!summary.varies[part]) continue
    const name = `time.${part}`
    inputs.push({ name, field: column, part, kind: 'categorical', size: FIRST_VALUE + values, values: [], hash: null })
  }
  report(fields.length + 1)
  const twice = inputs.find((one, i) => inputs.findIndex(other => other.name === one.name) < i)
  expectRange(twice === undefined, WHERE, 'fields with names of their own', twice?.name, 'rename the field')
  return {
    version: 1,
    time: summary.time,
    inputs,
    newest,
    lastEvents,
    entities: summary.entities,
    events: summary.events,
  }
}

async function fitCategorical<F extends Fields>(
  source: EventSource<F>,
  field: keyof F & string,
  spec: CategoricalField,
  options: FitEncodingOptions,
): Promise<CategoricalInput> {
  const base = { name: field, field, part: 'field', kind: 'categorical' } as const
  if (spec.hash !== undefined) return { ...base, size: FIRST_VALUE + spec.hash + 1, values: [], hash: spec.hash }
  const minCount = spec.minCount ?? options.minCount ?? 2
  const maxValues = options.maxValues ?? 100_000
  const missing = await source.missing(field, { signal: options.signal })
  const values: (string | null)[] = []
  // The missing value stands where its count puts it, before values of equal count.
  let isMissingDue = missing >= minCount
  search: for await (const block of source.values(field, { signal: options.signal })) {
    for (const [i, value] of block.values.entries()) {
      if (isMissingDue && missing >= block.counts[i]) {
        values.push(null)
        isMissingDue = false
      }
      if (block.counts[i] < minCount || values.length >= maxValues) break search
      values.push(value)
    }
  }
  if (isMissingDue && values.length < maxValues) values.push(null)
  return {
    ...base,
    size: FIRST_VALUE + Math.min(values.length, maxValues),
    values: values.slice(0, maxValues),
    hash: null,
  }
}

async function fitNumeric<F extends Fields>(
  source: EventSource<F>,
  field: keyof F & string,
  spec: NumericField,
  options: FitEncodingOptions,
): Promise<NumericInput> {
  const profile = await source.numbers(field, spec.buckets ?? options.buckets ?? 32, { signal: options.signal })
  const edges = edgesOf(profile)
  return { name: field, field, part: 'field', kind: 'numeric', size: edges.length + 1, edges }
}

function textInput(field: string, spec: TextField, options: FitEncodingOptions): TextInput {
  const hash = spec.hash ?? options.words ?? 4096
  const size = FIRST_VALUE + hash
  const aggregate = spec.aggregate ?? 'mean'
  return { name: field, field, part: 'field', kind: 'text', size, hash, ngrams: spec.ngrams ?? null, aggregate }
}

/**
 * Bin edges: the quantiles without repeats. Few distinct values get one bin each, that starts at the value; the last of
 * these bins is as wide as the one before. Without any number there is the bin [0, 1].
 */
export function edgesOf(profile: NumberProfile): number[] {
  const { distinct, quantiles } = profile
  const edges = [...(distinct ?? quantiles)].filter((edge, i, all) => i === 0 || edge > all[i - 1])
  if (edges.length === 0) return [0, 1]
  if (distinct === null && edges.length > 1) return edges
  const last = edges[edges.length - 1]
  const width = edges.length > 1 ? last - edges[edges.length - 2] : Math.max(1, Math.abs(last) * 1e-6)
  return [...edges, last + width]
}
