// Float64 reference of dropout; the gradient of x is dropout(dout) with the same numbers.

import { philox4x32 } from '../util/philox.js'

/** The stream of a seed that belongs to dropout: "drop" in ASCII. */
const STREAM = 0x64726f70

/** Whether element number `element` of the seed's stream stays. */
export function stays(element: number, rate: number, seed: number): boolean {
  const block = Math.floor(element / 4)
  const words = new Uint32Array(4)
  const high = (value: number) => Math.floor(value / 0x100000000)
  philox4x32(block >>> 0, high(block), STREAM, 0, seed >>> 0, high(seed), words)
  return words[element % 4] >= Math.floor(Math.fround(rate) * 0x100000000)
}

export function dropoutForward(x: Float64Array, rate: number, seed: number, offset: number): Float64Array {
  return x.map((value, i) => (stays(offset + i, rate, seed) ? value / (1 - Math.fround(rate)) : 0))
}
