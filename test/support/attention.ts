// What the tests of the attention ops share.

import type { Tolerance } from './close.js'

const epsilon = 2 ** -24

/**
 * Rounding of a float32 attention of about standard normal inputs: a logit of `dim` products errs like √dim roundings
 * of a number of size 4, and its exponential by as much again as a share; then `keys` products are summed in turn.
 * Errors of single elements are random, so that eight deviations bound all of them. The absolute part is for gradients
 * that cancel: a score's is the difference of two sums of `dim` products.
 */
export function attentionTolerance(dim: number, keys: number): Tolerance {
  return {
    absolute: 8 * Math.sqrt(dim) * epsilon,
    relative: 8 * (4 * Math.sqrt(dim) + Math.sqrt(keys) + 4) * epsilon,
  }
}
