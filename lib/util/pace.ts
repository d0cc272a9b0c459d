// Long loops on the JavaScript thread in short slices, so that timers, sockets and other work get their turn.

import { setImmediate } from 'node:timers/promises'

const SLICE_MS = 4

/** Since when the loop waits, by the last rest of any Pace: work that follows on other work shares its slice. */
let since = 0

/** Call `turn()` between pieces of work of a millisecond or less: every few milliseconds it lets the event loop run. */
export class Pace {
  readonly #signal: AbortSignal | undefined

  constructor(signal?: AbortSignal) {
    this.#signal = signal
  }

  /** True when it is time to await `rest()`: the check alone is cheap enough for inner loops. */
  get isDue(): boolean {
    return performance.now() - since >= SLICE_MS
  }

  async rest(): Promise<void> {
    await setImmediate()
    this.#signal?.throwIfAborted()
    since = performance.now()
  }

  async turn(): Promise<void> {
    if (this.isDue) await this.rest()
  }
}

/** Steps of a millisecond or less, whose result is the return value: run them `atOnce`, or `inTurns`. */
export type Steps<T> = Generator<void, T, void>

/** Holds the event loop until the steps are done. */
export function atOnce<T>(steps: Steps<T>): T {
  for (;;) {
    const { value, done } = steps.next()
    if (done) return value
  }
}

/** Lets the event loop run between steps. */
export async function inTurns<T>(steps: Steps<T>, signal?: AbortSignal): Promise<T> {
  const pace = new Pace(signal)
  for (;;) {
    const { value, done } = steps.next()
    if (done) return value
    if (pace.isDue) await pace.rest()
  }
}

/** Rows between two looks at the clock. */
const ROWS = 1 << 16

/** Calls `body` on one part of the rows after the other; the event loop gets its turn in between. */
export async function inSlices(
  rows: number,
  signal: AbortSignal | undefined,
  body: (from: number, to: number) => void,
  slice = ROWS,
): Promise<void> {
  const pace = new Pace(signal)
  for (let from = 0; from < rows; from += slice) {
    await pace.turn()
    body(from, Math.min(rows, from + slice))
  }
}
