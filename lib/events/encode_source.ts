// Encoding a whole source: as a stream of chunks, or all of it in memory for training.

import { expectOptions, expectRange } from '../util/errors.js'
import { atOnce, inTurns, type Steps } from '../util/pace.js'
import { withPresent } from './as_of.js'
import { type EncodedEvents, encodeSteps, type InputColumn } from './encode.js'
import { expectSource } from './expect_source.js'
import type { EventEncoding } from './inputs.js'
import type { Fields } from './schema.js'
import type { ChunkOptions, EventSource } from './source.js'

/** How the events of a source are encoded. */
export interface EncodeOptions extends ChunkOptions {
  /** Newest events kept of an entity. Default: the encoding's. */
  readonly lastEvents?: number | undefined
  /** The present, from which ages count back, as of `encode` and `score`. Default: the newest event of the encoding's fit. */
  readonly asOf?: number | Date | undefined
}

const WHERE = 'encodeSource'

/**
 * The encoded chunks of a source, one after the other; the event loop gets its turn inside long chunks too.
 * @throws {RangeError} for an `asOf` that is no time, or seconds where times are milliseconds
 * @throws {TypeError} for an `asOf` that is a Date where times are plain numbers other than milliseconds
 */
export async function* encodedChunks<F extends Fields>(
  source: EventSource<F>,
  encoding: EventEncoding,
  options: EncodeOptions = {},
): AsyncGenerator<EncodedEvents, void, void> {
  expectSource(WHERE, source)
  expectOptions(WHERE, options, ['lastEvents', 'asOf', 'eventsPerChunk', 'signal', 'onProgress'])
  const { lastEvents = encoding.lastEvents, asOf, ...chunkOptions } = options
  expectRange(Number.isInteger(lastEvents) && lastEvents > 0, WHERE, 'lastEvents to be a whole number ≥ 1', lastEvents)
  const present = withPresent(WHERE, encoding, asOf)
  for await (const chunk of source.chunks(chunkOptions)) {
    yield await inTurns(encodeSteps(chunk, present, lastEvents), options.signal)
  }
}

/**
 * All events of a source in memory: per event 8 bytes for the time, 4 per input and word, 4 more per numeric input.
 * Throws what `encodedChunks` throws.
 */
export async function encodeSource<F extends Fields>(
  source: EventSource<F>,
  encoding: EventEncoding,
  options: EncodeOptions = {},
): Promise<EncodedEvents> {
  const parts: EncodedEvents[] = []
  for await (const part of encodedChunks(source, encoding, options)) parts.push(part)
  return inTurns(concatSteps(parts), options.signal)
}

/** One after the other. All parts must come from the same encoding. */
export function concatEncoded(parts: readonly EncodedEvents[]): EncodedEvents {
  return atOnce(concatSteps([...parts]))
}

/** The same in short steps; empties `parts` on its way. */
export function* concatSteps(parts: EncodedEvents[]): Steps<EncodedEvents> {
  expectRange(parts.length > 0, 'concatEncoded', 'at least one part', 0)
  const names = parts[0].inputs.map(input => input.name).join()
  const isAlike = parts.every(part => part.inputs.map(input => input.name).join() === names)
  expectRange(isAlike, 'concatEncoded', 'parts of one encoding', 'different inputs')
  const events = parts.reduce((sum, part) => sum + part.time.length, 0)
  const ids: string[] = []
  const ends: number[] = [0]
  const time = new Float64Array(events)
  const inputs = parts[0].inputs.map((input, i): InputColumn => {
    const { name, field, kind } = input
    const count = kind === 'text' ? parts.reduce((sum, part) => sum + part.inputs[i].codes.length, 0) : events
    const codes = new Int32Array(count)
    if (input.offsets) return { name, field, kind, codes, offsets: new Int32Array(events + 1) }
    return input.fraction
      ? { name, field, kind, codes, fraction: new Float32Array(events) }
      : { name, field, kind, codes }
  })
  const codesAt = inputs.map(() => 0)
  parts.reverse()
  for (let at = 0; parts.length > 0; ) {
    const part = parts.pop()!
    for (const id of part.ids) ids.push(id)
    for (let i = 1; i < part.offsets.length; i++) ends.push(at + part.offsets[i])
    time.set(part.time, at)
    for (const [i, { codes, fraction, offsets }] of inputs.entries()) {
      yield
      const from = part.inputs[i]
      codes.set(from.codes, codesAt[i])
      fraction?.set(from.fraction!, at)
      if (offsets) for (let t = 1; t < from.offsets!.length; t++) offsets[at + t] = codesAt[i] + from.offsets![t]
      codesAt[i] += from.codes.length
    }
    at += part.time.length
  }
  return { ids, offsets: Int32Array.from(ends), time, inputs }
}
