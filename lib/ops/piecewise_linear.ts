import { binding } from '../native.js'
import { currentTape } from '../runtime/tape.js'
import { Tensor } from '../runtime/tensor.js'

/** Continuous curves of straight pieces, one for each column; constants, which nothing learns. */
export interface Curves {
  /** (knots, width) float32, ascending in each column; equal ones have nothing between them. */
  readonly knots: Tensor<'float32'>
  /** (knots + 1, width) float32: below the first knot, between knots, above the last. */
  readonly slopes: Tensor<'float32'>
  /** (width) float32: the values at the first knots. */
  readonly offset: Tensor<'float32'>
}

/**
 * Bends each column by a curve of its own: `out[r, c] = f_c(x[r, c])`, with knots t₀ … t_{n−1} and slopes s₀ … s_n
 *   f(x) = offset + s₀·min(x − t₀, 0) + Σ_k s_k·(clamp(x, t_{k−1}, t_k) − t_{k−1}) + s_n·max(x − t_{n−1}, 0)
 * On a knot the gradient is that of the piece above. A column whose knots and offset are 0 and whose slopes are 1 stays as it is, bit
 * for bit.
 * @param x  (rows, width) float32
 * @returns  (rows, width) float32
 * @throws {RangeError} if a shape differs.  Deterministic.
 */
export function piecewiseLinear(x: Tensor<'float32'>, { knots, slopes, offset }: Curves): Tensor<'float32'> {
  const { device } = x
  const count = knots.shape[0]
  const tape = currentTape()
  const out = Tensor.empty(device, 'float32', x.shape)
  const curves = [count, knots.handle, slopes.handle] as const
  binding.piecewise_linear_forward(device.handle, x.handle, ...curves, offset.handle, out.handle)
  tape?.add(out, [x], dout => {
    const dx = tape.slot(x)
    if (!dx) return
    binding.piecewise_linear_backward(device.handle, x.handle, ...curves, dout.handle, dx.tensor.handle, dx.accumulate)
  })
  return out
}
