// Controls: what a task rewards that no model of sequences is needed for.

import type { EncodedEvents } from '../../../lib/events/encode.js'
import type { VectorTable } from '../../../lib/events/table.js'
import { Philox } from '../../../lib/util/philox.js'

/** The permutation control: the same events of each entity in random order. Gaps move with their events. */
export function shuffleOrder(encoded: EncodedEvents): EncodedEvents {
  const random = new Philox(1, 77)
  const { offsets } = encoded
  const from = Int32Array.from({ length: encoded.time.length }, (_, t) => t)
  for (let i = 0; i + 1 < offsets.length; i++) random.shuffle(from.subarray(offsets[i], offsets[i + 1]))
  const inputs = encoded.inputs.map(input => {
    if (input.offsets) {
      const words = input.offsets
      const moved = new Int32Array(words.length)
      from.forEach((source, t) => {
        moved[t + 1] = moved[t] + words[source + 1] - words[source]
      })
      const codes = new Int32Array(input.codes.length)
      from.forEach((source, t) => {
        codes.set(input.codes.subarray(words[source], words[source + 1]), moved[t])
      })
      return { ...input, codes, offsets: moved }
    }
    const codes = from.map(source => input.codes[source])
    const fraction = input.fraction && Float32Array.from(from, source => input.fraction![source])
    return { ...input, codes, fraction }
  })
  return { ...encoded, inputs }
}

/** The number of events, as it is and in logarithm: what the size of the sample alone gives away. */
export function countAlone({ ids, offsets }: EncodedEvents): VectorTable {
  const values = new Float32Array(ids.length * 2)
  ids.forEach((_, i) => {
    values[2 * i] = offsets[i + 1] - offsets[i]
    values[2 * i + 1] = Math.log1p(values[2 * i])
  })
  return { ids, width: 2, vectors: values }
}

/** First and last time: what the dates of the sample alone give away. */
export function datesAlone({ ids, offsets, time }: EncodedEvents): VectorTable {
  const values = new Float32Array(ids.length * 2)
  ids.forEach((_, i) => {
    values[2 * i] = time[offsets[i]]
    values[2 * i + 1] = time[offsets[i + 1] - 1]
  })
  return { ids, width: 2, vectors: values }
}
