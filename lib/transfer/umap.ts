// UMAP by the optional package umap-js, in a thread of its own: it neither gives turns to the event loop nor can be stopped.

import { Worker } from 'node:worker_threads'
import type { LongCall } from '../events/source.js'
import { SeqriskError } from '../util/errors.js'

/** Neighbours as `nearest` finds them, `top` per row. */
export interface UmapNeighbours {
  readonly rows: Int32Array
  readonly scores: Float32Array
  readonly top: number
  readonly isCosine: boolean
}

export interface UmapOptions extends LongCall {
  readonly neighbours: number
  readonly minDist: number
  /** 0: by the number of rows. */
  readonly epochs: number
  readonly seed: number
}

export interface Places {
  readonly x: Float64Array
  readonly y: Float64Array
}

type Message = { readonly done: number; readonly total: number } | Places

/** Moves points from `start` to where their neighbours are. */
export async function runUmap(neighbours: UmapNeighbours, start: Places, options: UmapOptions): Promise<Places> {
  const { signal, onProgress, ...numbers } = options
  signal?.throwIfAborted()
  const worker = new Worker(new URL('./umap_worker.mjs', import.meta.url), {
    // Flags of the process are for its own program: --input-type would be refused for a file.
    execArgv: [],
    workerData: { ...neighbours, start, ...numbers },
  })
  let stop = () => {}
  try {
    return await new Promise<Places>((resolve, reject) => {
      stop = () => reject(signal!.reason)
      signal?.addEventListener('abort', stop, { once: true })
      worker.on('message', (message: Message) => {
        if ('x' in message) return resolve(message)
        try {
          onProgress?.({ phase: 'umap', done: message.done, total: message.total })
        } catch (cause) {
          reject(cause)
        }
      })
      worker.on('error', cause => reject(errorOf(cause)))
      worker.on('exit', code => reject(errorOf(new Error(`the thread ended with ${code}`))))
    })
  } finally {
    signal?.removeEventListener('abort', stop)
    await worker.terminate()
  }
}

function errorOf(cause: unknown): SeqriskError {
  const message = cause instanceof Error ? cause.message : String(cause)
  if (/umap-js/.test(message) && /cannot find/i.test(message)) {
    const text = "[mapVectors] expected the optional package 'umap-js' but received none; run npm install umap-js"
    return new SeqriskError('PACKAGE_MISSING', text, { cause })
  }
  return new SeqriskError('MAP_FAILED', `[mapVectors] expected a map but received: ${message.split('\n')[0]}`, {
    cause,
  })
}
