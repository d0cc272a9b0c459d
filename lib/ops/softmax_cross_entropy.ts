import { binding } from '../native.js'
import { currentTape } from '../runtime/tape.js'
import { Tensor } from '../runtime/tensor.js'
import { expectOptions } from '../util/errors.js'

export interface SoftmaxCrossEntropyOptions {
  /** (rows) float32: each row's share in the mean, ≥ 0. Default: all 1. */
  readonly weights?: Tensor<'float32'>
}

export interface LossAndCorrect {
  /** (1) float32 */
  readonly loss: Tensor<'float32'>
  /** (1) float32: how many were predicted right. No gradient. */
  readonly correct: Tensor<'float32'>
}

/**
 * Weighted mean of `−ln softmax(logits[r])[targets[r]]` over the rows with a target; 0 when there is none.
 * `correct` counts the rows whose target is the first of the largest logits.
 * @param logits   (rows, classes) float32, classes ≥ 1; −∞ rules a class out
 * @param targets  (rows) int32 in [−1, classes); −1 leaves the row out
 * @throws {RangeError} if a shape differs; by the next read if a target is out of range
 */
export function softmaxCrossEntropy(
  logits: Tensor<'float32'>,
  targets: Tensor<'int32'>,
  options: SoftmaxCrossEntropyOptions = {},
): LossAndCorrect {
  expectOptions('softmax_cross_entropy', options, ['weights'])
  const { weights } = options
  const { device } = logits
  const tape = currentTape()
  const [rows] = logits.shape
  const loss = Tensor.empty(device, 'float32', [1])
  const correct = Tensor.empty(device, 'float32', [1])
  const rowMax = tape && Tensor.empty(device, 'float32', [rows])
  const rowSum = tape && Tensor.empty(device, 'float32', [rows])
  const total = tape && Tensor.empty(device, 'float32', [1])
  binding.softmax_cross_entropy_forward(
    device.handle,
    logits.handle,
    targets.handle,
    weights?.handle,
    loss.handle,
    correct.handle,
    rowMax?.handle,
    rowSum?.handle,
    total?.handle,
  )
  tape?.add(loss, [logits], dout => {
    const dlogits = tape.slot(logits)
    if (!dlogits) return
    binding.softmax_cross_entropy_backward(
      device.handle,
      logits.handle,
      targets.handle,
      weights?.handle,
      rowMax!.handle,
      rowSum!.handle,
      total!.handle,
      dout.handle,
      dlogits.tensor.handle,
      dlogits.accumulate,
    )
  })
  return { loss, correct }
}
