// What takes a source of events checks that it is one: in JavaScript bare rows, or a path, are easily given.

import { expectType } from '../util/errors.js'
import type { EventSource } from './source.js'

/** @throws {TypeError} for what was not made by `fromRows` or `readEvents`, nor looks like it */
export function expectSource(where: string, source: unknown): void {
  const isSource = typeof (source as Partial<EventSource> | null | undefined)?.summary === 'function'
  const advice = 'make one by fromRows(schema, rows) or readEvents(files, schema)'
  expectType(isSource, where, 'a source of events', source, advice)
}
