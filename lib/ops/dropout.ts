import { binding } from '../native.js'
import { currentTape } from '../runtime/tape.js'
import { type FloatType, Tensor } from '../runtime/tensor.js'
import { expectOptions } from '../util/errors.js'

export interface DropoutOptions {
  /** Share of elements that become 0, in [0, 1). */
  readonly rate: number
  /** A safe integer ≥ 0. */
  readonly seed: number
  /** Number of the first element in the stream of random numbers of the seed; a safe integer ≥ 0. Default 0. */
  readonly offset?: number
}

/**
 * Sets random elements to 0 and multiplies the others by 1 / (1 − rate). Element i falls or stays by (seed, offset + i)
 * alone (Philox4x32-10), on every device: a batch in two parts equals the whole. With rate 0, `x` itself.
 * @param x  any shape, float32
 * @returns  that shape
 * @throws {RangeError} for a rate, a seed or an offset out of range.  Deterministic.
 * Source: Srivastava et al. 2014, scaled while training.
 */
export function dropout<T extends FloatType>(x: Tensor<T>, options: DropoutOptions): Tensor<T> {
  expectOptions('dropout', options, ['rate', 'seed', 'offset'])
  const { rate, seed, offset = 0 } = options
  if (rate === 0) return x
  const { device } = x
  const out = Tensor.empty(device, x.dtype, x.shape)
  binding.dropout_forward(device.handle, x.handle, rate, seed, offset, out.handle, false)
  const tape = currentTape()
  tape?.add(out, [x], dout => {
    const dx = tape.slot(x)
    if (!dx) return
    binding.dropout_forward(device.handle, dout.handle, rate, seed, offset, dx.tensor.handle, dx.accumulate)
  })
  return out
}
