import { binding } from '../native.js'
import { currentTape } from '../runtime/tape.js'
import { Tensor } from '../runtime/tensor.js'
import { expectOptions, expectRange } from '../util/errors.js'
import { linear } from './linear.js'
import type { LossAndCorrect } from './softmax_cross_entropy.js'

/** Scores of all pairs with all pairs are held at once, with their gradient: 128 MB here. */
export const MAX_PAIRS = 4096

export interface PairContrastiveOptions {
  /** Scores are divided by it. Default 1. */
  readonly temperature?: number
  /**
   * `softmax` (default): find the other piece among all pieces, from both sides. `binary`: logistic loss, is this a
   * pair or not; the pairs weigh as much as all that are none.
   */
  readonly mode?: 'softmax' | 'binary'
}

/**
 * Contrastive loss on pairs of pieces: u[i] and v[i] come from one sequence. Pieces of one entity are never each
 * other's negative. `correct` counts the u[i] whose own v[i] scores higher than all its negatives.
 * @param u       (pairs, width) float32
 * @param v       (pairs, width) float32
 * @param entity  (pairs) int32
 * @throws {RangeError} if a shape differs, for more than 4096 pairs, or a temperature out of [1e-6, 1e6]
 * Source: Logeswaran & Lee 2018, eq. 2 (both directions).
 */
export function pairContrastive(
  u: Tensor<'float32'>,
  v: Tensor<'float32'>,
  entity: Tensor<'int32'>,
  options: PairContrastiveOptions = {},
): LossAndCorrect {
  const where = 'pair_contrastive'
  expectOptions(where, options, ['temperature', 'mode'])
  const { temperature = 1, mode = 'softmax' } = options
  expectRange(mode === 'softmax' || mode === 'binary', where, "mode 'softmax' or 'binary'", mode)
  expectRange(temperature > 0, where, 'a temperature above 0', temperature)
  const pairs = u.shape[0]
  expectRange(pairs <= MAX_PAIRS, where, `at most ${MAX_PAIRS} pairs`, pairs, 'use smaller batches')
  expectRange(v.shape[0] === pairs, where, `v of ${pairs} pairs, as u has`, v.shape[0])
  const { device } = u
  const tape = currentTape()
  // A product with no rows has no weight to pack.
  const scores = pairs > 0 ? linear(u, v) : Tensor.empty(device, 'float32', [0, 0])
  const [loss, correct, count] = [1, 1, 1].map(size => Tensor.empty(device, 'float32', [size]))
  const stats = Tensor.empty(device, 'float32', [4, pairs])
  binding.pair_contrastive_forward(
    device.handle,
    scores.handle,
    entity.handle,
    1 / temperature,
    mode === 'binary',
    loss.handle,
    correct.handle,
    stats.handle,
    count.handle,
  )
  tape?.add(loss, [scores], dout => {
    const dscores = tape.slot(scores)
    if (!dscores) return
    binding.pair_contrastive_backward(
      device.handle,
      scores.handle,
      entity.handle,
      1 / temperature,
      mode === 'binary',
      stats.handle,
      count.handle,
      dout.handle,
      dscores.tensor.handle,
      dscores.accumulate,
    )
  })
  return { loss, correct }
}
