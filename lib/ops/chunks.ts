// Long work over rows in chunks: copying one holds the JavaScript thread for about a millisecond.

const CHUNK_VALUES = 1 << 19

/** Calls `put` for runs of rows in order; while one is worked on, the next one is copied. */
export async function inChunks(
  rows: number,
  features: number,
  put: (row: number, count: number) => Promise<void>,
  signal?: AbortSignal,
): Promise<void> {
  const chunk = Math.max(64, Math.floor(CHUNK_VALUES / features / 64) * 64)
  let before = Promise.resolve()
  for (let row = 0; row < rows; row += chunk) {
    signal?.throwIfAborted()
    const next = put(row, Math.min(chunk, rows - row))
    next.catch(() => {})
    await before
    before = next
  }
  await before
}
