// Long loops on the JavaScript thread in short slices, so that timers, sockets and other work get their turn.

import { setImmediate } from 'node:timers/promises'

const SLICE_MS = 4

/** Call `turn()` between pieces of work of a millisecond or less: every few milliseconds it lets the event loop run. */
export class Pace {
  readonly #signal: AbortSignal | undefined
  #since = performance.now()

  constructor(signal?: AbortSignal) {
    this.#signal = signal
  }

  /** True when it is time to await `rest()`: the check alone is cheap enough for inner loops. */
  get isDue(): boolean {
    return performance.now() - this.#since >= SLICE_MS
  }

  async rest(): Promise<void> {
    await setImmediate()
    this.#signal?.throwIfAborted()
    this.#since = performance.now()
  }

  async turn(): Promise<void> {
    if (this.isDue) await this.rest()
  }
}
