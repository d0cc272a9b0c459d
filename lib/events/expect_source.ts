// What takes a source of events checks that it is one: in JavaScript bare rows, or a path, are easily given.

import { expectRange, expectType } from '../util/errors.js'
import type { EventSource, TimeKind } from './source.js'

/** @throws {TypeError} for what was not made by `fromRows` or `readEvents`, nor looks like it */
export function expectSource(where: string, source: unknown): void {
  const isSource = typeof (source as Partial<EventSource> | null | undefined)?.summary === 'function'
  const advice = 'make one by fromRows(schema, rows) or readEvents(files, schema)'
  expectType(isSource, where, 'a source of events', source, advice)
}

const TIMES: Readonly<Record<TimeKind, readonly [kind: string, advice: string]>> = {
  calendar: ['dates', 'give Dates (new Date(milliseconds)) or ISO texts, or name a format in the schema'],
  number: ['plain numbers', 'give numbers in the unit of those'],
}

/** @throws {RangeError} unless times are of the kind that something was fitted on */
export function expectTimes(where: string, times: TimeKind, fitted: TimeKind): void {
  const [kind, advice] = TIMES[fitted]
  expectRange(times === fitted, where, `times that are ${kind}, as those of the fit,`, TIMES[times][0], advice)
}
