// Times in a strptime format, read as DuckDB reads them in files: greedily, one part after the other.

import { parseIso } from './calendar.js'

const MONTHS = 'January February March April May June July August September October November December'.split(' ')
const DAYS = 'Monday Tuesday Wednesday Thursday Friday Saturday Sunday'.split(' ')
const TWO_DIGITS = /\d{1,2}/y

/** What a part looks like. %-d is %d: zeros in front need not be there. */
const PARTS: Readonly<Record<string, RegExp>> = {
  Y: /\d{1,4}/y,
  y: TWO_DIGITS,
  m: TWO_DIGITS,
  b: oneOf(MONTHS.map(month => month.slice(0, 3))),
  B: oneOf(MONTHS),
  d: TWO_DIGITS,
  a: oneOf(DAYS.map(day => day.slice(0, 3))),
  A: oneOf(DAYS),
  H: TWO_DIGITS,
  I: TWO_DIGITS,
  p: /[ap]m/iy,
  M: TWO_DIGITS,
  S: TWO_DIGITS,
  f: /\d{1,6}/y,
  z: /[+-]\d{2}(?::?\d{2})?/y,
}

/** The text of each part that a format has. */
type Parts = Readonly<Partial<Record<string, string>>>

/** Milliseconds since 1970 of a text; NaN for a time that there is not, null for a text of another form. */
export type TimeReader = (text: string) => number | null

/** The reader of a format, or null where the format has other parts than these; DuckDB knows more of them. */
export function timeReader(format: string): TimeReader | null {
  const steps: [part: string, pattern: RegExp][] = []
  for (const token of format.match(/%-?.|\s+|./gs) ?? []) {
    const part = /^%-?([^%])$/.exec(token)?.[1]
    if (part !== undefined && !(part in PARTS)) return null
    if (part !== undefined) steps.push([part, PARTS[part]])
    else steps.push(['', literal(token)])
  }
  return text => {
    const found: Record<string, string> = {}
    const given = text.trimStart()
    let at = 0
    for (const [part, pattern] of steps) {
      pattern.lastIndex = at
      const match = pattern.exec(given)
      if (!match) return null
      found[part] = match[0]
      at = pattern.lastIndex
    }
    return given.slice(at).trim() === '' ? timeOf(found) : null
  }
}

function literal(token: string): RegExp {
  if (token.trim() === '') return /\s+/y
  return new RegExp(token.replace('%%', '%').replace(/[\^$.*+?()[\]{}|\\/]/g, '\\$&'), 'y')
}

function oneOf(names: readonly string[]): RegExp {
  return new RegExp(names.join('|'), 'iy')
}

/** What is not given is the beginning of 1900, as in DuckDB. */
function timeOf(found: Parts): number {
  const { d = '1', M = '0', S = '0', f = '0', z = '' } = found
  const clock = `${hourOf(found)}:${M.padStart(2, '0')}:${S.padStart(2, '0')}.${f}`
  return parseIso(`${yearOf(found)}-${monthOf(found)}-${d} ${clock}${z}`)
}

function yearOf({ Y, y }: Parts): string {
  if (Y !== undefined) return Y.padStart(4, '0')
  return y === undefined ? '1900' : String(Number(y) + (Number(y) < 69 ? 2000 : 1900))
}

function monthOf({ m = '1', b, B = b }: Parts): string {
  if (B === undefined) return m
  return String(1 + MONTHS.findIndex(month => month.toLowerCase().startsWith(B.toLowerCase())))
}

function hourOf({ I, H = I, p }: Parts): number {
  const hour = Number(H ?? 0)
  if (I !== undefined && hour === 0) return Number.NaN
  if (hour > 12 && (I !== undefined || p !== undefined)) return Number.NaN
  return p === undefined ? hour : (hour % 12) + (p.toLowerCase() === 'pm' ? 12 : 0)
}
