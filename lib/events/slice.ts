// Batches of training: pieces of sequences, copied into arrays that serve one batch after the other.

import type { ArrayPool } from '../util/array_pool.js'
import { expectRange } from '../util/errors.js'
import type { Steps } from '../util/pace.js'
import type { PackedBatch, Piece } from './batch.js'
import { type EncodedEvents, gatherSteps } from './encode.js'

/** As `sliceSteps`. The large arrays of the batch are the pool's, to be written to, and good until its `reuse`. */
export function* slicePooled(encoded: EncodedEvents, pieces: readonly Piece[], pool: ArrayPool): Steps<PackedBatch> {
  const { offsets } = encoded
  const ranges = pieces.map(({ sequence, begin, end }) => {
    const isSequence = Number.isInteger(sequence) && sequence >= 0 && sequence + 1 < offsets.length
    if (!isSequence) expectRange(false, 'sliceBatch', `a sequence in [0, ${offsets.length - 1})`, sequence)
    const start = offsets[sequence]
    const length = offsets[sequence + 1] - start
    const isPiece = Number.isInteger(begin) && Number.isInteger(end) && begin >= 0 && begin <= end && end <= length
    if (!isPiece) {
      const expected = `a piece inside the ${length} events of sequence ${sequence}`
      expectRange(false, 'sliceBatch', expected, `[${begin}, ${end})`)
    }
    return { begin: start + begin, end: start + end }
  })
  return yield* gatherSteps(encoded, ranges, pool)
}
