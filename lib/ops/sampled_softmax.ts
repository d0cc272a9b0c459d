import { binding } from '../native.js'
import { currentTape } from '../runtime/tape.js'
import { Tensor } from '../runtime/tensor.js'
import { expectRange, expectType } from '../util/errors.js'
import type { Philox } from '../util/philox.js'
import { gatherRows } from './gather_rows.js'
import { linear } from './linear.js'
import { type LossAndCorrect, type SoftmaxCrossEntropyOptions, softmaxCrossEntropy } from './softmax_cross_entropy.js'

type Float = Tensor<'float32'>

/** The classes that one batch is held against. */
export interface Candidates {
  /** Ascending, each once: all targets, and the samples. */
  readonly classes: Int32Array
  /** Where each row's target stands among them; −1 stays. */
  readonly targets: Int32Array
  /** What is subtracted from each logit: the log of the expected count of the class among the candidates. */
  readonly logExpected: Float32Array
}

/** Draws candidate classes, by their frequency or, without it, as if classes were sorted by falling frequency. */
export class CandidateSampler {
  readonly classes: number
  /** Sums of the probabilities of classes 0 … c. */
  readonly #cumulative: Float64Array

  /**
   * @param counts  how often each class occurs (unigram sampling; a count below 1 is taken as 1). Default: log-uniform,
   *                P(c) = ln((c+2)/(c+1)) / ln(classes+1)
   */
  constructor(classes: number, counts?: ArrayLike<number>) {
    const where = 'CandidateSampler'
    expectRange(Number.isInteger(classes) && classes >= 1, where, 'at least one class', classes)
    expectRange(!counts || counts.length === classes, where, `${classes} counts`, counts?.length)
    this.classes = classes
    this.#cumulative = new Float64Array(classes)
    let sum = 0
    for (let c = 0; c < classes; c++) {
      const share = counts ? Math.max(counts[c], 1) : Math.log1p(1 / (c + 1))
      expectRange(Number.isFinite(share), where, 'finite counts', counts?.[c])
      sum += share
      this.#cumulative[c] = sum
    }
    for (let c = 0; c < classes; c++) this.#cumulative[c] /= sum
  }

  /** The chance that one draw gives class c. */
  probability(c: number): number {
    return this.#cumulative[c] - (c > 0 ? this.#cumulative[c - 1] : 0)
  }

  /**
   * Candidates for a batch: its targets and `samples` draws with replacement; all classes once `samples` reaches their
   * number. Same state of `random`, same candidates.
   * @param targets  classes or −1
   * @throws {RangeError} for a target out of [−1, classes)
   */
  draw(targets: Int32Array, samples: number, random: Philox): Candidates {
    const where = 'sampled_softmax'
    expectType(targets instanceof Int32Array, where, 'targets as Int32Array', targets)
    expectRange(Number.isInteger(samples) && samples >= 1, where, 'samples to be an integer from 1', samples)
    let counted = 0
    for (const [row, target] of targets.entries()) {
      const isClass = target >= -1 && target < this.classes
      expectRange(isClass, where, `targets in [-1, ${this.classes})`, `${target} at index ${row}`)
      if (target >= 0) counted++
    }
    if (samples >= this.classes) {
      const classes = Int32Array.from({ length: this.classes }, (_, c) => c)
      return { classes, targets: targets.slice(), logExpected: new Float32Array(this.classes) }
    }
    const chosen = new Set<number>()
    for (const target of targets) if (target >= 0) chosen.add(target)
    for (let i = 0; i < samples; i++) chosen.add(this.#find(random.uniform()))
    const classes = Int32Array.from(chosen).sort()
    const place = new Map<number, number>()
    for (const [at, c] of classes.entries()) place.set(c, at)
    // Seen from one row, a class comes in by a draw or as the target of another row.
    const draws = samples + Math.max(counted - 1, 0)
    const logExpected = Float32Array.from(classes, c =>
      Math.log(-Math.expm1(draws * Math.log1p(-Math.min(this.probability(c), 1 - Number.EPSILON)))),
    )
    return { classes, targets: targets.map(target => (target < 0 ? -1 : place.get(target)!)), logExpected }
  }

  /** The class whose share of [0, 1) holds `u`. */
  #find(u: number): number {
    let low = 0
    let high = this.classes - 1
    while (low < high) {
      const middle = (low + high) >> 1
      if (this.#cumulative[middle] > u) high = middle
      else low = middle + 1
    }
    return low
  }
}

/**
 * Softmax cross-entropy over the candidates alone: the logits are `x · weight[c]ᵀ + bias[c] − logExpected[c]`. Its
 * minimum is that of the full softmax. With all classes as candidates it is the full one.
 * @param x       (rows, width) float32
 * @param weight  (classes, width) float32
 * @param bias    (classes) float32, or null for none
 * @returns       `correct` counts rows whose target beats the other candidates, corrections included
 * @throws {RangeError} if a shape differs
 * Source: Jean et al. 2015; the correction with both true and sampled classes: TensorFlow, "Candidate sampling".
 */
export function sampledSoftmax(
  x: Float,
  weight: Float,
  bias: Float | null,
  candidates: Candidates,
  options: SoftmaxCrossEntropyOptions = {},
): LossAndCorrect {
  const { device } = x
  const targets = Tensor.from(device, candidates.targets)
  if (candidates.classes.length === weight.shape[0]) {
    return softmaxCrossEntropy(linear(x, weight, bias), targets, options)
  }
  const index = Tensor.from(device, candidates.classes)
  const offset = candidateBias(
    bias,
    index,
    Tensor.from(
      device,
      candidates.logExpected.map(value => -value),
    ),
  )
  return softmaxCrossEntropy(linear(x, gatherRows(weight, index, { ascending: true }), offset), targets, options)
}

/** `bias[index] + correction`, in the memory of the correction where there is no bias. */
function candidateBias(bias: Float | null, index: Tensor<'int32'>, correction: Float): Float {
  if (!bias) return correction
  const { device } = bias
  const column = (vector: Float) => vector.view(0, [vector.size, 1])
  const out = Tensor.empty(device, 'float32', correction.shape)
  binding.gather_rows_forward(device.handle, column(bias).handle, index.handle, column(out).handle)
  binding.add_forward(device.handle, out.handle, correction.handle, out.handle)
  const tape = currentTape()
  tape?.add(out, [bias], dout => {
    const dbias = tape.slot(bias)
    if (!dbias) return
    const [from, to] = [column(dout as Float), column(dbias.tensor as Float)]
    binding.gather_rows_backward(device.handle, index.handle, from.handle, to.handle, dbias.accumulate, true)
  })
  return out
}
