// The present of an encoding, or of a plan of aggregates: the time from which ages count back.

import { expectRange, sentence } from '../util/errors.js'
import type { EventEncoding } from './inputs.js'

/** 1973 … 2286 in milliseconds. Seconds, microseconds, 20240701 and 20240701120000 lie outside. */
const ERA = [1e11, 1e13] as const

/**
 * What was fitted on events, with another present; without one, as it is.
 * @throws {RangeError} for what is no time, or far from the era of the events that it was fitted on
 * @throws {TypeError} for a Date where the events' times are plain numbers other than milliseconds since 1970
 */
export function withPresent<T extends Pick<EventEncoding, 'time' | 'newest'>>(
  where: string,
  fitted: T,
  asOf: number | Date | undefined,
): T {
  if (asOf === undefined) return fitted
  const newest = Number(asOf)
  expectRange(Number.isFinite(newest), where, 'asOf to be a time', asOf)
  // Plain numbers of that size are milliseconds, as a Date is.
  if (asOf instanceof Date && fitted.time === 'number' && !isOfEra(fitted.newest)) {
    const ofNumbers = 'asOf as a number, as the times of the events are,'
    throw new TypeError(sentence(where, ofNumbers, asOf.toISOString(), 'say the present in their unit'))
  }
  const isFar = fitted.time === 'calendar' && isOfEra(fitted.newest) && !isOfEra(newest)
  const expected = `asOf in milliseconds since 1970, as ${fitted.newest} is,`
  expectRange(
    !isFar,
    where,
    expected,
    newest,
    'did you give seconds? a day is 2024-07-01 in the command, a Date in code',
  )
  return newest === fitted.newest ? fitted : { ...fitted, newest }
}

function isOfEra(time: number): boolean {
  return time >= ERA[0] && time < ERA[1]
}
