// Random numbers in great number on the JavaScript thread.

import { binding } from '../native.js'
import { Philox } from '../util/philox.js'

/** `new Philox(seed, stream)`, the same numbers in the same order, some ten times faster where thousands are drawn. */
export function fastPhilox(seed: number, stream = 0): Philox {
  return new Philox(seed, stream, binding.philox_blocks)
}
