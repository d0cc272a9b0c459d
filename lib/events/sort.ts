// Sorting without holding the JavaScript thread: short native sorts, then merges, with rests in between.

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

const COMPARED_RUN = 1024

/** The numbers 0 … count − 1 in the order that `compare` says; equal ones stay in theirs. */
export async function sortedPlaces(
  count: number,
  compare: (a: number, b: number) => number,
  signal?: AbortSignal,
): Promise<Int32Array> {
  const pace = new Pace(signal)
  let from = new Int32Array(count)
  for (let i = 0; i < count; i++) from[i] = i
  for (let begin = 0; begin < count; begin += COMPARED_RUN) {
    from.subarray(begin, begin + COMPARED_RUN).sort(compare)
    await pace.turn()
  }
  let to = new Int32Array(count)
  for (let width = COMPARED_RUN; width < count; width *= 2) {
    for (let begin = 0; begin < count; begin += 2 * width) {
      const middle = Math.min(begin + width, count)
      const end = Math.min(begin + 2 * width, count)
      let left = begin
      let right = middle
      for (let at = begin; at < end; at++) {
        const takesLeft = left < middle && (right >= end || compare(from[left], from[right]) <= 0)
        to[at] = takesLeft ? from[left++] : from[right++]
        if (at % COMPARED_RUN === 0) await pace.turn()
      }
    }
    ;[from, to] = [to, from]
  }
  return from
}
