// Reference of random_uniform.

import { philox4x32 } from '../util/philox.js'

export function randomUniform(count: number, bound: number, seed: number, stream: number): Float64Array {
  const words = new Uint32Array(4)
  return Float64Array.from({ length: count }, (_, i) => {
    const block = Math.floor(i / 4)
    philox4x32(block, 0, stream, 0, seed >>> 0, Math.floor(seed / 2 ** 32), words)
    return bound * ((2 * ((words[i % 4] >>> 9) + 0.5)) / 2 ** 23 - 1)
  })
}
