// A random sample of a stream of numbers, of fixed size.

import type { Philox } from '../util/philox.js'

/** Reservoir sampling (Vitter 1985, algorithm R): every value has the same chance to be kept. */
export class Sample {
  /** Values that were offered. */
  count = 0
  readonly #kept: Float64Array

  constructor(size: number) {
    this.#kept = new Float64Array(size)
  }

  add(value: number, random: Philox): void {
    const place = this.count < this.#kept.length ? this.count : random.below(this.count + 1)
    this.count++
    if (place < this.#kept.length) this.#kept[place] = value
  }

  /** What was kept, in no particular order. */
  get values(): Float64Array {
    return this.#kept.slice(0, Math.min(this.count, this.#kept.length))
  }
}
