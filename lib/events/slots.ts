// Values of a categorical field as places in a list.

import type { TextColumn } from './source.js'

/** A value of a categorical field; null is the missing value. */
export type Value = string | null

/** Places of events' values in a list: `values.length` for a value that is not in it. */
export class SlotMap {
  readonly #places: ReadonlyMap<Value, number>
  readonly #known = new WeakMap<readonly string[], Int32Array>()
  readonly #other: number

  constructor(values: readonly Value[]) {
    this.#places = new Map(values.map((value, i) => [value, i]))
    this.#other = values.length
  }

  /** One place per event. */
  of({ dictionary, codes }: TextColumn): Int32Array {
    let places = this.#known.get(dictionary)
    if (!places) {
      // Looked up when a value is met: a dictionary may be far larger than what a chunk uses of it.
      places = new Int32Array(dictionary.length).fill(-1)
      this.#known.set(dictionary, places)
    }
    const missing = this.#places.get(null) ?? this.#other
    const out = new Int32Array(codes.length)
    for (let t = 0; t < codes.length; t++) {
      const code = codes[t]
      if (code >= 0 && places[code] < 0) places[code] = this.#places.get(dictionary[code]) ?? this.#other
      out[t] = code < 0 ? missing : places[code]
    }
    return out
  }
}
