import { binding } from '../native.js'
import { currentTape } from '../runtime/tape.js'
import { type FloatType, Tensor } from '../runtime/tensor.js'
import { expectRange } from '../util/errors.js'

/**
 * Gated linear unit: `out = a ⊙ σ(z)`, a the first half of each row, z the second.
 * @param x  (rows, 2 · width) float32
 * @returns  (rows, width) float32
 * @throws {RangeError} for rows of odd width.  Deterministic.
 * Source: Dauphin et al. 2017.
 */
export function glu<T extends FloatType>(x: Tensor<T>): Tensor<T> {
  const { device } = x
  const [rows, both] = x.shape
  expectRange(both % 2 === 0, 'glu', 'rows of even width', both)
  const tape = currentTape()
  const out = Tensor.empty(device, x.dtype, [rows, both / 2])
  binding.glu_forward(device.handle, out.handle, x.handle)
  tape?.add(out, [x], dout => {
    const dx = tape.slot(x)
    if (dx) binding.glu_backward(device.handle, dout.handle, x.handle, dx.tensor.handle, dx.accumulate)
  })
  return out
}
