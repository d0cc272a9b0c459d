// Finds which numbers mean something else beside each value of a category, and cuts them into bins per value.

import { Pace } from '../util/pace.js'
import { Philox } from '../util/philox.js'
import { type CategoricalInput, type CellGroup, type CellInput, FIRST_VALUE, type InputSpec } from './encoding.js'
import { Sample } from './sample.js'
import type { Fields } from './schema.js'
import { SlotMap } from './slots.js'
import type { EventSource, LongCall, TextColumn } from './source.js'

/** Bins of a group: fine enough for a shape, few enough that each is seen often. */
const BINS = 8
/** Groups of an input: the most frequent values. */
const MOST_GROUPS = 64
/** Numbers that a group must have. */
const RAREST = 50
/** Values of a group that are kept to cut it: a quantile is then off by 2 % of the group at most, two times in three. */
const SAMPLES = 512
/** Share of a number's variance (of its ranks) that the category must explain. */
const LEAST_EXPLAINED = 0.02
/** The Philox key of the sample. */
const SAMPLE_KEY = 0xce11

/** One numeric field beside one category. */
interface Pair {
  readonly field: string
  readonly by: CategoricalInput
  readonly slots: SlotMap
  /** Numbers beside each value of the category. */
  readonly groups: readonly Sample[]
}

/**
 * One input for each number that a category explains a part of: quantile bins inside each frequent value of the category
 * that explains most. Ranks decide (correlation ratio η²), so that heavy tails do not. One pass over the events.
 */
export async function fitCells<F extends Fields>(
  source: EventSource<F>,
  inputs: readonly InputSpec[],
  options: LongCall = {},
): Promise<CellInput[]> {
  const categories = inputs.filter((input): input is CategoricalInput => input.kind === 'categorical' && !input.hash)
  const numbers = inputs.filter(input => input.kind === 'numeric')
  const pairs = numbers.flatMap(({ field }) => categories.map(by => emptyPair(field, by)))
  if (pairs.length === 0) return []
  const pace = new Pace(options.signal)
  const random = new Philox(SAMPLE_KEY, 0)
  for await (const chunk of source.chunks({ signal: options.signal })) {
    for (const pair of pairs) {
      const values = chunk.columns[pair.field] as Float64Array
      const slot = pair.slots.of(chunk.columns[pair.by.field] as TextColumn)
      for (let t = 0; t < values.length; t++) {
        const group = pair.groups[slot[t]]
        if (group && Number.isFinite(values[t])) group.add(values[t], random)
      }
      await pace.turn()
    }
  }
  return numbers.flatMap(({ field }) => {
    const own = pairs.filter(pair => pair.field === field).map(pair => ({ pair, explained: explainedBy(pair) }))
    const best = own.reduce((one, other) => (other.explained > one.explained ? other : one))
    return best.explained >= LEAST_EXPLAINED ? [cut(best.pair)] : []
  })
}

function emptyPair(field: string, by: CategoricalInput): Pair {
  const values = by.values.slice(0, MOST_GROUPS)
  const groups = values.map(() => new Sample(SAMPLES))
  return { field, by, slots: new SlotMap(values), groups }
}

/** η² of the ranks: the share of their variance that lies between the groups. */
function explainedBy({ groups }: Pair): number {
  const kept = groups.filter(({ count }) => count >= RAREST)
  const total = kept.reduce((sum, { count }) => sum + count, 0)
  if (kept.length < 2) return 0
  const entries = kept.flatMap((group, g) => {
    const sample = group.values
    return Array.from(sample, value => ({ value, g, weight: group.count / sample.length / total }))
  })
  entries.sort((a, b) => a.value - b.value)
  // Ranks in (0, 1), equal values share theirs; the mean over all is 1/2.
  const means = new Float64Array(kept.length)
  let variance = 0
  let below = 0
  for (let i = 0; i < entries.length; ) {
    let end = i
    let weight = 0
    for (; end < entries.length && entries[end].value === entries[i].value; end++) weight += entries[end].weight
    const rank = below + weight / 2 - 0.5
    variance += weight * rank * rank
    for (; i < end; i++) means[entries[i].g] += entries[i].weight * rank
    below += weight
  }
  if (!(variance > 1e-9)) return 0
  // A group's mean is off by its sample's size: what chance alone would explain is taken off.
  let between = 0
  let chance = 0
  kept.forEach((group, g) => {
    const share = group.count / total
    between += (means[g] * means[g]) / share
    chance += share / group.values.length
  })
  return between / variance - chance
}

function cut({ field, by, groups }: Pair): CellInput {
  const cells: CellGroup[] = []
  groups.forEach((group, g) => {
    if (group.count < RAREST) return
    const sample = group.values.sort()
    const distinct = [...new Set(sample)]
    const quantiles = Array.from({ length: BINS }, (_, b) => sample[Math.floor((b * sample.length) / BINS)])
    const starts = distinct.length <= BINS ? distinct : [...new Set(quantiles)]
    cells.push({ value: by.values[g], starts })
  })
  const size = cells.reduce((sum, { starts }) => sum + starts.length, FIRST_VALUE)
  return { name: `${field}|${by.name}`, field, by: by.field, part: 'field', kind: 'cells', size, groups: cells }
}
