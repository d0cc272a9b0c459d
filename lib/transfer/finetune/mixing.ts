// Copies of weights, and weights between two of them.

import { add } from '../../ops/add.js'
import { scale } from '../../ops/scale.js'
import type { Parameter } from '../../runtime/tape.js'
import { scope, Tensor, unscoped } from '../../runtime/tensor.js'

type Float = Tensor<'float32'>

/** Shares of the way to the trained weights that are tried. */
export const MIXES = [0, 0.25, 0.5, 0.75, 1] as const

/** Those that are tried where rows are kept out: a share that was given is judged as well. */
export function mixesOf(mixing: number | 'validated'): readonly number[] {
  return mixing === 'validated' ? MIXES : [mixing]
}

/** Copies weights, into tensors that are made when there are none yet. */
export function keep(parameters: readonly Parameter[], copies: Float[]): void {
  if (copies.length === 0) {
    for (const { value } of parameters) {
      copies.push(unscoped(() => Tensor.empty(value.device, 'float32', value.shape)))
    }
  }
  parameters.forEach(({ value }, i) => {
    copies[i].copyFrom(value)
  })
}

/** Writes them back. */
export function restore(copies: readonly Float[], parameters: readonly Parameter[]): void {
  copies.forEach((copy, i) => {
    parameters[i].value.copyFrom(copy)
  })
}

/** θ = (1 − share)·first + share·last */
export function interpolate(
  parameters: readonly Parameter[],
  first: readonly Float[],
  last: readonly Float[],
  share: number,
): void {
  if (share === 0 || share === 1) {
    restore(share === 0 ? first : last, parameters)
    return
  }
  scope(() => {
    parameters.forEach(({ value }, i) => {
      value.copyFrom(add(scale(first[i], 1 - share), scale(last[i], share)))
    })
  })
}
