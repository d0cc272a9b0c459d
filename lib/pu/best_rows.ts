// The best of many rows, in memory for these alone.

/** A heap whose root is the worst of the rows that are kept. */
export class BestRows {
  readonly #rows: Int32Array
  readonly #compare: (a: number, b: number) => number
  #filled = 0

  /** @param compare  below 0 where the first row is better; never 0 for two rows */
  constructor(most: number, compare: (a: number, b: number) => number) {
    this.#rows = new Int32Array(most)
    this.#compare = compare
  }

  /** In the order of the heap. */
  get rows(): Int32Array {
    return this.#rows.subarray(0, this.#filled)
  }

  add(row: number): void {
    if (this.#filled < this.#rows.length) this.#rise(this.#filled++, row)
    else if (this.#compare(row, this.#rows[0]) < 0) this.#sink(row)
  }

  /** From a free place at the end up, past rows that are better. */
  #rise(place: number, row: number): void {
    const rows = this.#rows
    let at = place
    while (at > 0) {
      const parent = (at - 1) >> 1
      if (this.#compare(rows[parent], row) > 0) break
      rows[at] = rows[parent]
      at = parent
    }
    rows[at] = row
  }

  /** In place of the root, then down, past rows that are worse. */
  #sink(row: number): void {
    const rows = this.#rows
    let at = 0
    for (let child = 1; child < rows.length; child = 2 * at + 1) {
      if (child + 1 < rows.length && this.#compare(rows[child + 1], rows[child]) > 0) child++
      if (this.#compare(row, rows[child]) > 0) break
      rows[at] = rows[child]
      at = child
    }
    rows[at] = row
  }
}
