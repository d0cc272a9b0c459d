// What PU learning is given: which rows of a binned matrix are known positives, and what is known of the others.

import type { BinnedMatrix, NumberArray, TableData } from '../runtime/binned_matrix.js'
import { expectOptions, expectRange, expectType, SeqriskError } from '../util/errors.js'
import { inSlices } from '../util/pace.js'

/**
 * Heavier rows would leave those of weight 1 fewer than 2¹² steps of gradient in the trainer's fixed point (docs/trees.md).
 * Up to 8191 a weight is as many copies bit for bit, beyond that it is rounded with the gradient.
 */
export const MOST_WEIGHT = 2 ** 20

export const isWeight = (value: unknown) =>
  Number.isInteger(value) && Number(value) >= 1 && Number(value) <= MOST_WEIGHT

/** Rows, and what is known of them. */
export interface PuProblem {
  readonly matrix: BinnedMatrix
  /** 1 for known positives, 0 for unlabelled rows. */
  readonly positives: Uint8Array
  /** 1 for rows that are believed to be negative: their target stays 0. Default none. */
  readonly negatives?: Uint8Array | undefined
  /**
   * As how many copies a row trains, whatever its role: integers from 1 to 2²⁰, such as the up-sampling of trusted positives.
   * While it spies, a positive is one. Default 1.
   */
  readonly weights?: NumberArray | undefined
  /** 1 for rows that take part, 0 for rows that are only scored. Default all. */
  readonly mask?: Uint8Array | undefined
  /** The values behind the bins, for isolation forests: two-step PU starts from what these say. */
  readonly data?: TableData | undefined
  /** How unusual each row is, where that is known already: high = unusual. Otherwise learned from `data`. */
  readonly unusual?: Float64Array | undefined
}

/** What a row is for. */
export const ROLE = { out: 0, positive: 1, spy: 2, negative: 3, unlabelled: 4 } as const

/** Numbers of rows by role. */
export interface SetSizes {
  readonly positives: number
  readonly spies: number
  readonly negatives: number
  readonly unlabelled: number
}

/** A role for each row, and their numbers. */
export class PuSets {
  readonly roles: Uint8Array

  constructor(roles: Uint8Array) {
    this.roles = roles
  }

  /** How many rows have each role. */
  get sizes(): SetSizes {
    const counts = [0, 0, 0, 0, 0]
    for (let row = 0; row < this.roles.length; row++) counts[this.roles[row]]++
    const [, positives, spies, negatives, unlabelled] = counts
    return { positives, spies, negatives, unlabelled }
  }

  /** The rows of a role, in order. */
  rows(role: number): Int32Array {
    let count = 0
    for (let row = 0; row < this.roles.length; row++) count += Number(this.roles[row] === role)
    const out = new Int32Array(count)
    for (let row = 0, at = 0; at < count; row++) if (this.roles[row] === role) out[at++] = row
    return out
  }
}

/** @throws {RangeError} where a weight times `positiveWeight` is more than a row can weigh */
export function expectProduct(where: string, what: string, weight: number, positiveWeight: number): void {
  const most = `${what} times positiveWeight to be at most ${MOST_WEIGHT}`
  expectRange(weight * positiveWeight <= MOST_WEIGHT, where, most, `${weight} × ${positiveWeight}`, 'lower one of them')
}

/**
 * The roles that a problem begins with. The event loop runs meanwhile.
 * @param positiveWeight  what the weights of positives are multiplied by
 * @throws {TypeError|RangeError} for flags of another type or length, weights that are no integers from 1 to 2²⁰
 * @throws {SeqriskError} codes `NO_POSITIVES`, `NO_UNLABELLED`
 */
export async function setsOf(
  where: string,
  problem: PuProblem,
  signal?: AbortSignal,
  positiveWeight: number | 'balanced' = 1,
): Promise<PuSets> {
  expectOptions(where, problem, ['matrix', 'positives', 'negatives', 'weights', 'mask', 'data', 'unusual'])
  const { matrix, positives, negatives, weights, mask } = problem
  const { rows } = matrix
  for (const [name, flags] of Object.entries({ positives, negatives, mask })) {
    if (flags === undefined && name !== 'positives') continue
    expectType(flags instanceof Uint8Array, where, `${name} to be a Uint8Array`, flags)
    expectRange(flags!.length === rows, where, `${name} of ${rows} rows`, flags!.length)
  }
  expectRange(!weights || weights.length === rows, where, `${rows} weights`, weights?.length)
  // Balanced ones are as heavy as it takes.
  const factor = positiveWeight === 'balanced' ? 1 : positiveWeight
  const roles = new Uint8Array(rows)
  let [known, believed, unlabelled] = [0, 0, 0]
  await inSlices(rows, signal, (from, to) => {
    for (let row = from; row < to; row++) {
      if (mask && !mask[row]) continue
      if (weights && !isWeight(weights[row])) {
        expectRange(false, where, `weights to be integers from 1 to ${MOST_WEIGHT}`, weights[row], `see row ${row}`)
      }
      if (weights && positives[row] && weights[row] * factor > MOST_WEIGHT) {
        expectProduct(where, 'weights of positives', weights[row], factor)
      }
      const both = positives[row] && negatives?.[row]
      if (both) expectRange(false, where, `row ${row} to be positive or negative`, 'both')
      roles[row] = positives[row] ? ROLE.positive : negatives?.[row] ? ROLE.negative : ROLE.unlabelled
      if (roles[row] === ROLE.positive) known++
      else if (roles[row] === ROLE.negative) believed++
      else unlabelled++
    }
  })
  if (known === 0) {
    const text = `[${where}] expected known positives but received none; mark some rows, or use an isolation forest`
    throw new SeqriskError('NO_POSITIVES', text)
  }
  if (unlabelled + believed === 0) {
    const text = `[${where}] expected unlabelled rows but received ${known} positives alone; add rows to search in`
    throw new SeqriskError('NO_UNLABELLED', text)
  }
  return new PuSets(roles)
}
