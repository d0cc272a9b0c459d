// The option --as-of of commands that encode events.

import { parseIso } from '../events/calendar.js'
import { UsageError } from './command.js'

export const AS_OF = {
  kind: 'text',
  value: 'TIME',
  about:
    'the present, from which ages count back: an ISO date, or a number as in the events (default: the newest event of training)',
} as const

/** As of `encode`. @throws {UsageError} for what is neither a date nor a number */
export function asOf(value: string | undefined): number | Date | undefined {
  if (value === undefined) return undefined
  if (/^-?\d+(\.\d+)?$/.test(value)) return Number(value)
  const time = parseIso(value)
  if (Number.isNaN(time)) throw new UsageError(`expected --as-of to be an ISO date or a number but received '${value}'`)
  return new Date(time)
}
