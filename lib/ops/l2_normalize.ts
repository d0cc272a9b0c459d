import { binding } from '../native.js'
import { currentTape } from '../runtime/tape.js'
import { Tensor } from '../runtime/tensor.js'

/**
 * Scales every row to length 1: `out[r] = x[r] / max(‖x[r]‖, eps)`; a row of zeros stays one.
 * @param x    (rows, width) float32
 * @param eps  in [1e-30, 1]
 * @returns    (rows, width) float32
 * @throws {RangeError} for another number of axes or eps
 */
export function l2Normalize(x: Tensor<'float32'>, eps = 1e-12): Tensor<'float32'> {
  const { device } = x
  const out = Tensor.empty(device, 'float32', x.shape)
  const scale = Tensor.empty(device, 'float32', [x.shape[0]])
  binding.l2_normalize_forward(device.handle, x.handle, eps, out.handle, scale.handle)
  const tape = currentTape()
  tape?.add(out, [x], dout => {
    const dx = tape.slot(x)
    if (!dx) return
    binding.l2_normalize_backward(
      device.handle,
      out.handle,
      eps,
      scale.handle,
      dout.handle,
      dx.tensor.handle,
      dx.accumulate,
    )
  })
  return out
}
