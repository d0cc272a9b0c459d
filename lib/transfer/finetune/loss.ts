// The loss of a batch on the device: cross-entropy of classes, squared error of numbers.

import { add } from '../../ops/add.js'
import { scale } from '../../ops/scale.js'
import { softmaxCrossEntropy } from '../../ops/softmax_cross_entropy.js'
import type { Tape } from '../../runtime/tape.js'
import { Tensor } from '../../runtime/tensor.js'
import type { Goal } from './goal.js'

type Float = Tensor<'float32'>

export interface BatchLoss {
  /** Where the gradients start. */
  readonly start: { readonly loss: Float; readonly dout: Float | number }
  /** What `lossOf` needs to know, once it is read. */
  readonly report: Float
}

/**
 * @param outputs  (rows, outputs), recorded on `tape`
 * @param targets  of each row, as `deviceTargets` gives them
 * @param classWeights  as `classWeightsOf` gives them
 */
export function batchLoss(
  tape: Tape,
  goal: Goal,
  outputs: Float,
  targets: Float64Array,
  classWeights: Float64Array | null,
): BatchLoss {
  const { device } = outputs
  if (goal.task === 'classification') {
    const weights =
      classWeights &&
      Tensor.from(
        device,
        Float32Array.from(targets, target => classWeights[target]),
      )
    // The op's mean is over the batch's own weights, which would give a batch without the rare class as much to say as one with it.
    // Weights have mean 1 over the training rows: per row, batches are worth what their weights are.
    const share = classWeights ? targets.reduce((sum, target) => sum + classWeights[target], 0) / targets.length : 1
    const loss = tape.record(() => {
      const labels = Tensor.from(device, Int32Array.from(targets))
      if (!weights) return softmaxCrossEntropy(outputs, labels).loss
      return scale(softmaxCrossEntropy(outputs, labels, { weights }).loss, share)
    })
    return { start: { loss, dout: 1 }, report: loss }
  }
  // The gradient of ½·mean (z − t)² is (z − t) / rows; its value is summed in float64 once it is read.
  const negative = Tensor.from(
    device,
    Float32Array.from(targets, target => -target),
    outputs.shape,
  )
  const difference = add(outputs, negative)
  return { start: { loss: outputs, dout: scale(difference, 1 / targets.length) }, report: difference }
}

/** The loss behind the values of `report`. */
export function lossOf(goal: Goal, report: Float32Array): number {
  if (goal.task === 'classification') return report[0]
  return report.reduce((sum, value) => sum + value * value, 0) / report.length / 2
}
