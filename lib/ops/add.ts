import { binding } from '../native.js'
import { currentTape } from '../runtime/tape.js'
import { type FloatType, Tensor } from '../runtime/tensor.js'
import { expectRange } from '../util/errors.js'
import { accumulateGradient } from './gradients.js'

/**
 * Adds element by element: `out = a + b`.
 * @param a  any shape, float32
 * @param b  the same shape
 * @returns  that shape
 * @throws {RangeError} if the shapes differ
 */
export function add<T extends FloatType>(a: Tensor<T>, b: Tensor<FloatType>): Tensor<T> {
  const same = a.shape.length === b.shape.length && a.shape.every((size, axis) => size === b.shape[axis])
  expectRange(same, 'add', `b of shape (${a.shape.join(', ')})`, `(${b.shape.join(', ')})`)
  const { device } = a
  const out = Tensor.empty(device, a.dtype, a.shape)
  binding.add_forward(device.handle, a.handle, b.handle, out.handle)
  const tape = currentTape()
  tape?.add(out, [a, b], dout => {
    // Gradients are added to in place, so only one of the two can take dout itself: one that is stored alike.
    const wanted = (b.dtype === out.dtype ? [a, b] : [b, a]).filter(input => tape.wants(input))
    if (wanted.length === 2) {
      const slot = tape.slot(wanted[0])!
      binding.scale_forward(device.handle, dout.handle, 1, slot.tensor.handle, slot.accumulate)
    }
    accumulateGradient(tape, wanted[wanted.length - 1], dout)
  })
  return out
}
