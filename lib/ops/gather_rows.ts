import { binding } from '../native.js'
import { currentTape } from '../runtime/tape.js'
import { Tensor } from '../runtime/tensor.js'
import { expectOptions } from '../util/errors.js'

export interface GatherRowsOptions {
  /** Each index is above the one before it: the gradient needs no sums. The backward makes sure of it. Default false. */
  readonly ascending?: boolean
}

/**
 * Picks rows: `out[i] = x[index[i]]`. Gradients of rows that were picked several times add up.
 * @param x      (rows, width) float32
 * @param index  (count) int32 in [0, rows); any other makes the next read throw a RangeError
 * @returns      (count, width) float32
 * @throws {RangeError} if a shape differs.  Deterministic.
 */
export function gatherRows(
  x: Tensor<'float32'>,
  index: Tensor<'int32'>,
  options: GatherRowsOptions = {},
): Tensor<'float32'> {
  expectOptions('gatherRows', options, ['ascending'])
  const { ascending = false } = options
  const { device } = x
  const out = Tensor.empty(device, 'float32', [index.shape[0], x.shape[1] ?? 0])
  binding.gather_rows_forward(device.handle, x.handle, index.handle, out.handle)
  const tape = currentTape()
  tape?.add(out, [x], dout => {
    const dx = tape.slot(x)
    if (!dx) return
    binding.gather_rows_backward(device.handle, index.handle, dout.handle, dx.tensor.handle, dx.accumulate, ascending)
  })
  return out
}
