// Work that is done once for all who ask for its result. Each may leave; it ends when the last one has left.

interface Call<P> {
  readonly signal?: AbortSignal
  readonly onProgress?: (progress: P) => void
}

interface Waiting<P> {
  readonly onProgress: ((progress: P) => void) | undefined
  leave(reason: unknown): void
  thrown?: { readonly error: unknown }
}

interface Run<T, P> {
  readonly controller: AbortController
  readonly waiting: Set<Waiting<P>>
  readonly result: Promise<T>
  state: 'working' | 'left' | 'done'
}

export class SharedWork<T, P> {
  readonly #work: (call: Required<Call<P>>) => Promise<T>
  #run: Run<T, P> | null = null

  /** @param work  heeds the signal; what it reports reaches all who wait */
  constructor(work: (call: Required<Call<P>>) => Promise<T>) {
    this.#work = work
  }

  /** The result. The first call begins the work, and so does the next one after it failed or was left by all. */
  async join({ signal, onProgress }: Call<P>): Promise<T> {
    // What all have left is about to end.
    while (this.#run?.state === 'left') await this.#run.result.catch(() => {})
    signal?.throwIfAborted()
    this.#run ??= this.#begin()
    const run = this.#run
    const own: Waiting<P> = { onProgress, leave() {} }
    run.waiting.add(own)
    const left = new Promise<never>((_, reject) => {
      own.leave = reason => {
        run.waiting.delete(own)
        if (run.waiting.size > 0) reject(reason)
        // The last one waits for the end: then nothing is left behind.
        else if (run.state === 'working') {
          run.state = 'left'
          run.controller.abort(reason)
        }
      }
    })
    const abort = () => own.leave(signal!.reason)
    signal?.addEventListener('abort', abort, { once: true })
    try {
      const result = await Promise.race([run.result, left])
      if (own.thrown) throw own.thrown.error
      return result
    } finally {
      signal?.removeEventListener('abort', abort)
      run.waiting.delete(own)
    }
  }

  /** Forgets the result; gives it once it is there, or null where there is none. */
  async drop(): Promise<T | null> {
    const run = this.#run
    this.#run = null
    return run ? run.result.catch(() => null) : null
  }

  #begin(): Run<T, P> {
    const controller = new AbortController()
    const waiting = new Set<Waiting<P>>()
    const onProgress = (progress: P) => {
      for (const one of waiting) tell(one, progress)
    }
    const result = this.#work({ signal: controller.signal, onProgress }).then(
      value => {
        run.state = 'done'
        return value
      },
      error => {
        if (this.#run === run) this.#run = null
        throw error
      },
    )
    const run: Run<T, P> = { controller, waiting, result, state: 'working' }
    return run
  }
}

/** One whose callback throws leaves with that error, and the others wait on. */
function tell<P>(one: Waiting<P>, progress: P): void {
  try {
    one.onProgress?.(progress)
  } catch (error) {
    one.thrown = { error }
    one.leave(error)
  }
}
