// Sorting numbers without holding the JavaScript thread: short native sorts, then merges, with rests in between.

import { Pace } from '../util/pace.js'

const RUN = 16_384

/** The values (no NaN) in ascending order, as a new array; −0 and 0 are equal. */
export async function sortedCopy(values: Float64Array, signal?: AbortSignal): Promise<Float64Array> {
  const pace = new Pace(signal)
  let from = values.slice()
  for (let begin = 0; begin < from.length; begin += RUN) {
    from.subarray(begin, begin + RUN).sort()
    await pace.turn()
  }
  let to = new Float64Array(from.length)
  for (let width = RUN; width < from.length; width *= 2) {
    for (let begin = 0; begin < from.length; begin += 2 * width) {
      const middle = Math.min(begin + width, from.length)
      const end = Math.min(begin + 2 * width, from.length)
      let left = begin
      let right = middle
      for (let at = begin; at < end; ) {
        for (const stop = Math.min(at + RUN, end); at < stop; at++) {
          const takesLeft = left < middle && (right >= end || !(from[right] < from[left]))
          to[at] = takesLeft ? from[left++] : from[right++]
        }
        await pace.turn()
      }
    }
    ;[from, to] = [to, from]
  }
  return from
}
