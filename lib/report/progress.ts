// A progress line on stderr: redrawn on a terminal, a plain line now and then elsewhere.

import { expectRange } from '../util/errors.js'

/** What a line can show; `done` of `total`, and what training adds. */
export interface Reported {
  readonly phase: string
  readonly done: number
  readonly total: number
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
  /** Seconds between plain lines where there is no terminal. Default 10. */
  readonly every?: number
}

export interface ProgressLine {
  readonly update: (progress: Reported) => void
  /** Ends the line; safe to call twice. */
  readonly done: () => void
}

const REDRAW_MS = 100
const BAR = 24

export function progressLine(options: ProgressLineOptions = {}): ProgressLine {
  const { quiet = false, stream = process.stderr, every = 10 } = options
  expectRange(every >= 0, 'progress', 'every in seconds ≥ 0', every)
  let next = 0
  let isOpen = false
  const update = (progress: Reported) => {
    const now = performance.now()
    if (quiet || now < next) return
    if (stream.isTTY) {
      next = now + REDRAW_MS
      isOpen = true
      stream.write(`\r\x1b[2K${describe(progress, true).slice(0, (stream.columns ?? 100) - 1)}`)
    } else {
      next = now + every * 1000
      stream.write(`${describe(progress, false)}\n`)
    }
  }
  const done = () => {
    if (isOpen) stream.write('\r\x1b[2K')
    isOpen = false
  }
  return { update, done }
}

/** One line about where a long call stands. */
export function describe(progress: Reported, withBar: boolean): string {
  const { phase, done, total, epoch, epochs, loss, eventsPerSecond, secondsLeft } = progress
  const share = Number.isFinite(total) && total > 0 ? Math.min(1, done / total) : Number.NaN
  const parts = [phase.padEnd(6)]
  if (!Number.isNaN(share)) {
    const filled = Math.round(share * BAR)
    if (withBar) parts.push(`${'█'.repeat(filled)}${'░'.repeat(BAR - filled)}`)
    parts.push(`${(100 * share).toFixed(0).padStart(3)} %`)
  } else parts.push(`${done}`)
  if (epoch !== undefined && epochs !== undefined) parts.push(`epoch ${Math.min(epoch + 1, epochs)}/${epochs}`)
  if (loss !== undefined) parts.push(`loss ${loss.toFixed(3)}`)
  if (eventsPerSecond !== undefined) parts.push(`${compact(eventsPerSecond)} events/s`)
  if (secondsLeft !== undefined) parts.push(`${duration(secondsLeft)} left`)
  return parts.join('  ')
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
