// The best rows of each of many queries so far, in typed arrays.

/** Row-major: `top` places per query, best first; row −1 where there is none yet. Equal values keep the earlier row. */
export class TopRows {
  readonly top: number
  readonly rows: Int32Array
  readonly values: Float64Array
  readonly #filled: Int32Array

  constructor(queries: number, top: number) {
    this.top = top
    this.rows = new Int32Array(queries * top).fill(-1)
    this.values = new Float64Array(queries * top).fill(Number.NEGATIVE_INFINITY)
    this.#filled = new Int32Array(queries)
  }

  /** What a value must exceed to be kept: −Infinity while there is room. */
  worst(query: number): number {
    return this.values[query * this.top + this.top - 1]
  }

  /** Rows come in ascending order. */
  add(query: number, row: number, value: number): void {
    const { top, rows, values } = this
    if (!(value > this.worst(query))) return
    const begin = query * top
    const filled = this.#filled[query]
    let at = begin + Math.min(filled, top - 1)
    for (; at > begin && values[at - 1] < value; at--) {
      values[at] = values[at - 1]
      rows[at] = rows[at - 1]
    }
    values[at] = value
    rows[at] = row
    if (filled < top) this.#filled[query] = filled + 1
  }
}
