// Spies: positives that hide among the unlabelled rows, and the score below which a row is a reliable negative.

import { expectRange, SeqriskError } from '../util/errors.js'
import { Philox } from '../util/philox.js'

/** How the spies' scores say what is reliably negative: rows that score lower than all but a few of them. */
export interface CutOptions {
  /**
   * `quantile`: the threshold is the `quantile` of the spies' scores. `minimum`: the lowest spy. `tolerance`: the lowest spy
   * that is no outlier, at least Q1 − `tolerance` · (Q3 − Q1). Default `quantile`.
   */
  readonly cut?: 'quantile' | 'minimum' | 'tolerance' | undefined
  /** Default 0.1. */
  readonly quantile?: number | undefined
  /** In widths of the middle half. Default 1.5 (Tukey 1977). */
  readonly tolerance?: number | undefined
}

const SPY_STREAM = 0x5b1e

/** @throws {SeqriskError} code `TOO_FEW_POSITIVES` where none could spy and another stay */
export function expectSpies(where: string, positives: number): void {
  if (positives >= 2) return
  const text = `[${where}] expected at least 2 known positives, one of them a spy, but received ${positives}`
  throw new SeqriskError('TOO_FEW_POSITIVES', `${text}; mark more, or use one-step PU`)
}

/**
 * @param positives  rows of known positives
 * @returns          the rows that spy, in order: at least one, and at least one positive stays
 * @throws {SeqriskError} code `TOO_FEW_POSITIVES`
 */
export function drawSpies(where: string, positives: Int32Array, share: number, seed: number, draw: number): Int32Array {
  expectSpies(where, positives.length)
  const count = Math.min(positives.length - 1, Math.max(1, Math.round(share * positives.length)))
  const random = new Philox(seed, SPY_STREAM + draw)
  const order = positives.slice()
  // The first `count` places of a shuffle.
  for (let i = 0; i < count; i++) {
    const j = i + random.below(order.length - i)
    const kept = order[i]
    order[i] = order[j]
    order[j] = kept
  }
  return order.slice(0, count).sort()
}

/** The score that reliable negatives stay below. */
export function cutOf(
  where: string,
  spies: Float64Array,
  { cut = 'quantile', quantile = 0.1, tolerance = 1.5 }: CutOptions,
): number {
  const sorted = spies.slice().sort()
  if (cut === 'minimum') return sorted[0]
  if (cut === 'quantile') return quantileOf(sorted, quantile)
  expectRange(cut === 'tolerance', where, "cut 'quantile', 'minimum' or 'tolerance'", cut)
  const [first, third] = [quantileOf(sorted, 0.25), quantileOf(sorted, 0.75)]
  const least = first - tolerance * (third - first)
  return sorted.find(score => score >= least)!
}

/** Of ascending values, linear between neighbours (Hyndman & Fan 1996, type 7). */
export function quantileOf(sorted: ArrayLike<number>, share: number): number {
  const at = share * (sorted.length - 1)
  const low = Math.floor(at)
  const high = Math.min(sorted.length - 1, low + 1)
  return sorted[low] + (at - low) * (sorted[high] - sorted[low])
}
