import { binding } from '../native.js'
import type { Tensor } from '../runtime/tensor.js'

export interface RandomUniformOptions {
  /** Values lie in (−bound, bound). */
  readonly bound: number
  /** A safe integer ≥ 0. */
  readonly seed: number
  /** Independent streams of one seed: an integer in [0, 2³²). Default 0. */
  readonly stream?: number
}

/**
 * Overwrites a tensor with numbers uniform over (−bound, bound). Element i depends on (seed, stream, i) alone
 * (Philox4x32-10): the same bits on every device. No gradient.
 * @param out  any shape, float32
 * @throws {RangeError} for a bound, seed or stream out of range
 * Source: Salmon et al. 2011.
 */
export function randomUniform(out: Tensor<'float32'>, options: RandomUniformOptions): Tensor<'float32'> {
  const { bound, seed, stream = 0 } = options
  binding.random_uniform(out.device.handle, out.handle, bound, seed, stream)
  return out
}
