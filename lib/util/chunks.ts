// Long work over rows in chunks: copying one holds the JavaScript thread for about a millisecond.

import { unlessAborted } from './abort.js'

// A chunk's copy and what becomes of it stay in L2.
const CHUNK_VALUES = 1 << 19

/** How rows are cut into chunks. */
export interface ChunkOptions {
  readonly signal?: AbortSignal
  /** Chunks have a multiple of so many rows. Default 64. */
  readonly multiple?: number
}

/** Calls `put` for runs of rows in order; while one is worked on, the next one is copied. */
export async function inChunks(
  rows: number,
  features: number,
  put: (row: number, count: number) => Promise<void>,
  { signal, multiple = 64 }: ChunkOptions = {},
): Promise<void> {
  const chunk = multiple * Math.max(1, Math.floor(CHUNK_VALUES / features / multiple))
  let before = Promise.resolve()
  for (let row = 0; row < rows; row += chunk) {
    signal?.throwIfAborted()
    const next = put(row, Math.min(chunk, rows - row))
    next.catch(() => {})
    await unlessAborted(before, signal)
    before = next
  }
  await unlessAborted(before, signal)
}
