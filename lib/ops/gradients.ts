// Where backward kernels put gradients of weights, and how gradients that pass through unchanged travel on.

import { binding } from '../native.js'
import type { Tape } from '../runtime/tape.js'
import { type FloatType, Tensor } from '../runtime/tensor.js'

/**
 * The gradient of a weight, which kernels always add to: the parameter's own, a fresh zero for a computed weight, or
 * a throw-away for a constant one.
 */
export function parameterGradient(tape: Tape, weight: Tensor<'float32'>): Tensor<'float32'> {
  const slot = tape.slot(weight)
  if (!slot) return Tensor.zeros(weight.device, 'float32', weight.shape)
  const tensor = slot.tensor as Tensor<'float32'>
  return slot.accumulate ? tensor : tensor.fill(0)
}

/**
 * `dout` is (part of) the gradient of `input`: hands the tensor itself on where there is no gradient yet, and adds it
 * to the one that is there. Afterwards `dout` may change with further contributions: read it before.
 * Where the two are stored differently it is converted.
 */
export function accumulateGradient(tape: Tape, input: Tensor<FloatType>, dout: Tensor<FloatType>): void {
  if (tape.passOn(input, dout)) return
  const slot = tape.slot(input)!
  binding.scale_forward(input.device.handle, dout.handle, 1, slot.tensor.handle, slot.accumulate)
}
