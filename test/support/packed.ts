// Packed batches for tests.

import type { TestRandom } from './random.js'

/** Offsets of sequences of these lengths. */
export function offsetsOf(lengths: readonly number[]): Int32Array {
  const offsets = new Int32Array(lengths.length + 1)
  lengths.forEach((length, i) => {
    offsets[i + 1] = offsets[i] + length
  })
  return offsets
}

/** Lengths in [0, longest], short ones more often. */
export function randomLengths(random: TestRandom, sequences: number, longest: number): number[] {
  return Array.from({ length: sequences }, () => Math.floor(random.next() ** 2 * (longest + 1)))
}
