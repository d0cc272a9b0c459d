// Vectors and outputs of many sequences, a few batches in flight at a time.

import { toDevice } from '../../encoder/batch.js'
import { ENCODE_BATCH_EVENTS, type Encoder } from '../../encoder/encoder.js'
import { type Piece, sliceSteps, viewBatch } from '../../events/batch.js'
import type { EncodedEvents } from '../../events/encode.js'
import { scope, type Tensor } from '../../runtime/tensor.js'
import { expectRange, expectType } from '../../util/errors.js'
import { inTurns, Pace } from '../../util/pace.js'
import type { Head } from './head.js'

/** Batches that wait to be read. */
const IN_FLIGHT = 4

export interface RowsOptions {
  /** Sequences by number. Default: all, in their order. */
  readonly rows?: Int32Array
  /** Newest events of a sequence that count. Default: all. */
  readonly window?: number
  readonly batchEvents?: number
  readonly signal?: AbortSignal
  readonly onProgress?: (done: number, total: number) => void
}

/**
 * What each sequence becomes, row by row: its vector, or with a head its outputs. A row depends on its own sequence
 * alone, bit for bit.
 */
export async function encodeRows(
  encoder: Encoder,
  head: Head | null,
  encoded: EncodedEvents,
  options: RowsOptions = {},
): Promise<Float32Array> {
  const where = 'finetune'
  const { device } = encoder
  const { rows, window = Number.POSITIVE_INFINITY, batchEvents = ENCODE_BATCH_EVENTS[device.kind], signal } = options
  expectRange(Number.isInteger(batchEvents) && batchEvents > 0, where, 'batchEvents ≥ 1', batchEvents)
  expectType(encoded.inputs.length === encoder.encoding.inputs.length, where, 'events of this encoding', 'others')
  const { offsets } = encoded
  const sequences = offsets.length - 1
  const count = rows?.length ?? sequences
  const numberOf = (i: number) => (rows ? rows[i] : i)
  for (let i = 0; rows && i < count; i++) {
    if (!(rows[i] >= 0 && rows[i] < sequences)) expectRange(false, where, `rows in [0, ${sequences})`, rows[i])
  }
  const width = head ? head.outputs : encoder.width
  const result = new Float32Array(count * width)
  const waiting: Promise<void>[] = []
  const pace = new Pace(signal)
  const onAbort = () => device.cancel()
  signal?.addEventListener('abort', onAbort, { once: true })
  try {
    for (let begin = 0; begin < count; ) {
      signal?.throwIfAborted()
      await pace.turn()
      const pieces: Piece[] = []
      let end = begin
      let isWhole = rows === undefined
      for (let events = 0; end < count; end++) {
        const sequence = numberOf(end)
        const length = offsets[sequence + 1] - offsets[sequence]
        const kept = Math.min(length, window)
        if (end > begin && events + kept > batchEvents) break
        events += kept
        isWhole &&= kept === length
        pieces.push({ sequence, begin: length - kept, end: length })
      }
      const packed = isWhole ? viewBatch(encoded, begin, end) : await inTurns(sliceSteps(encoded, pieces), signal)
      const out: Tensor<'float32'> = scope(() => {
        const batch = toDevice(device, packed)
        const vectors = encoder.vectors(batch)
        return head ? head.apply(vectors) : vectors
      })
      const at = begin * width
      waiting.push(
        out.read().then(values => {
          result.set(values, at)
        }),
      )
      out.dispose()
      if (waiting.length >= IN_FLIGHT) await waiting.shift()
      begin = end
      options.onProgress?.(begin, count)
    }
    await Promise.all(waiting)
  } catch (error) {
    await Promise.allSettled(waiting)
    signal?.throwIfAborted()
    throw error
  } finally {
    signal?.removeEventListener('abort', onAbort)
  }
  return result
}
