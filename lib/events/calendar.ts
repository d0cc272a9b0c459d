// Calendar arithmetic in UTC: parts of a time, and ISO texts.

import type { InputPart } from './inputs.js'

const HOUR = 3_600_000
const DAY = 24 * HOUR

/**
 * An ISO date or date-time, with ' UTC' as a zone too, since BigQuery writes it. DuckDB reads files by the same text: only
 * what RE2 understands as well.
 */
export const ISO_TIME =
  /^(\d{4,5})-(\d{1,2})-(\d{1,2})(?:[T ]([01]?\d|2[0-3]):([0-5]\d)(?::([0-5]\d)(?:\.(\d+))?)?(Z| UTC|[+-](?:[01]\d|2[0-3])(?::?[0-5]\d)?)?)?$/

/** Hour 0 … 23, weekday 0 (Monday) … 6, or day of the month 0 … 30, in UTC. */
export function calendarPart(time: number, part: InputPart): number {
  const day = Math.floor(time / DAY)
  if (part === 'hour') return Math.floor((time - day * DAY) / HOUR)
  // 1970-01-01 was a Thursday.
  if (part === 'weekday') return (((day + 3) % 7) + 7) % 7
  return dayOfMonth(day)
}

/** Days since 1970 to the day of the month, 0-based (Hinnant's civil_from_days: years start in March). */
function dayOfMonth(day: number): number {
  const shifted = day + 719_468
  const dayOfEra = shifted - Math.floor(shifted / 146_097) * 146_097
  const yearOfEra = Math.floor(
    (dayOfEra - Math.floor(dayOfEra / 1460) + Math.floor(dayOfEra / 36_524) - Math.floor(dayOfEra / 146_096)) / 365,
  )
  const dayOfYear = dayOfEra - (365 * yearOfEra + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100))
  const month = Math.floor((5 * dayOfYear + 2) / 153)
  return dayOfYear - Math.floor((153 * month + 2) / 5)
}

/** Milliseconds since 1970 of an ISO date or date-time, to the microsecond; UTC without a zone. NaN if it is none. */
export function parseIso(text: string): number {
  const match = ISO_TIME.exec(text)
  if (!match) return Number.NaN
  const [year, month, day, hour, minute, second] = match.slice(1, 7).map(part => Number(part ?? 0))
  const date = new Date(0)
  date.setUTCFullYear(year, month - 1, day)
  if (date.getUTCMonth() !== month - 1 || date.getUTCDate() !== day) return Number.NaN
  const zone = match[8]
  let shift = 0
  if (zone !== undefined && zone !== 'Z' && zone !== ' UTC') {
    const minutes = Number(zone.slice(1, 3)) * 60 + (zone.length > 3 ? Number(zone.slice(-2)) : 0)
    shift = zone[0] === '-' ? -minutes : minutes
  }
  const micros = Number((match[7] ?? '').slice(0, 6).padEnd(6, '0'))
  return date.getTime() + (hour * 60 + minute - shift) * 60_000 + second * 1e3 + micros / 1e3
}
