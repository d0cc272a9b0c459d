// A progress line on stderr: redrawn on a terminal, a plain line now and then elsewhere.

import { expectRange } from '../util/errors.js'

/** What a line can show; `done` of `total`, and what training adds. */
export interface Reported {
  readonly phase: string
  readonly done: number
  readonly total: number
  readonly fold?: number
  readonly folds?: number
  readonly epoch?: number
  readonly epochs?: number
  readonly loss?: number
  readonly eventsPerSecond?: number
  readonly secondsLeft?: number
}

export interface ProgressLineOptions {
  /** Show nothing. */
  readonly quiet?: boolean
  /** Where to write. Default: stderr. */
  readonly stream?: { readonly isTTY?: boolean; readonly columns?: number; write(text: string): unknown }
  /** Seconds before the first plain line, and between two, where there is no terminal. Default 10. */
  readonly every?: number
}

export interface ProgressLine {
  readonly update: (progress: Reported) => void
  /** Ends the line; safe to call twice. */
  readonly done: () => void
}

const REDRAW_MS = 100
const BAR = 24
/** A bar of fewer cells says nothing that the percentage does not. */
const SHORTEST_BAR = 5
const GAP = '  '
/** Of terminals that do not say. */
const COLUMNS = 80

export function progressLine(options: ProgressLineOptions = {}): ProgressLine {
  const { quiet = false, stream = process.stderr, every = 10 } = options
  expectRange(every >= 0, 'progress', 'every in seconds ≥ 0', every)
  // A call that is over soon leaves nothing behind where lines stay.
  let next = stream.isTTY ? 0 : performance.now() + every * 1000
  let isOpen = false
  const update = (progress: Reported) => {
    const now = performance.now()
    if (quiet || now < next) return
    if (stream.isTTY) {
      next = now + REDRAW_MS
      isOpen = true
      stream.write(`\r\x1b[2K${describe(progress, (stream.columns || COLUMNS) - 1)}`)
    } else {
      next = now + every * 1000
      stream.write(`${describe(progress)}\n`)
    }
  }
  const done = () => {
    if (isOpen) stream.write('\r\x1b[2K')
    isOpen = false
  }
  return { update, done }
}

/** One line about where a long call stands; of a width, with a bar in what room is left, and without loss, epoch or fold in too little. */
export function describe(progress: Reported, width?: number): string {
  const { phase, done, total, fold, folds, epoch, epochs, loss, eventsPerSecond, secondsLeft } = progress
  const share = Number.isFinite(total) && total > 0 ? Math.min(1, done / total) : Number.NaN
  const place = Number.isNaN(share) ? `${done}` : `${(100 * share).toFixed(0).padStart(3)} %`
  const extras: string[] = []
  if (fold !== undefined && folds !== undefined) extras.push(`fold ${fold}/${folds}`)
  if (epoch !== undefined && epochs !== undefined) extras.push(`epoch ${Math.min(epoch + 1, epochs)}/${epochs}`)
  if (loss !== undefined) extras.push(`loss ${loss.toFixed(3)}`)
  const speed: string[] = []
  if (eventsPerSecond !== undefined) speed.push(`${compact(eventsPerSecond)} events/s`)
  if (secondsLeft !== undefined) speed.push(`${duration(secondsLeft)} left`)
  const joined = (bar: readonly string[]) => [phase.padEnd(6), ...bar, place, ...extras, ...speed].join(GAP)
  if (width === undefined) return joined([])
  while (extras.length > 0 && joined([]).length > width) extras.pop()
  const cells = Math.min(BAR, width - joined([]).length - GAP.length)
  if (Number.isNaN(share) || cells < SHORTEST_BAR) return joined([]).slice(0, width)
  const filled = Math.round(share * cells)
  return joined([`${'█'.repeat(filled)}${'░'.repeat(cells - filled)}`])
}

function compact(value: number): string {
  return value >= 1e6
    ? `${(value / 1e6).toFixed(1)} M`
    : value >= 1e4
      ? `${(value / 1e3).toFixed(0)} k`
      : value.toFixed(0)
}

function duration(seconds: number): string {
  const whole = Math.max(0, Math.round(seconds))
  if (whole < 60) return `${whole} s`
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`
  return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`
}
