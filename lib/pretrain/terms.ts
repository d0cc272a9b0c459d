// What a proxy task contributes to a step.

import type { Tensor } from '../runtime/tensor.js'

/** One term of the loss: Σ weight · loss is minimised. */
export interface Term {
  readonly name: string
  /** (1) mean loss over what was counted */
  readonly loss: Tensor<'float32'>
  /** (1) how many of the counted were predicted right */
  readonly correct: Tensor<'float32'>
  readonly weight: number
  readonly counted: number
}
