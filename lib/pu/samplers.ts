// Which rows to ask about next.

import { sortedPlaces } from '../events/sort.js'
import type { BinnedMatrix } from '../runtime/binned_matrix.js'
import { kmeans } from '../trees/kmeans.js'
import { expectRange } from '../util/errors.js'
import { inSlices } from '../util/pace.js'
import { Philox } from '../util/philox.js'
import { BestRows } from './best_rows.js'

export const SAMPLERS = ['diverse', 'uncertain', 'random', 'top'] as const
/**
 * `diverse`: the most uncertain rows of the predicted-negative side, K-Means on them, the most uncertain row of each
 * cluster. `uncertain`: without the clusters. `top`: the highest scores. `random`: any.
 */
export type Sampler = (typeof SAMPLERS)[number]

export interface Pool {
  readonly matrix: BinnedMatrix
  /** In [0, 1], high = positive. */
  readonly scores: Float64Array
  /** 1 for rows that may be asked about. */
  readonly askable: Uint8Array
}

export interface SampleOptions {
  readonly sampler: Sampler
  /** Rows to ask about; fewer come where fewer are left. */
  readonly batch: number
  /** Rows that are clustered. */
  readonly candidates: number
  /** Rows at or above it are predicted to be positive. */
  readonly threshold: number
  readonly seed: number
  readonly signal?: AbortSignal
}

const SAMPLE_STREAM = 0x5a3
/** Plus a round: apart from all other streams of a seed. */
const ROUND_STREAM = 0x10000000
/** Rows between two looks at the clock where each may have to find its place among the best. */
const HEAP_SLICE = 1 << 12

/** The seed of what one round draws: rounds of neighbouring seeds share none. @param round  from 1 */
export function roundSeed(seed: number, round: number): number {
  return new Philox(seed, ROUND_STREAM + round).uniform() * 2 ** 53
}

/** Rows to ask about, most uncertain (or highest) first. */
export async function sampleRows(pool: Pool, options: SampleOptions): Promise<Int32Array> {
  const { sampler, batch, candidates, threshold, seed, signal } = options
  expectRange(SAMPLERS.includes(sampler), 'active', `a sampler out of ${SAMPLERS.join(', ')}`, sampler)
  if (sampler === 'random') return randomRows(pool, batch, seed, signal)
  if (sampler === 'top') return highest(pool, batch, Number.POSITIVE_INFINITY, seed, signal)
  const most = sampler === 'diverse' ? Math.max(batch, candidates) : batch
  let rows = await highest(pool, most, threshold, seed, signal)
  if (rows.length < batch) {
    // The predicted-negative side is used up: the others, those nearest to the threshold first.
    const left = pool.askable.slice()
    for (const row of rows) left[row] = 0
    const above = await nearestAbove({ ...pool, askable: left }, batch - rows.length, threshold, seed, signal)
    rows = Int32Array.from([...rows, ...above])
  }
  if (sampler === 'uncertain' || rows.length <= batch) return rows.subarray(0, batch)
  return onePerCluster(pool.matrix, rows, batch, seed, signal)
}

/** Candidates come most uncertain first, so that the first of a cluster is its most uncertain row. */
async function onePerCluster(
  matrix: BinnedMatrix,
  rows: Int32Array,
  clusters: number,
  seed: number,
  signal?: AbortSignal,
): Promise<Int32Array> {
  const values = await ranksOf(matrix, rows)
  const { assigned } = await kmeans(matrix.device, { values, features: matrix.features }, { clusters, seed, signal })
  const lists: number[][] = Array.from({ length: clusters }, () => [])
  assigned.forEach((cluster, i) => {
    lists[cluster].push(i)
  })
  // Clusters may be empty: others give their next rows then.
  const chosen: number[] = []
  for (let turn = 0; chosen.length < clusters; turn++) {
    const next = lists.flatMap(list => (turn < list.length ? [list[turn]] : [])).sort((a, b) => a - b)
    chosen.push(...next.slice(0, clusters - chosen.length))
  }
  return Int32Array.from(
    chosen.sort((a, b) => a - b),
    i => rows[i],
  )
}

/** Bins as ranks in [0, 1], (rows, features): on one scale, and finite also where values are missing. */
export async function ranksOf(matrix: BinnedMatrix, rows: Int32Array): Promise<Float32Array> {
  const bins = await matrix.readRows(rows)
  const { features } = matrix
  const step = matrix.columns.map(column => 1 / Math.max(1, column.bins - 1))
  return Float32Array.from(bins, (bin, i) => bin * step[i % features])
}

/** Rows below `limit` with the highest scores, highest first; equal scores in an order of the seed. */
async function highest(
  { scores, askable }: Pool,
  count: number,
  limit: number,
  seed: number,
  signal?: AbortSignal,
): Promise<Int32Array> {
  const isCandidate = (row: number) => askable[row] === 1 && scores[row] < limit
  return best(scores.length, count, isCandidate, (a, b) => scores[b] - scores[a], seed, signal)
}

async function nearestAbove(
  { scores, askable }: Pool,
  count: number,
  limit: number,
  seed: number,
  signal?: AbortSignal,
): Promise<Int32Array> {
  const isCandidate = (row: number) => askable[row] === 1 && scores[row] >= limit
  return best(scores.length, count, isCandidate, (a, b) => scores[a] - scores[b], seed, signal)
}

/** The `count` best rows, best first, without sorting all. */
async function best(
  rows: number,
  count: number,
  isCandidate: (row: number) => boolean,
  compare: (a: number, b: number) => number,
  seed: number,
  signal?: AbortSignal,
): Promise<Int32Array> {
  const inOrder = (a: number, b: number) => compare(a, b) || mix(a, seed) - mix(b, seed) || a - b
  const kept = new BestRows(Math.min(rows, count), inOrder)
  const add = (from: number, to: number) => {
    for (let row = from; row < to; row++) if (isCandidate(row)) kept.add(row)
  }
  await inSlices(rows, signal, add, HEAP_SLICE)
  const found = kept.rows
  const order = await sortedPlaces(found.length, (a, b) => inOrder(found[a], found[b]), signal)
  return order.map(place => found[place])
}

/** A number that depends on row and seed alone and looks like any (finaliser of MurmurHash3). */
function mix(row: number, seed: number): number {
  let h = (row ^ Math.imul(seed + 1, 0x9e3779b1)) >>> 0
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b)
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35)
  return (h ^ (h >>> 16)) >>> 0
}

/** Every askable row equally likely, in random order. */
async function randomRows({ askable }: Pool, count: number, seed: number, signal?: AbortSignal): Promise<Int32Array> {
  const random = new Philox(seed, SAMPLE_STREAM)
  const kept: number[] = []
  let seen = 0
  await inSlices(askable.length, signal, (from, to) => {
    for (let row = from; row < to; row++) {
      if (!askable[row]) continue
      // Vitter 1985, algorithm R.
      const place = kept.length < count ? kept.length : random.below(seen + 1)
      seen++
      if (place < count) kept[place] = row
    }
  })
  return random.shuffle(Int32Array.from(kept))
}
