// Finds which numbers mean something else beside each value of a category, and cuts them into bins per value.

import { Pace } from '../util/pace.js'
import { Philox } from '../util/philox.js'
import type { CategoricalInput, CellGroup, CellInput, InputSpec } from './inputs.js'
import { FIRST_VALUE } from './inputs.js'
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
  const cells: CellInput[] = []
  for (const { field } of numbers) {
    let best: Pair | null = null
    let most = LEAST_EXPLAINED
    for (const pair of pairs.filter(pair => pair.field === field)) {
      const explained = explainedBy(pair)
      if (best ? explained > most : explained >= most) {
        best = pair
        most = explained
      }
      await pace.turn()
    }
    if (best) cells.push(cut(best))
    await pace.turn()
  }
  return cells
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
  const samples = kept.map(group => group.values.sort())
  const weights = kept.map((group, g) => group.count / samples[g].length / total)
  const means = new Float64Array(kept.length)
  const variance = addRanks(samples, weights, means)
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

/**
 * Adds to `means` the weighted ranks of each sample's values: they lie in (−½, ½), have mean 0 over all, and equal values
 * share theirs. Returns their variance.
 */
function addRanks(samples: readonly Float64Array[], weights: readonly number[], means: Float64Array): number {
  const size = samples.reduce((sum, sample) => sum + sample.length, 0)
  const all = new Float64Array(size)
  let filled = 0
  for (const sample of samples) {
    all.set(sample, filled)
    filled += sample.length
  }
  all.sort()
  let distinct = 0
  for (const value of all) if (distinct === 0 || value !== all[distinct - 1]) all[distinct++] = value
  const places = new Int32Array(size)
  const weightAt = new Float64Array(distinct)
  let i = 0
  samples.forEach((sample, g) => {
    for (const value of sample) {
      let low = 0
      for (let high = distinct; high - low > 1; ) {
        const middle = (low + high) >> 1
        if (all[middle] <= value) low = middle
        else high = middle
      }
      places[i++] = low
      weightAt[low] += weights[g]
    }
  })
  const rankAt = new Float64Array(distinct)
  let below = 0
  let variance = 0
  for (let place = 0; place < distinct; place++) {
    const rank = below + weightAt[place] / 2 - 0.5
    rankAt[place] = rank
    variance += weightAt[place] * rank * rank
    below += weightAt[place]
  }
  i = 0
  samples.forEach((sample, g) => {
    for (let k = 0; k < sample.length; k++) means[g] += weights[g] * rankAt[places[i++]]
  })
  return variance
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
