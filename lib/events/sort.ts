// Sorting without holding the JavaScript thread: short native sorts, then merges, with rests in between.

import { Pace, type Steps } from '../util/pace.js'

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

/** Places that are looked at between two looks at the clock: less than a millisecond. */
const PLACES_PER_STEP = 16_384
/** Which half of a float64 has its sign. */
const HIGH = new Uint8Array(new Uint16Array([1]).buffer)[0]
/** Below so many places, the counts of 2^16 digits would cost more than sorting. */
const MANY_PLACES = 8192

/**
 * The numbers 0 … count − 1, which are given in any order, by falling value (no NaN); those of equal values, such as −0 and 0, stay
 * in their order. By the digits of the values, lowest first: comparisons in JavaScript take six times as long.
 */
export function* fallingSteps(places: Int32Array, values: ArrayLike<number>): Steps<Int32Array> {
  const count = places.length
  const keys = new Float64Array(count)
  const words = new Uint32Array(keys.buffer)
  const bits = count < MANY_PLACES ? 8 : 16
  const mask = (1 << bits) - 1
  const ends = new Int32Array(mask + 1)
  let from = places.slice()
  let to = new Int32Array(count)
  for (let i = 0; i < count; i += PLACES_PER_STEP) {
    yield
    fallingKeys(values, keys, words, i, Math.min(count, i + PLACES_PER_STEP))
  }
  for (const word of [1 - HIGH, HIGH]) {
    for (let shift = 0; shift < 32; shift += bits) {
      ends.fill(0)
      for (let i = 0; i < count; i += PLACES_PER_STEP) {
        yield
        const end = Math.min(count, i + PLACES_PER_STEP)
        for (let k = i; k < end; k++) ends[(words[2 * k + word] >>> shift) & mask]++
      }
      // Where all digits are one, as the low ones of float32 are, they are in order.
      if (count === 0 || ends[(words[word] >>> shift) & mask] === count) continue
      for (let digit = 0, sum = 0; digit <= mask; digit++) {
        const own = ends[digit]
        ends[digit] = sum
        sum += own
      }
      for (let i = 0; i < count; i += PLACES_PER_STEP) {
        yield
        const end = Math.min(count, i + PLACES_PER_STEP)
        for (let k = i; k < end; k++) {
          const place = from[k]
          to[ends[(words[2 * place + word] >>> shift) & mask]++] = place
        }
      }
      ;[from, to] = [to, from]
    }
  }
  return from
}

/** Keys whose bits rise where the values fall. */
function fallingKeys(
  values: ArrayLike<number>,
  keys: Float64Array,
  words: Uint32Array,
  from: number,
  to: number,
): void {
  for (let i = from; i < to; i++) {
    // −0 becomes 0.
    keys[i] = values[i] + 0
    // Bits of floats from 0 rise as they do, those of others fall.
    if (words[2 * i + HIGH] >>> 31 === 1) continue
    words[2 * i + HIGH] = ~words[2 * i + HIGH] & 0x7fffffff
    words[2 * i + 1 - HIGH] = ~words[2 * i + 1 - HIGH]
  }
}
