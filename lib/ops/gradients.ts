// Where backward kernels put gradients of weights.

import type { Tape } from '../runtime/tape.js'
import { Tensor } from '../runtime/tensor.js'

/**
 * The gradient of a weight, which kernels always add to: the parameter's own, a fresh zero for a computed weight, or
 * a throw-away for a constant one.
 */
export function parameterGradient(tape: Tape, weight: Tensor<'float32'>): Tensor<'float32'> {
  const slot = tape.slot(weight)
  if (!slot) return Tensor.zeros(weight.device, 'float32', weight.shape)
  return slot.accumulate ? slot.tensor : slot.tensor.fill(0)
}
