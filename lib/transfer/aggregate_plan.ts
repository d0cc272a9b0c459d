// Which hand-made features to compute: the frequent values, words and pairs of a source. Plain data that survives JSON.

import { calendarPart } from '../events/calendar.js'
import { expectSource } from '../events/expect_source.js'
import type { Fields } from '../events/schema.js'
import { SlotMap, type Value } from '../events/slots.js'
import { sortedPlaces } from '../events/sort.js'
import type { EventSource, LongCall, TextColumn, TimeKind } from '../events/source.js'
import { words } from '../events/text.js'
import { BlockList } from '../util/block_list.js'
import { expectOptions, expectRange } from '../util/errors.js'
import { Pace } from '../util/pace.js'
import { TextIndex } from '../util/text_index.js'

/** Which features there are: fitted on some events, used on others. Plain data. */
export interface AggregatePlan {
  readonly version: 1
  readonly time: TimeKind
  /** Recency counts back from here: the newest event of the source. */
  readonly newest: number
  readonly parts: readonly ('hour' | 'weekday' | 'day')[]
  readonly categorical: readonly { readonly field: string; readonly values: readonly Value[] }[]
  readonly numeric: readonly { readonly field: string; readonly pairs: readonly ValuePair[] }[]
  /** Extremes and the last number of pairs as well; with few events per entity they would repeat the mean. */
  readonly isDetailed: boolean
  readonly text: readonly { readonly field: string; readonly words: readonly string[] }[]
}

/** Events of a numeric field that have this value in a categorical field. */
export interface ValuePair {
  readonly by: string
  readonly values: readonly Value[]
}

export interface PlanOptions extends LongCall {
  /** Most frequent values of each categorical field. Default 20. */
  readonly topValues?: number | undefined
  /** Most frequent words of each text field. Default 50. */
  readonly topWords?: number | undefined
  /** Pairs of a numeric field and a value, the most frequent of all fields together. Default 96. */
  readonly maxPairs?: number | undefined
}

const WHERE = 'planAggregates'
const NUMBERS = ['topValues', 'topWords', 'maxPairs'] as const
/** Pairs are chosen among so many times `topValues` values: a field of many values may stand beside one number only. */
const CANDIDATES = 4
/** Counted words beyond this are pruned of the rarest. */
const MOST_WORDS = 500_000
/** A value, word or pair must occur this often, and once per so many entities, to have features. */
const RAREST = 5
const ENTITIES_PER_VALUE = 500
/** Mean events per entity from which pairs are described in detail. */
const DETAILED_FROM = 4

/** Finds the frequent values, words and pairs of a source. */
export async function planAggregates<F extends Fields>(
  source: EventSource<F>,
  options: PlanOptions = {},
): Promise<AggregatePlan> {
  expectSource(WHERE, source)
  expectOptions(WHERE, options, [...NUMBERS, 'signal', 'onProgress'])
  const [topValues, topWords, maxPairs] = NUMBERS.map((name, i) => {
    const value = options[name] ?? [20, 50, 96][i]
    expectRange(Number.isInteger(value) && value >= 0, WHERE, `${name} to be a whole number ≥ 0`, value)
    return value
  })
  const summary = await source.summary(options)
  const rarest = Math.max(RAREST, summary.entities / ENTITIES_PER_VALUE)
  const kinds = Object.entries(source.schema.fields)
  const named = (kind: string) => kinds.filter(([, spec]) => spec.kind === kind).map(([field]) => field)
  const frequent = new Map<string, Value[]>()
  for (const field of named('categorical')) {
    frequent.set(field, await frequentValues(source, field, CANDIDATES * topValues, rarest, options.signal))
  }
  const text: AggregatePlan['text'][number][] = []
  for (const field of named('text')) {
    text.push({ field, words: await frequentWords(source, field, topWords, rarest, options.signal) })
  }
  const { newest, pairs } = await countPairs(source, frequent, named('numeric'), options)
  const chosen = pairs
    .filter(pair => pair.count >= rarest)
    .sort((a, b) => b.count - a.count)
    .slice(0, maxPairs)
  const numeric = named('numeric').map(field => {
    const own = [...frequent].map(([by, values]): ValuePair => {
      const picked = chosen.filter(pair => pair.field === field && pair.by === by).map(pair => pair.value)
      return { by, values: values.filter((_, i) => picked.includes(i)) }
    })
    return { field, pairs: own.filter(pair => pair.values.length > 0) }
  })
  return {
    version: 1,
    time: summary.time,
    newest,
    parts: (['hour', 'weekday', 'day'] as const).filter(part => summary.varies[part]),
    categorical: [...frequent].map(([field, values]) => ({ field, values: values.slice(0, topValues) })),
    numeric,
    isDetailed: summary.events >= DETAILED_FROM * summary.entities,
    text,
  }
}

async function frequentValues<F extends Fields>(
  source: EventSource<F>,
  field: keyof F & string,
  limit: number,
  rarest: number,
  signal?: AbortSignal,
): Promise<Value[]> {
  const counted: [Value, number][] = []
  for await (const block of source.values(field, { signal })) {
    for (let i = 0; i < block.values.length && counted.length < limit; i++)
      counted.push([block.values[i], block.counts[i]])
    if (counted.length >= limit) break
  }
  counted.push([null, await source.missing(field, { signal })])
  return counted
    .filter(([, count]) => count >= rarest)
    .sort((a, b) => b[1] - a[1])
    .slice(0, limit)
    .map(([value]) => value)
}

async function frequentWords<F extends Fields>(
  source: EventSource<F>,
  field: keyof F & string,
  limit: number,
  rarest: number,
  signal?: AbortSignal,
): Promise<string[]> {
  let counts = new WordCounts()
  const pace = new Pace(signal)
  for await (const block of source.values(field, { signal })) {
    for (const [i, value] of block.values.entries()) {
      for (const word of words(value)) counts.add(word, block.counts[i])
      // After each, since the small maps of an index grow at about the same time.
      await pace.turn()
    }
    if (counts.size > MOST_WORDS) counts = await counts.top(MOST_WORDS / 2, 1, signal)
  }
  return (await counts.top(limit, rarest, signal)).list()
}

/** How often words occur. */
class WordCounts {
  readonly #words = new BlockList<string>()
  readonly #counts = new BlockList<number>()
  readonly #places = new TextIndex()

  get size(): number {
    return this.#words.length
  }

  add(word: string, count: number): void {
    const place = this.#places.get(word)
    if (place !== undefined) {
      this.#counts.set(place, this.#counts.get(place) + count)
      return
    }
    this.#places.set(word, this.size)
    this.#words.push(word)
    this.#counts.push(count)
  }

  /** At most `limit` words that occur `least` times or more: by falling count, equal ones by their letters. */
  async top(limit: number, least: number, signal?: AbortSignal): Promise<WordCounts> {
    const [words, counts] = [this.#words, this.#counts]
    const compare = (a: number, b: number) => counts.get(b) - counts.get(a) || (words.get(a) < words.get(b) ? -1 : 1)
    const order = await sortedPlaces(this.size, compare, signal)
    const top = new WordCounts()
    const pace = new Pace(signal)
    for (const place of order.subarray(0, limit)) {
      if (counts.get(place) < least) break
      top.add(words.get(place), counts.get(place))
      if (pace.isDue) await pace.rest()
    }
    return top
  }

  list(): string[] {
    return Array.from({ length: this.size }, (_, place) => this.#words.get(place))
  }
}

interface PairCount {
  readonly field: string
  readonly by: string
  readonly value: number
  readonly count: number
}

/** How many events have a number in `field` and the value in `by`; and the newest time. */
async function countPairs<F extends Fields>(
  source: EventSource<F>,
  frequent: ReadonlyMap<string, readonly Value[]>,
  numeric: readonly string[],
  options: PlanOptions,
): Promise<{ newest: number; pairs: PairCount[] }> {
  const slots = new Map([...frequent].map(([by, values]) => [by, new SlotMap(values)]))
  const counts = numeric.map(
    () => new Map([...frequent].map(([by, values]) => [by, new Float64Array(values.length + 1)])),
  )
  let newest = Number.NEGATIVE_INFINITY
  const pace = new Pace(options.signal)
  for await (const chunk of source.chunks({ signal: options.signal, onProgress: options.onProgress })) {
    for (const time of chunk.time) if (time > newest) newest = time
    for (const [i, field] of numeric.entries()) {
      const numbers = chunk.columns[field] as Float64Array
      for (const [by, map] of slots) {
        const count = counts[i].get(by)!
        const slot = map.of(chunk.columns[by] as TextColumn)
        for (let t = 0; t < numbers.length; t++) if (!Number.isNaN(numbers[t])) count[slot[t]]++
        await pace.turn()
      }
    }
  }
  const pairs = numeric.flatMap((field, i) =>
    [...frequent].flatMap(([by, values]) =>
      values.map((_, value): PairCount => ({ field, by, value, count: counts[i].get(by)![value] })),
    ),
  )
  return { newest, pairs }
}

/** Groups of hours, the weekdays, and thirds of the month. */
export const PART_GROUPS = {
  hour: { labels: ['0-5', '6-11', '12-17', '18-23'], of: (time: number) => calendarPart(time, 'hour') / 6 },
  weekday: {
    labels: ['mon', 'tue', 'wed', 'thu', 'fri', 'sat', 'sun'],
    of: (time: number) => calendarPart(time, 'weekday'),
  },
  day: { labels: ['1-10', '11-20', '21-31'], of: (time: number) => Math.min(calendarPart(time, 'day') / 10, 2) },
} as const
