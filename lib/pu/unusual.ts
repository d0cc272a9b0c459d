// Where EM begins: unlabelled rows that isolation sets apart start above 0, as far as the known positives are set apart too.

import { IsolationForest } from '../trees/isolation_forest.js'
import { expectRange } from '../util/errors.js'
import { inSlices } from '../util/pace.js'
import { type PuProblem, ROLE } from './problem.js'

/** Highest start, of the most unusual row where all known positives are more unusual than all others. */
const HIGHEST = 0.3
/** Share of the rows that start above 0. */
const SHARE = 0.1
const BUCKETS = 1 << 16

/** How unusual each row is, by an isolation forest on the values behind the bins. */
export async function unusualness({ data, matrix }: PuProblem, seed: number, signal?: AbortSignal) {
  const forest = await IsolationForest.fit(matrix.device, data!, { seed, signal })
  return forest.score(data!, { signal })
}

export interface Start {
  /** One for each row; 0 but for the most unusual tenth. */
  readonly scores: Float64Array
  /** 0 where known positives are as unusual as others, 1 where all are more so: 2·AUC − 1. */
  readonly gain: number
}

/**
 * Only what holds for the known positives is assumed of the hidden ones: the start is 0.3 · (2·AUC − 1) · (p − 0.9)/0.1 for the
 * percentile p of a row, and 0 below. Ranks are told apart by 65536 steps.
 * @param unusual  one number for each row, high = unusual
 */
export async function startOf(
  unusual: ArrayLike<number>,
  { roles }: { readonly roles: Uint8Array },
  signal?: AbortSignal,
): Promise<Start> {
  const rows = roles.length
  expectRange(unusual.length === rows, 'twoStepPu', `${rows} numbers of unusual`, unusual.length)
  let [low, high] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]
  await inSlices(rows, signal, (from, to) => {
    for (let row = from; row < to; row++) {
      const value = unusual[row]
      if (Number.isNaN(value)) expectRange(false, 'twoStepPu', 'unusual to be numbers', value)
      if (value < low) low = value
      if (value > high) high = value
    }
  })
  const scores = new Float64Array(rows)
  if (!(high > low)) return { scores, gain: 0 }
  const bucketOf = (row: number) => Math.floor(((unusual[row] - low) / (high - low)) * (BUCKETS - 1))
  const all = new Float64Array(BUCKETS)
  const known = new Float64Array(BUCKETS)
  let [rowsIn, positives] = [0, 0]
  await inSlices(rows, signal, (from, to) => {
    for (let row = from; row < to; row++) {
      if (roles[row] === ROLE.out) continue
      const bucket = bucketOf(row)
      all[bucket]++
      rowsIn++
      if (roles[row] !== ROLE.positive) continue
      known[bucket]++
      positives++
    }
  })
  const rank = new Float64Array(BUCKETS)
  let [below, below1, wins] = [0, 0, 0]
  for (let bucket = 0; bucket < BUCKETS; bucket++) {
    const others = all[bucket] - known[bucket]
    wins += known[bucket] * (below1 + others / 2)
    below1 += others
    rank[bucket] = (below + all[bucket] / 2) / rowsIn
    below += all[bucket]
  }
  const gain = Math.max(0, (2 * wins) / (positives * (rowsIn - positives)) - 1)
  await inSlices(rows, signal, (from, to) => {
    for (let row = from; row < to; row++) {
      scores[row] = Math.max(0, (HIGHEST * gain * (rank[bucketOf(row)] - 1 + SHARE)) / SHARE)
    }
  })
  return { scores, gain }
}
