// A table with planted positives of six kinds, whose truth is known.

import { auc } from '../../lib/report/metrics.js'
import { TestRandom } from './random.js'

export interface Planted {
  readonly columns: Float64Array[]
  /** 1 for positives. */
  readonly truth: Uint8Array
  /** 0 for negatives, else the kind of the positive, 1 … 6. */
  readonly kind: Uint8Array
}

export const FEATURES = 16
const KINDS = 6

/**
 * Sixteen normal columns. A positive of kind k (two rows in twenty-five) is far out in two of them, columns 2(k−1) and
 * 2(k−1) + 1. One negative in fifty is noisier than others in all columns, so that to be unusual is not yet to be positive.
 */
export function plantedTable(rows: number, seed = 1): Planted {
  const random = new TestRandom(seed)
  const columns = Array.from({ length: FEATURES }, () => new Float64Array(rows))
  const truth = new Uint8Array(rows)
  const kind = new Uint8Array(rows)
  for (let row = 0; row < rows; row++) {
    truth[row] = random.next() < 0.08 ? 1 : 0
    kind[row] = truth[row] === 1 ? random.integer(1, KINDS) : 0
    const scale = truth[row] === 0 && random.next() < 0.02 ? 1.6 : 1
    for (let f = 0; f < FEATURES; f++) {
      const isFar = kind[row] > 0 && f >> 1 === kind[row] - 1
      columns[f][row] = isFar ? 3 + 0.3 * random.normal() : scale * random.normal()
    }
  }
  return { columns, truth, kind }
}

/** Flags of `count` positives, of one kind alone or of any. */
export function knownOf({ truth, kind }: Planted, count: number, only?: number, seed = 2): Uint8Array {
  const random = new TestRandom(seed)
  const rows = [...truth.keys()].filter(row => truth[row] === 1 && (only === undefined || kind[row] === only))
  const known = new Uint8Array(truth.length)
  while (count > 0) {
    const row = rows[random.integer(0, rows.length - 1)]
    if (known[row]) continue
    known[row] = 1
    count--
  }
  return known
}

/** AUC on the rows that were not known. */
export function aucOfUnknown({ truth }: Planted, known: Uint8Array, scores: Float64Array): number {
  const rows = [...truth.keys()].filter(row => !known[row])
  return auc(
    rows.map(row => scores[row]),
    rows.map(row => truth[row]),
  )
}
