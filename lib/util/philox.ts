// Philox4x32-10, a counter-based generator: block n of a key is a pure function of (key, n), so streams can be split,
// skipped and repeated at will. Source: Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3" (Random123).

import { expectRange } from './errors.js'
import { atOnce, type Steps } from './pace.js'

const M0 = 0xd2511f53
const M1 = 0xcd9e8d57
const W0 = 0x9e3779b9
const W1 = 0xbb67ae85
/** Values that `shuffleSteps` moves at a time: less than a millisecond. */
const SHUFFLED_PER_STEP = 8192

/** High 32 bits of the 64-bit product of two uint32, in 32-bit steps that stay in integer registers. */
function high(a: number, b: number): number {
  const a0 = a & 0xffff
  const a1 = a >>> 16
  const b0 = b & 0xffff
  const b1 = b >>> 16
  const middle = (Math.imul(a1, b0) + (Math.imul(a0, b0) >>> 16)) >>> 0
  const carry = (Math.imul(a0, b1) + (middle & 0xffff)) >>> 0
  return (Math.imul(a1, b1) + (middle >>> 16) + (carry >>> 16)) >>> 0
}

/**
 * One block: four uint32 from a counter of four and a key of two.
 * @param out  receives the block at out[at … at + 3]
 */
export function philox4x32(
  c0: number,
  c1: number,
  c2: number,
  c3: number,
  k0: number,
  k1: number,
  out: Uint32Array,
  at = 0,
): void {
  for (let round = 0; round < 10; round++) {
    const high0 = high(M0, c0)
    const low0 = Math.imul(M0, c0) >>> 0
    const high1 = high(M1, c2)
    const low1 = Math.imul(M1, c2) >>> 0
    c0 = (high1 ^ c1 ^ k0) >>> 0
    c1 = low1
    c2 = (high0 ^ c3 ^ k1) >>> 0
    c3 = low0
    k0 = (k0 + W0) >>> 0
    k1 = (k1 + W1) >>> 0
  }
  out[at] = c0
  out[at + 1] = c1
  out[at + 2] = c2
  out[at + 3] = c3
}

/** Writes blocks first, first + 1, … of a stream, as many as `out` has room for: four words each. */
export type PhiloxBlocks = (seed: number, stream: number, first: number, out: Uint32Array) => void

/** Words that are drawn ahead at most: 64 KiB, less than 0.1 ms. */
const WORDS_AHEAD = 16_384

/** A number in [0, 1) of 53 bits, out of two words. */
function uniformOf(high: number, low: number): number {
  return ((high >>> 5) * 0x4000000 + (low >>> 6)) / 0x20000000000000
}

/** A sequential reader of one Philox stream. Same (seed, stream), same numbers, on every machine. */
export class Philox {
  readonly #key0: number
  readonly #key1: number
  readonly #seed: number
  readonly #stream: number
  readonly #blocks: PhiloxBlocks | null
  #words = new Uint32Array(4)
  #counter = 0
  #used = 4
  #spare = Number.NaN

  /**
   * @param seed    a safe integer ≥ 0: its 53 bits are the key
   * @param stream  an integer in [0, 2³²): independent streams of one seed
   * @param blocks  makes many blocks at a time; they are those of `philox4x32`, which is the default
   */
  constructor(seed: number, stream = 0, blocks: PhiloxBlocks | null = null) {
    expectRange(Number.isSafeInteger(seed) && seed >= 0, 'philox', 'seed to be a safe integer ≥ 0', seed)
    expectRange(stream >>> 0 === stream, 'philox', 'stream to be an integer in [0, 2^32)', stream)
    this.#key0 = seed >>> 0
    this.#key1 = Math.floor(seed / 0x100000000)
    this.#seed = seed
    this.#stream = stream
    this.#blocks = blocks
  }

  /** Uniform over [0, 2³²). */
  uint32(): number {
    if (this.#used === this.#words.length) this.#refill()
    return this.#words[this.#used++]
  }

  #refill(): void {
    const n = this.#counter
    this.#used = 0
    if (!this.#blocks || n === 0) {
      philox4x32(n >>> 0, Math.floor(n / 0x100000000), this.#stream, 0, this.#key0, this.#key1, this.#words)
      this.#counter = n + 1
      return
    }
    // Who has drawn many will draw many more.
    if (this.#words.length < WORDS_AHEAD) this.#words = new Uint32Array(4 * this.#words.length)
    this.#blocks(this.#seed, this.#stream, n, this.#words)
    this.#counter = n + this.#words.length / 4
  }

  /** Uniform over [0, 1), 53 bits. */
  uniform(): number {
    const high = this.uint32()
    return uniformOf(high, this.uint32())
  }

  /**
   * Draws `uniform()` for each i in [0, count), and returns those for which it is below `share`, ascending.
   * @param drawn  where they are put: room for `count`
   */
  lots(count: number, share: number, drawn = new Int32Array(count)): Int32Array {
    let n = 0
    for (let i = 0; i < count; i++) {
      // As many as the words at hand are good for, in a loop that knows it; the next one brings new words.
      const words = this.#words
      const end = Math.min(count, i + ((words.length - this.#used) >> 1))
      let at = this.#used
      for (; i < end; i++, at += 2) {
        if (uniformOf(words[at], words[at + 1]) < share) drawn[n++] = i
      }
      this.#used = at
      if (i < count && this.uniform() < share) drawn[n++] = i
    }
    return drawn.subarray(0, n)
  }

  /** Uniform integer over [0, count), without bias (rejection). */
  below(count: number): number {
    expectRange(Number.isInteger(count) && count > 0 && count <= 0x100000000, 'philox', 'count in [1, 2^32]', count)
    const limit = 0x100000000 - (0x100000000 % count)
    for (;;) {
      const value = this.uint32()
      if (value < limit) return value % count
    }
  }

  /** Standard normal (Box–Muller). */
  normal(): number {
    if (!Number.isNaN(this.#spare)) {
      const value = this.#spare
      this.#spare = Number.NaN
      return value
    }
    const radius = Math.sqrt(-2 * Math.log(1 - this.uniform()))
    const angle = 2 * Math.PI * this.uniform()
    this.#spare = radius * Math.sin(angle)
    return radius * Math.cos(angle)
  }

  /** Exponential with mean 1. */
  exponential(): number {
    return -Math.log(1 - this.uniform())
  }

  /** Poisson with the given mean (multiplication method; fit for means up to some hundred). */
  poisson(mean: number): number {
    let left = mean
    let count = 0
    // Steps of 30 keep exp(−mean) away from underflow.
    while (left > 0) {
      const step = Math.min(left, 30)
      const floor = Math.exp(-step)
      for (let product = this.uniform(); product > floor; product *= this.uniform()) count++
      left -= step
    }
    return count
  }

  /** An index drawn with probability proportional to weights[index]. */
  choice(weights: ArrayLike<number>): number {
    let total = 0
    for (let i = 0; i < weights.length; i++) total += weights[i]
    expectRange(total > 0 && Number.isFinite(total), 'philox', 'weights with a finite positive sum', total)
    let left = this.uniform() * total
    let last = 0
    for (let i = 0; i < weights.length; i++) {
      if (!(weights[i] > 0)) continue
      last = i
      left -= weights[i]
      if (left < 0) return i
    }
    return last
  }

  /** Shuffles in place (Fisher–Yates) and returns the same object. */
  shuffle<T extends { length: number; [index: number]: unknown }>(values: T): T {
    return atOnce(this.shuffleSteps(values))
  }

  *shuffleSteps<T extends { length: number; [index: number]: unknown }>(values: T): Steps<T> {
    for (let i = values.length - 1; i > 0; i--) {
      if (i % SHUFFLED_PER_STEP === 0) yield
      const j = this.below(i + 1)
      const kept = values[i]
      values[i] = values[j]
      values[j] = kept
    }
    return values
  }
}
