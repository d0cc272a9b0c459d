import { binding } from '../native.js'
import { currentTape } from '../runtime/tape.js'
import { Tensor } from '../runtime/tensor.js'

/**
 * Multiplies by a number: `out = factor · x`.
 * @param x  any shape, float32
 * @returns  that shape
 * @throws {RangeError} for a factor that is not finite
 */
export function scale(x: Tensor<'float32'>, factor: number): Tensor<'float32'> {
  const { device } = x
  const out = Tensor.empty(device, 'float32', x.shape)
  binding.scale_forward(device.handle, x.handle, factor, out.handle, false)
  const tape = currentTape()
  tape?.add(out, [x], dout => {
    const dx = tape.slot(x)
    if (!dx) return
    binding.scale_forward(device.handle, dout.handle, factor, dx.tensor.handle, dx.accumulate)
  })
  return out
}
