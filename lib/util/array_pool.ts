// Large arrays that are used again and again.

/** Below it an array is as cheap from the heap. */
const LEAST_BYTES = 16_384

/**
 * Arrays for steps that look alike. Where each step makes its own, clearing their pages and collecting them again costs
 * several times what is copied into them. Contents are undefined.
 */
export class ArrayPool {
  /** What nobody uses, and what was given out since the last `reuse`. */
  #free: ArrayBuffer[] = []
  #given: ArrayBuffer[] = []

  int32(length: number): Int32Array<ArrayBuffer> {
    return new Int32Array(this.#take(4 * length), 0, length)
  }

  float32(length: number): Float32Array<ArrayBuffer> {
    return new Float32Array(this.#take(4 * length), 0, length)
  }

  float64(length: number): Float64Array<ArrayBuffer> {
    return new Float64Array(this.#take(8 * length), 0, length)
  }

  /** Everything given out so far may be given out again: no one looks at it any more. */
  reuse(): void {
    // What the step before found no use for would lie idle.
    this.#free = this.#given
    this.#given = []
  }

  /** The smallest that fits, or a new one with room for a step that is a little longer. */
  #take(bytes: number): ArrayBuffer {
    if (bytes < LEAST_BYTES) return new ArrayBuffer(bytes)
    let best = -1
    for (let i = 0; i < this.#free.length; i++) {
      const { byteLength } = this.#free[i]
      if (byteLength >= bytes && (best < 0 || byteLength < this.#free[best].byteLength)) best = i
    }
    const taken = best < 0 ? new ArrayBuffer(8 * Math.ceil((bytes * 9) / 64)) : this.#free.splice(best, 1)[0]
    this.#given.push(taken)
    return taken
  }
}
