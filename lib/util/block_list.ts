// A list in blocks: one large array grows in jumps that hold the JavaScript thread for tens of milliseconds.

const BLOCK = 4096

export class BlockList<T> {
  readonly #blocks: T[][] = []
  #length = 0

  get length(): number {
    return this.#length
  }

  push(value: T): void {
    if (this.#length % BLOCK === 0) this.#blocks.push([])
    this.#blocks[this.#blocks.length - 1].push(value)
    this.#length++
  }

  /** Of a place that there is. */
  get(place: number): T {
    return this.#blocks[Math.floor(place / BLOCK)][place % BLOCK]
  }

  /** In a place that there is. */
  set(place: number, value: T): void {
    this.#blocks[Math.floor(place / BLOCK)][place % BLOCK] = value
  }
}
