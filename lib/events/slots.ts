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
      places = Int32Array.from(dictionary, value => this.#places.get(value) ?? this.#other)
      this.#known.set(dictionary, places)
    }
    const missing = this.#places.get(null) ?? this.#other
    const out = new Int32Array(codes.length)
    for (let t = 0; t < codes.length; t++) out[t] = codes[t] < 0 ? missing : places[codes[t]]
    return out
  }
}
