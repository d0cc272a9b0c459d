// The present of an encoding: the time from which ages count back.

import { expectRange } from '../util/errors.js'
import type { EventEncoding } from './inputs.js'

/** 1973 … 2286 in milliseconds. Seconds, microseconds, 20240701 and 20240701120000 lie outside. */
const ERA = [1e11, 1e13] as const

/**
 * An encoding with another present; without one, the encoding itself.
 * @throws {RangeError} for what is no time, or far from the era of the events that the encoding was fitted on
 */
export function encodingAsOf(where: string, encoding: EventEncoding, asOf: number | Date | undefined): EventEncoding {
  if (asOf === undefined) return encoding
  const newest = Number(asOf)
  expectRange(Number.isFinite(newest), where, 'asOf to be a time', asOf)
  const isFar = encoding.time === 'calendar' && isOfEra(encoding.newest) && !isOfEra(newest)
  const expected = `asOf in milliseconds since 1970, as ${encoding.newest} is,`
  expectRange(
    !isFar,
    where,
    expected,
    newest,
    'did you give seconds? a day is 2024-07-01 in the command, a Date in code',
  )
  return newest === encoding.newest ? encoding : { ...encoding, newest }
}

function isOfEra(time: number): boolean {
  return time >= ERA[0] && time < ERA[1]
}
