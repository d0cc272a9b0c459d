// Vectors and outputs of many sequences, a few batches in flight at a time.

import { type BatchRows, readBatches, toDevice } from '../../encoder/batch.js'
import { ENCODE_BATCH_EVENTS, type Encoder } from '../../encoder/encoder.js'
import { type Piece, sliceSteps, viewBatch } from '../../events/batch.js'
import type { EncodedEvents } from '../../events/encode.js'
import { scope } from '../../runtime/tensor.js'
import { expectRange, expectType } from '../../util/errors.js'
import { inTurns, Pace } from '../../util/pace.js'
import type { Head } from './head.js'

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
  const { rows, window = Number.POSITIVE_INFINITY, signal } = options
  const { batchEvents = ENCODE_BATCH_EVENTS[encoder.device.kind] } = options
  expectRange(Number.isInteger(batchEvents) && batchEvents > 0, where, 'batchEvents ≥ 1', batchEvents)
  expectType(encoded.inputs.length === encoder.encoding.inputs.length, where, 'events of this encoding', 'others')
  const sequences = encoded.offsets.length - 1
  const count = rows?.length ?? sequences
  for (let i = 0; rows && i < count; i++) {
    if (!(rows[i] >= 0 && rows[i] < sequences)) expectRange(false, where, `rows in [0, ${sequences})`, rows[i])
  }
  const result = new Float32Array(count * (head ? head.outputs : encoder.width))
  await readBatches(submit(encoder, head, encoded, { ...options, window, batchEvents }), result, signal)
  return result
}

async function* submit(
  encoder: Encoder,
  head: Head | null,
  encoded: EncodedEvents,
  { rows, window, batchEvents, signal, onProgress }: RowsOptions & { window: number; batchEvents: number },
): AsyncGenerator<BatchRows> {
  const { offsets } = encoded
  const count = rows?.length ?? offsets.length - 1
  const pace = new Pace(signal)
  for (let begin = 0, at = 0; begin < count; ) {
    signal?.throwIfAborted()
    await pace.turn()
    const pieces: Piece[] = []
    let end = begin
    let isWhole = rows === undefined
    for (let events = 0; end < count; end++) {
      const sequence = rows ? rows[end] : end
      const length = offsets[sequence + 1] - offsets[sequence]
      const kept = Math.min(length, window)
      if (end > begin && events + kept > batchEvents) break
      events += kept
      isWhole &&= kept === length
      pieces.push({ sequence, begin: length - kept, end: length })
    }
    const packed = isWhole ? viewBatch(encoded, begin, end) : await inTurns(sliceSteps(encoded, pieces), signal)
    const out = scope(() => {
      const vectors = encoder.vectors(toDevice(encoder.device, packed))
      return head ? head.apply(vectors) : vectors
    })
    const { size } = out
    yield { rows: out, at }
    at += size
    begin = end
    onProgress?.(begin, count)
  }
}
