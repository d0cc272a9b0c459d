// How precise scores are per band of percentiles, how much two scorers find at equal precision, and how many rows to
// label in each band to know.

import { fallingSteps } from '../events/sort.js'
import { expectOptions, expectRange, expectType } from '../util/errors.js'
import { inTurns, type Steps } from '../util/pace.js'
import { Philox } from '../util/philox.js'
import { averagePrecisionSteps, sortedAucSteps } from './metrics.js'

/** A confidence interval. */
export interface Interval {
  readonly low: number
  readonly high: number
}

/** One band of scores, and what is known of its rows. */
export interface Band {
  /** Percentiles of the scores: above `from`, up to `to`. */
  readonly from: number
  readonly to: number
  readonly rows: number
  readonly labelled: number
  readonly positives: number
  /** Share of positives among the labelled rows of the band; NaN without any. */
  readonly precision: number
  /** Wilson's interval of the precision; [0, 1] without labels. */
  readonly interval: Interval
  /** Share of all labelled positives that lie in the band; NaN where there are none. */
  readonly recall: number
}

/** All bands, from the lowest scores to the highest. */
export interface BandReport {
  readonly bands: readonly Band[]
  readonly rows: number
  readonly labelled: number
  readonly positives: number
  /** NaN where positives or negatives are missing. */
  readonly auc: number
  readonly averagePrecision: number
}

/** Percentiles between which the bands lie, ascending. */
export const DEFAULT_EDGES: readonly number[] = [0, 50, 75, 85, 90, 95, 99, 100]

/** What `bandsOf` can be told. */
export interface BandOptions {
  /** Default 0, 50, 75, 85, 90, 95, 99, 100. */
  readonly edges?: readonly number[] | undefined
  /** Of the intervals. Default 0.95. */
  readonly confidence?: number | undefined
  /** Of the order among equal scores. Default 0. */
  readonly seed?: number | undefined
  readonly signal?: AbortSignal | undefined
}

const TIE_STREAM = 0x71e5
const BOOTSTRAP_STREAM = 0xb007
/** Rows drawn or walked between two looks at the clock: less than a millisecond. */
const ROWS_PER_STEP = 16_384

/**
 * Wilson 1927: the shares p with |hits/trials − p| ≤ z·√(p(1−p)/trials).
 * @param z  standard deviations; 1.96 for 95 %
 */
export function wilson(hits: number, trials: number, z = 1.959963984540054): Interval {
  expectRange(trials >= 0 && hits >= 0 && hits <= trials, 'wilson', 'hits in [0, trials]', [hits, trials])
  if (trials === 0) return { low: 0, high: 1 }
  const share = hits / trials
  const square = (z * z) / trials
  const middle = (share + square / 2) / (1 + square)
  const half = (z / (1 + square)) * Math.sqrt((share * (1 - share)) / trials + square / (4 * trials))
  // Rounding would leave crumbs at the ends.
  return { low: hits === 0 ? 0 : Math.max(0, middle - half), high: hits === trials ? 1 : Math.min(1, middle + half) }
}

/** The normal deviate that `confidence` lies within on both sides, by bisection. */
export function deviateOf(confidence: number): number {
  expectRange(confidence > 0 && confidence < 1, 'bands', 'confidence between 0 and 1', confidence)
  let [low, high] = [0, 40]
  for (let i = 0; i < 200; i++) {
    const middle = (low + high) / 2
    if (errorFunction(middle / Math.SQRT2) < confidence) low = middle
    else high = middle
  }
  return (low + high) / 2
}

/** erf by its series (Abramowitz & Stegun 7.1.6), for x up to 6; 1 beyond. */
function errorFunction(x: number): number {
  if (x > 6) return 1
  let term = x
  let sum = x
  for (let n = 1; n < 200 && term > 1e-17 * sum; n++) {
    term *= (2 * x * x) / (2 * n + 1)
    sum += term
  }
  return (2 / Math.sqrt(Math.PI)) * Math.exp(-x * x) * sum
}

/**
 * Rows by falling score; equal scores in an order that depends on the seed alone, so that bands have their sizes even where
 * a scorer knows few values. The event loop runs meanwhile.
 */
export function ranking(scores: ArrayLike<number>, seed = 0, signal?: AbortSignal): Promise<Int32Array> {
  return inTurns(rankingSteps(scores, seed), signal)
}

function* rankingSteps(scores: ArrayLike<number>, seed: number): Steps<Int32Array> {
  const rows = new Int32Array(scores.length)
  for (let row = 0; row < rows.length; row++) {
    if (row % ROWS_PER_STEP === 0) yield
    if (Number.isNaN(scores[row])) expectRange(false, 'bands', `score ${row} to be a number`, scores[row])
    rows[row] = row
  }
  return yield* fallingSteps(yield* new Philox(seed, TIE_STREAM).shuffleSteps(rows), scores)
}

/**
 * Precision per band of percentiles of the scores. The event loop runs meanwhile.
 * @param scores  one for each row, high = positive
 * @param labels  1, 0, or NaN where unknown
 */
export async function bandsOf(
  scores: ArrayLike<number>,
  labels: ArrayLike<number>,
  options: BandOptions = {},
): Promise<BandReport> {
  expectOptions('bands', options, ['edges', 'confidence', 'seed', 'signal'])
  const { edges = DEFAULT_EDGES, confidence = 0.95, seed = 0, signal } = options
  signal?.throwIfAborted()
  expectEdges(edges)
  return inTurns(bandSteps(scores, labels, edges, deviateOf(confidence), seed), signal)
}

function* bandSteps(
  scores: ArrayLike<number>,
  labels: ArrayLike<number>,
  edges: readonly number[],
  z: number,
  seed: number,
): Steps<BandReport> {
  const n = scores.length
  expectRange(n > 0, 'bands', 'at least one row', 0)
  expectRange(labels.length === n, 'bands', `${n} labels, one for each score,`, labels.length)
  let known = 0
  let total = 0
  for (let row = 0; row < n; row++) {
    if (row % ROWS_PER_STEP === 0) yield
    const label = labels[row]
    if (Number.isNaN(label)) continue
    if (label !== 0 && label !== 1) expectRange(false, 'bands', `label ${row} to be 0, 1 or unknown`, label)
    known++
    total += label
  }
  const order = yield* rankingSteps(scores, seed)
  const bands: Band[] = []
  for (let b = 0; b + 1 < edges.length; b++) {
    const [from, to] = [edges[b], edges[b + 1]]
    // The best of n rows is at percentile 100.
    const [first, end] = [placeOf(n, to), placeOf(n, from)]
    let labelled = 0
    let positives = 0
    for (let i = first; i < end; i++) {
      if (i % ROWS_PER_STEP === 0) yield
      const label = labels[order[i]]
      if (Number.isNaN(label)) continue
      labelled++
      positives += label
    }
    const precision = labelled === 0 ? Number.NaN : positives / labelled
    const recall = total === 0 ? Number.NaN : positives / total
    const interval = wilson(positives, labelled, z)
    bands.push({ from, to, rows: end - first, labelled, positives, precision, interval, recall })
  }
  // Of the labelled rows, in ascending order.
  const ones = new Float64Array(total)
  const zeros = new Float64Array(known - total)
  for (let i = n - 1, one = 0, zero = 0; i >= 0; i--) {
    if (i % ROWS_PER_STEP === 0) yield
    const row = order[i]
    if (labels[row] === 1) ones[one++] = scores[row]
    else if (labels[row] === 0) zeros[zero++] = scores[row]
  }
  const hasBoth = total > 0 && total < known
  return {
    bands,
    rows: n,
    labelled: known,
    positives: total,
    auc: hasBoth ? yield* sortedAucSteps(ones, zeros) : Number.NaN,
    averagePrecision: total > 0 ? yield* averagePrecisionSteps(ones, zeros) : Number.NaN,
  }
}

/** How many of n rows lie above a percentile. */
const placeOf = (n: number, percentile: number) => n - Math.round((n * percentile) / 100)

export function expectEdges(edges: readonly number[]): void {
  expectType(Array.isArray(edges), 'bands', 'edges as a list', edges)
  const rises = edges.length >= 2 && edges.every((edge, i) => edge >= 0 && edge <= 100 && !(edge <= edges[i - 1]))
  expectRange(rises, 'bands', 'rising percentiles in [0, 100]', edges)
}

/** What `volumeAtEqualPrecision` can be told. */
export interface VolumeOptions {
  /** Precision to hold: default that of the second scorer's best rows, as many as `share` of all. */
  readonly precision?: number | undefined
  /** Share of the rows that the second scorer reports when no precision is given. Default 0.01. */
  readonly share?: number | undefined
  /** Samples of the bootstrap. Default 1000. */
  readonly samples?: number | undefined
  /** Default 0.95. */
  readonly confidence?: number | undefined
  readonly seed?: number | undefined
  readonly signal?: AbortSignal | undefined
  /** Called after each sample. */
  readonly onProgress?:
    | ((progress: { readonly phase: 'bootstrap'; readonly done: number; readonly total: number }) => void)
    | undefined
}

/** How many rows a score finds at a precision. */
export interface Volume {
  readonly precision: number
  /** Most positives that each scorer finds while its reported rows have at least that precision. */
  readonly found: readonly [number, number]
  /** Rows that each reports. */
  readonly reported: readonly [number, number]
  /** found[0] / found[1]; Infinity where the second finds none and the first some, NaN where neither does. */
  readonly ratio: number
  /** Bootstrap percentiles of the ratio, over samples in which the second finds any. */
  readonly interval: Interval
}

/**
 * "Volume at equal precision": the longest list of best rows whose precision is still `precision`, for two scorers of the
 * same labelled rows, and the ratio of the positives in them. The event loop runs meanwhile.
 * @param labels  0 or 1
 */
export async function volumeAtEqualPrecision(
  first: ArrayLike<number>,
  second: ArrayLike<number>,
  labels: ArrayLike<number>,
  options: VolumeOptions = {},
): Promise<Volume> {
  const where = 'volume'
  expectOptions(where, options, ['precision', 'share', 'samples', 'confidence', 'seed', 'signal', 'onProgress'])
  const { share = 0.01, samples = 1000, confidence = 0.95, seed = 0, signal, onProgress } = options
  signal?.throwIfAborted()
  const n = labels.length
  expectRange(n > 0, where, 'at least one row', 0)
  expectRange(first.length === n && second.length === n, where, `${n} scores`, [first.length, second.length])
  for (let row = 0; row < n; row++) {
    if (labels[row] !== 0 && labels[row] !== 1) expectRange(false, where, `label ${row} of 0 or 1`, labels[row])
  }
  expectRange(share > 0 && share <= 1, where, 'share in (0, 1]', share)
  expectRange(Number.isInteger(samples) && samples >= 0, where, 'samples to be an integer from 0', samples)
  deviateOf(confidence)
  const orders = [await ranking(first, seed, signal), await ranking(second, seed, signal)] as const
  const ones = new Float64Array(n).fill(1)
  const precision = options.precision ?? precisionOf(orders[1], labels, Math.max(1, Math.round(share * n)))
  expectRange(precision >= 0 && precision <= 1, where, 'precision in [0, 1]', precision)
  const lists = await inTurns(longestSteps(orders, labels, ones, precision), signal)
  const ratios: number[] = []
  const random = new Philox(seed, BOOTSTRAP_STREAM)
  const counts = new Float64Array(n)
  for (let sample = 0; sample < samples; sample++) {
    await inTurns(drawSteps(random, counts), signal)
    const [a, b] = await inTurns(longestSteps(orders, labels, counts, precision), signal)
    if (b.found > 0) ratios.push(a.found / b.found)
    onProgress?.({ phase: 'bootstrap', done: sample + 1, total: samples })
  }
  ratios.sort((a, b) => a - b)
  const at = (p: number) => ratios[Math.min(ratios.length - 1, Math.floor(p * ratios.length))] ?? Number.NaN
  return {
    precision,
    found: [lists[0].found, lists[1].found],
    reported: [lists[0].reported, lists[1].reported],
    ratio: lists[0].found / lists[1].found,
    interval: { low: at((1 - confidence) / 2), high: at((1 + confidence) / 2) },
  }
}

function precisionOf(order: Int32Array, labels: ArrayLike<number>, reported: number): number {
  let hits = 0
  for (let i = 0; i < reported; i++) hits += labels[order[i]]
  return hits / reported
}

/** How often each row is drawn, with as many draws as there are rows. */
function* drawSteps(random: Philox, counts: Float64Array): Steps<void> {
  const n = counts.length
  counts.fill(0)
  for (let i = 0; i < n; i++) {
    if (i % ROWS_PER_STEP === 0) yield
    counts[random.below(n)]++
  }
}

interface Longest {
  readonly found: number
  readonly reported: number
}

/** Of each order the longest list of best rows that holds the precision; each row counts as often as it was drawn. */
function* longestSteps(
  orders: readonly [Int32Array, Int32Array],
  labels: ArrayLike<number>,
  counts: Float64Array,
  precision: number,
): Steps<[Longest, Longest]> {
  const lists: Longest[] = []
  for (const order of orders) {
    let reported = 0
    let hits = 0
    let best: Longest = { found: 0, reported: 0 }
    for (let i = 0; i < order.length; i++) {
      if (i % ROWS_PER_STEP === 0) yield
      const row = order[i]
      if (counts[row] === 0) continue
      reported += counts[row]
      hits += counts[row] * labels[row]
      // The quotient, as `precision` is one: a product of rounded numbers may lie above the hits it stands for.
      if (hits / reported >= precision && hits > best.found) best = { found: hits, reported }
    }
    lists.push(best)
  }
  return lists as [Longest, Longest]
}

/** What `labellingPlan` can be told. */
export interface PlanOptions extends Omit<BandOptions, 'seed' | 'signal'> {
  /** Half width of the precision's interval in each band. Default 0.05. */
  readonly halfWidth?: number | undefined
  /** Rows to label in all: shared between bands so that the estimate of all positives is sharpest. Default: no limit. */
  readonly budget?: number | undefined
  /** Precision of each band as far as it is known. Default 0.5, which asks for most. */
  readonly expected?: readonly number[] | undefined
}

/** How many rows of a band to label. */
export interface PlannedBand {
  readonly from: number
  readonly to: number
  readonly rows: number
  readonly label: number
}

/**
 * How many rows to label per band. Without a budget: enough for the half width, n = z²·p(1−p)/h², corrected for bands of few
 * rows. With one: Neyman's shares, in proportion to rows · √(p(1−p)), at least one row a band while the budget lasts.
 */
export function labellingPlan(rows: number, options: PlanOptions = {}): PlannedBand[] {
  const where = 'plan'
  expectOptions(where, options, ['edges', 'confidence', 'halfWidth', 'budget', 'expected'])
  const { edges = DEFAULT_EDGES, confidence = 0.95, halfWidth = 0.05, budget, expected } = options
  expectRange(Number.isInteger(rows) && rows > 0, where, 'rows from 1', rows)
  expectEdges(edges)
  expectRange(halfWidth > 0 && halfWidth < 1, where, 'halfWidth between 0 and 1', halfWidth)
  const count = edges.length - 1
  expectRange(!expected || expected.length === count, where, `${count} expected precisions`, expected?.length)
  const z = deviateOf(confidence)
  const bands = Array.from({ length: count }, (_, b) => {
    const [from, to] = [edges[b], edges[b + 1]]
    const precision = expected?.[b] ?? 0.5
    expectRange(precision >= 0 && precision <= 1, where, 'expected precisions in [0, 1]', precision)
    // A band of which nothing else is known may still hold one of the other kind.
    const variance = Math.max(precision * (1 - precision), 0.01)
    return { from, to, rows: placeOf(rows, from) - placeOf(rows, to), variance }
  })
  if (budget === undefined) {
    return bands.map(({ variance, ...band }) => {
      const wanted = (z * z * variance) / (halfWidth * halfWidth)
      const corrected = wanted / (1 + (wanted - 1) / Math.max(1, band.rows))
      return { ...band, label: Math.min(band.rows, Math.ceil(corrected)) }
    })
  }
  expectRange(Number.isInteger(budget) && budget >= 0, where, 'budget to be an integer from 0', budget)
  const label = new Int32Array(count)
  const weight = bands.map(band => band.rows * Math.sqrt(band.variance))
  // Row by row to the band that lies furthest behind its share (Jefferson's rule).
  for (
    let left = Math.min(
      budget,
      bands.reduce((sum, band) => sum + band.rows, 0),
    );
    left > 0;
    left--
  ) {
    let best = -1
    for (let b = 0; b < count; b++) {
      if (label[b] >= bands[b].rows) continue
      const claim = label[b] === 0 ? Number.POSITIVE_INFINITY : weight[b] / (label[b] + 1)
      const other = best < 0 ? -1 : label[best] === 0 ? Number.POSITIVE_INFINITY : weight[best] / (label[best] + 1)
      if (claim > other) best = b
    }
    label[best]++
  }
  return bands.map(({ variance, ...band }, b) => ({ ...band, label: label[b] }))
}
