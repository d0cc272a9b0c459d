import { binding } from '../native.js'
import type { BinnedMatrix } from '../runtime/binned_matrix.js'
import { Tensor } from '../runtime/tensor.js'

/** Cells of a feature. */
export const HISTOGRAM_CELLS = 256

/**
 * Sums of packed gradients by feature and bin: `out[f, 0, b] = Σ g`, `out[f, 1, b] = Σ h` over the rows of a node.
 * @param packed      (rows, 2) int32: the integers (g << shift) + h of 64 bits as halves, low first
 * @param rowIndex    rows of the node, in any order; default all
 * @param shift       h < 2^shift, also of the sum over a weight of 8191; |g| < 2^(63 − shift) likewise
 * @param mostWeight  largest weight of a row, 1 … 8191
 * @returns           (features, 2, 256, 2) int32: 64-bit sums as halves, low first. Exact, so the same for any order
 *                    of rows, number of threads and kernel variant
 */
export function gbrtHistogram(
  matrix: BinnedMatrix,
  packed: Tensor<'int32'>,
  shift: number,
  rowIndex?: Tensor<'int32'>,
  mostWeight = 1,
): Tensor<'int32'> {
  const { device } = packed
  const out = Tensor.empty(device, 'int32', [matrix.features, 2, HISTOGRAM_CELLS, 2])
  binding.gbrt_histogram(device.handle, matrix.handle, packed.handle, rowIndex?.handle, shift, mostWeight, out.handle)
  return out
}
