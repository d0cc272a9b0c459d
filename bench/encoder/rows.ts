// One line per comparison, and whether it reaches its target.

export interface Row {
  readonly bench: string
  readonly shape: string
  /** What is compared, larger is better for 'events/s', smaller for 'ms'. */
  readonly unit: 'events/s' | 'ms'
  readonly ours: number
  readonly spread?: number
  readonly peer?: string
  readonly theirs?: number
  /** Times better than the peer. */
  readonly ratio?: number
  readonly target?: number
}

/** A comparison that could not be made. */
export interface Skip {
  readonly bench: string
  readonly reason: string
}

export function compared(row: Omit<Row, 'ratio'>): Row {
  const { ours, theirs, unit } = row
  if (theirs === undefined) return row
  return { ...row, ratio: unit === 'ms' ? theirs / ours : ours / theirs }
}

function formatRow({ bench, shape, unit, ours, spread, peer, theirs, ratio, target }: Row): string {
  const number = (value: number) =>
    unit === 'ms' ? `${value.toFixed(2)} ms` : `${(value / 1000).toFixed(1)} k events/s`
  const parts = [bench.padEnd(20), shape.padEnd(24), number(ours).padStart(17)]
  if (spread !== undefined) parts.push(`±${(100 * spread).toFixed(0)}%`.padStart(4))
  if (theirs !== undefined) parts.push(`${peer} ${number(theirs)}`.padEnd(38))
  if (ratio !== undefined) parts.push(`${ratio.toFixed(2)}×`)
  if (target !== undefined && ratio !== undefined) parts.push(`(target ${target}×${ratio >= target ? '' : ', MISSED'})`)
  return parts.join('  ')
}

/** Rows as the lines of a report; what could not be compared says why, and is counted at the end. */
export async function* toLines(rows: AsyncIterable<Row | Skip>): AsyncGenerator<string> {
  let skipped = 0
  for await (const row of rows) {
    if ('reason' in row) skipped++
    yield 'reason' in row ? `${row.bench}  SKIPPED: ${row.reason}` : formatRow(row)
  }
  if (skipped > 0) yield `${skipped} comparisons skipped`
}
