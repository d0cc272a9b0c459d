import { binding } from '../native.js'
import { Tensor } from '../runtime/tensor.js'

/**
 * Loss and gradient of many logistic regressions over one matrix, in one pass over its memory. With one output:
 * `loss[a] = Σ_r log(1 + e^z) − t·z`, `z = x[r]·weight[a]`; with more, the softmax cross-entropy over them. The sums run
 * over the rows of problem `problem[a]`. An intercept is a column of ones in `x`. Not recorded on the tape.
 * @param x        (rows, width) float32
 * @param target   (problems, rows) int32: the class, or −1 where a row is not part of the problem
 * @param problem  (active) int32 in [0, problems): which problems the weights belong to
 * @param weight   (active, outputs, width) float32
 * @returns        loss (active, 2) float32, whose two parts add up to a float64; gradient shaped as `weight`; the
 *                 z of every row, (active, outputs, rows), if asked for
 * @throws {RangeError} if a shape differs; at the next read if a target or problem is out of range
 * Deterministic for any number of threads.
 */
export function logisticGradient(
  x: Tensor<'float32'>,
  target: Tensor<'int32'>,
  problem: Tensor<'int32'>,
  weight: Tensor<'float32'>,
  withScores = false,
): { loss: Tensor<'float32'>; gradient: Tensor<'float32'>; scores?: Tensor<'float32'> } {
  const { device } = x
  const scores = withScores ? Tensor.empty(device, 'float32', [...weight.shape.slice(0, 2), x.shape[0]]) : undefined
  const loss = Tensor.empty(device, 'float32', [weight.shape[0], 2])
  const gradient = Tensor.empty(device, 'float32', weight.shape)
  binding.logistic_gradient(
    device.handle,
    x.handle,
    target.handle,
    problem.handle,
    weight.handle,
    loss.handle,
    gradient.handle,
    scores?.handle,
  )
  return { loss, gradient, scores }
}
