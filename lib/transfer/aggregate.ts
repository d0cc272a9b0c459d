// Hand-made aggregate features per entity: the rival that learned vectors must beat, and their companion in a risk model.
// Every group writes its columns entity by entity, while the chunks stream by.

import { withPresent } from '../events/as_of.js'
import { expectSource, expectTimes } from '../events/expect_source.js'
import type { Fields } from '../events/schema.js'
import { SlotMap, type Value } from '../events/slots.js'
import type { EventChunk, EventSource, LongCall, TextColumn } from '../events/source.js'
import type { FeatureTable } from '../events/table.js'
import { words } from '../events/text.js'
import { expectOptions, expectRange } from '../util/errors.js'
import { Pace } from '../util/pace.js'
import { type AggregatePlan, PART_GROUPS, type PlanOptions, planAggregates } from './aggregate_plan.js'

/** What `aggregate` can be told. */
export interface AggregateOptions extends PlanOptions {
  /** A plan fitted on other events; default: one fitted on this source. */
  readonly plan?: AggregatePlan | undefined
  /**
   * The present: recency counts back from here. A Date or milliseconds since 1970, or the unit of plain numbers. Default: the newest
   * event that the plan was fitted on.
   */
  readonly asOf?: number | Date | undefined
}

const WHERE = 'aggregate'
const DAY = 86_400_000
/** Small, since a group writes all its columns of a chunk in one go. */
const EVENTS_PER_CHUNK = 4096

/** Writes the features of the entities first … first + chunk.ids.length − 1. */
interface Group {
  readonly names: readonly string[]
  readonly columns: readonly Float64Array[]
  add(chunk: EventChunk, first: number): void
}

/**
 * One row per entity, one named column per feature; NaN where a feature has no meaning (a mean of nothing).
 *
 * Counts, span, recency and gaps (days, or the unit of plain numbers), shares of the parts of the day, week and month;
 * per categorical field distinct values, and for each frequent value its count, its share, and whether it is the first
 * and the last; per numeric field the count, sum, mean, deviation, extremes, first and last, and sum, mean, extremes and
 * last over the events of each frequent value of each categorical field; per text field the number of words and the
 * count of each frequent word. Deterministic.
 * @throws {RangeError} if two features get one name, such as the mean of a field `gap` and that of the gaps; for a plan of other
 *     fields or of another kind of times; for an `asOf` that is no time, or seconds where times are milliseconds
 * @throws {TypeError} for an `asOf` that is a Date where times are plain numbers other than milliseconds
 */
export async function aggregate<F extends Fields>(
  source: EventSource<F>,
  options: AggregateOptions = {},
): Promise<FeatureTable> {
  expectSource(WHERE, source)
  expectOptions(WHERE, options, ['plan', 'asOf', 'topValues', 'topWords', 'maxPairs', 'signal', 'onProgress'])
  const { plan: given, asOf, ...planOptions } = options
  if (given) expectFields(given, source.schema.fields)
  const call: LongCall = { signal: options.signal, onProgress: options.onProgress }
  const fitted = given ?? (await planAggregates(source, planOptions))
  const plan = withPresent(WHERE, fitted, asOf)
  const { entities, time } = await source.summary(call)
  expectTimes(WHERE, time, plan.time)
  const groups: Group[] = [
    timeGroup(plan, entities),
    ...plan.categorical.map(({ field, values }) => categoryGroup(field, values, entities)),
    ...plan.numeric.map(({ field }) => numberGroup(field, entities)),
    ...plan.numeric.flatMap(({ field, pairs }) =>
      pairs.map(({ by, values }) => pairGroup(field, by, values, plan.isDetailed, entities)),
    ),
    ...plan.text.map(({ field, words: list }) => wordGroup(field, list, entities)),
  ]
  const names = groups.flatMap(group => group.names)
  const places = new Map(names.map((name, i) => [name, i]))
  const twice = names.find((name, i) => places.get(name) !== i)
  expectRange(twice === undefined, WHERE, 'fields whose features have names of their own', twice, 'rename the field')
  const ids: string[] = []
  const pace = new Pace(options.signal)
  for await (const chunk of source.chunks({ ...call, eventsPerChunk: EVENTS_PER_CHUNK })) {
    for (const group of groups) {
      group.add(chunk, ids.length)
      await pace.turn()
    }
    for (const id of chunk.ids) ids.push(id)
  }
  const columns = groups.flatMap(group => group.columns)
  return { ids, columns: Object.fromEntries(names.map((name, i) => [name, columns[i]])) }
}

/** Refuses a plan that wants fields which the events do not have. */
function expectFields(plan: AggregatePlan, fields: Fields): void {
  for (const kind of ['categorical', 'numeric', 'text'] as const) {
    for (const { field } of plan[kind]) {
      const own = fields[field]?.kind
      expectRange(own === kind, WHERE, `a ${kind} field '${field}'`, own, 'use the schema that the plan was made with')
    }
  }
}

/** Named columns of one value per entity. */
class Columns {
  readonly names: string[] = []
  readonly columns: Float64Array[] = []
  readonly #entities: number

  constructor(entities: number) {
    this.#entities = entities
  }

  make(name: string): Float64Array {
    const column = new Float64Array(this.#entities)
    this.names.push(name)
    this.columns.push(column)
    return column
  }
}

function timeGroup(plan: AggregatePlan, entities: number): Group {
  const out = new Columns(entities)
  const [count, first, last, span, recency] = ['count', 'first', 'last', 'span', 'recency'].map(name =>
    out.make(`time.${name}`),
  )
  const [mean, deviation, shortest, longest, latest] = ['mean', 'deviation', 'min', 'max', 'last'].map(name =>
    out.make(`gap.${name}`),
  )
  const unit = plan.time === 'calendar' ? DAY : 1
  const parts = plan.parts.map(part => {
    const group = PART_GROUPS[part]
    return { of: group.of, shares: group.labels.map(label => out.make(`${part}.${label}.share`)) }
  })
  const add = (chunk: EventChunk, row: number) => {
    const { offsets, time } = chunk
    for (let i = 0; i < chunk.ids.length; i++, row++) {
      const begin = offsets[i]
      const end = offsets[i + 1]
      count[row] = end - begin
      first[row] = time[begin] / unit
      last[row] = time[end - 1] / unit
      span[row] = last[row] - first[row]
      recency[row] = plan.newest / unit - last[row]
      const gaps = new Moments()
      for (let t = begin + 1; t < end; t++) gaps.add((time[t] - time[t - 1]) / unit)
      mean[row] = gaps.mean
      deviation[row] = gaps.deviation
      shortest[row] = gaps.least
      longest[row] = gaps.most
      latest[row] = end - begin > 1 ? (time[end - 1] - time[end - 2]) / unit : Number.NaN
      for (const { of, shares } of parts) {
        for (let t = begin; t < end; t++) shares[Math.floor(of(time[t]))][row]++
        for (const share of shares) share[row] /= end - begin
      }
    }
  }
  return { names: out.names, columns: out.columns, add }
}

function categoryGroup(field: string, values: readonly Value[], entities: number): Group {
  const out = new Columns(entities)
  const distinct = out.make(`${field}.distinct`)
  const make = (what: string) => values.map(value => out.make(`${field}.${what}[${value ?? ''}]`))
  const counts = make('count')
  const shares = make('share')
  const firsts = make('first')
  const lasts = make('last')
  const slots = new SlotMap(values)
  // Which entity of this chunk was last seen with a code.
  let seen = new Int32Array(0)
  const add = (chunk: EventChunk, row: number) => {
    const column = chunk.columns[field] as TextColumn
    const slot = slots.of(column)
    if (seen.length < column.dictionary.length + 1) seen = new Int32Array(column.dictionary.length + 1)
    seen.fill(-1)
    for (let i = 0; i < chunk.ids.length; i++, row++) {
      const begin = chunk.offsets[i]
      const end = chunk.offsets[i + 1]
      for (let t = begin; t < end; t++) {
        if (slot[t] < values.length) counts[slot[t]][row]++
        const code = column.codes[t] + 1
        if (seen[code] !== i) distinct[row]++
        seen[code] = i
      }
      for (let v = 0; v < values.length; v++) shares[v][row] = counts[v][row] / (end - begin)
      if (slot[begin] < values.length) firsts[slot[begin]][row] = 1
      if (slot[end - 1] < values.length) lasts[slot[end - 1]][row] = 1
    }
  }
  return { names: out.names, columns: out.columns, add }
}

/** Sum, mean, deviation and extremes of the finite numbers seen (Welford 1962). */
class Moments {
  count = 0
  sum = 0
  last = Number.NaN
  #mean = 0
  #squares = 0
  #least = Number.POSITIVE_INFINITY
  #most = Number.NEGATIVE_INFINITY

  clear(): void {
    this.count = 0
    this.sum = 0
    this.last = Number.NaN
    this.#mean = 0
    this.#squares = 0
    this.#least = Number.POSITIVE_INFINITY
    this.#most = Number.NEGATIVE_INFINITY
  }

  add(value: number): void {
    this.count++
    this.sum += value
    this.last = value
    const shift = value - this.#mean
    this.#mean += shift / this.count
    this.#squares += shift * (value - this.#mean)
    if (value < this.#least) this.#least = value
    if (value > this.#most) this.#most = value
  }

  get mean(): number {
    return this.count > 0 ? this.#mean : Number.NaN
  }

  /** Of the sample (n − 1); NaN below two values. */
  get deviation(): number {
    return this.count > 1 ? Math.sqrt(this.#squares / (this.count - 1)) : Number.NaN
  }

  get least(): number {
    return this.count > 0 ? this.#least : Number.NaN
  }

  get most(): number {
    return this.count > 0 ? this.#most : Number.NaN
  }
}

function numberGroup(field: string, entities: number): Group {
  const out = new Columns(entities)
  const [count, sum, mean, deviation, least, most, first, last] = [
    'count',
    'sum',
    'mean',
    'deviation',
    'min',
    'max',
    'first',
    'last',
  ].map(name => out.make(`${field}.${name}`))
  const moments = new Moments()
  const add = (chunk: EventChunk, row: number) => {
    const numbers = chunk.columns[field] as Float64Array
    for (let i = 0; i < chunk.ids.length; i++, row++) {
      moments.clear()
      first[row] = Number.NaN
      for (let t = chunk.offsets[i]; t < chunk.offsets[i + 1]; t++) {
        if (!Number.isFinite(numbers[t])) continue
        if (moments.count === 0) first[row] = numbers[t]
        moments.add(numbers[t])
      }
      count[row] = moments.count
      sum[row] = moments.sum
      mean[row] = moments.mean
      deviation[row] = moments.deviation
      least[row] = moments.least
      most[row] = moments.most
      last[row] = moments.last
    }
  }
  return { names: out.names, columns: out.columns, add }
}

function pairGroup(field: string, by: string, values: readonly Value[], isDetailed: boolean, entities: number): Group {
  const out = new Columns(entities)
  const make = (what: string) => values.map(value => out.make(`${field}.${what}[${by}=${value ?? ''}]`))
  const sum = make('sum')
  const mean = make('mean')
  const [least, most, last] = isDetailed ? ['min', 'max', 'last'].map(make) : []
  const slots = new SlotMap(values)
  const moments = values.map(() => new Moments())
  const add = (chunk: EventChunk, row: number) => {
    const numbers = chunk.columns[field] as Float64Array
    const slot = slots.of(chunk.columns[by] as TextColumn)
    for (let i = 0; i < chunk.ids.length; i++, row++) {
      for (const one of moments) one.clear()
      for (let t = chunk.offsets[i]; t < chunk.offsets[i + 1]; t++) {
        if (slot[t] < values.length && Number.isFinite(numbers[t])) moments[slot[t]].add(numbers[t])
      }
      for (let v = 0; v < values.length; v++) {
        sum[v][row] = moments[v].sum
        mean[v][row] = moments[v].mean
        if (!isDetailed) continue
        least[v][row] = moments[v].least
        most[v][row] = moments[v].most
        last[v][row] = moments[v].last
      }
    }
  }
  return { names: out.names, columns: out.columns, add }
}

function wordGroup(field: string, list: readonly string[], entities: number): Group {
  const out = new Columns(entities)
  const total = out.make(`${field}.words`)
  const counts = list.map(word => out.make(`${field}.count[${word}]`))
  const place = new Map(list.map((word, i) => [word, i]))
  const known = new WeakMap<readonly string[], { readonly total: number; readonly places: readonly number[] }[]>()
  const add = (chunk: EventChunk, row: number) => {
    const { dictionary, codes } = chunk.columns[field] as TextColumn
    const cache = known.get(dictionary) ?? []
    known.set(dictionary, cache)
    for (let i = 0; i < chunk.ids.length; i++, row++) {
      for (let t = chunk.offsets[i]; t < chunk.offsets[i + 1]; t++) {
        const code = codes[t]
        if (code < 0) continue
        if (cache[code] === undefined) {
          const found = words(dictionary[code])
          const places = found.map(word => place.get(word) ?? -1).filter(one => one >= 0)
          cache[code] = { total: found.length, places }
        }
        total[row] += cache[code].total
        for (const one of cache[code].places) counts[one][row]++
      }
    }
  }
  return { names: out.names, columns: out.columns, add }
}
