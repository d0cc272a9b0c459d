// What a probe's learners have in common: the problem, and how good their scores are on it.

import { accuracy, auc, macroAuc } from '../report/metrics.js'
import { Philox } from '../util/philox.js'
import { innerParts } from './folds.js'

/** Philox streams of one seed. */
export const streams = { folds: 0, inner: 1, draws: 2 ** 16 }

export interface Problem {
  readonly seed: number
  /** Class of each row, 0 … count − 1. */
  readonly classes: Int32Array
  readonly count: number
  readonly folds: readonly { readonly train: Int32Array; readonly test: Int32Array; readonly name: number }[]
}

export interface Quality {
  readonly score: number
  readonly macroAuc?: number
  /** Two classes: scores of the rows judged, in their order. */
  readonly held?: Float32Array
}

/** `loss`: validation loss inside the training part, by which choices are made; null where nothing was validated. */
export interface Judged extends Quality {
  readonly loss: number | null
}

export interface FitControl {
  readonly signal?: AbortSignal
  readonly onProgress: (done: number) => void
}

/** Learns from one set of columns, again and again. */
export interface SetLearner {
  /** Trains on each fold's training part, and judges on its test part. */
  folds(control: FitControl): Promise<Judged[]>
  /** Trains on each draw of few rows; fold by fold, draw by draw. */
  draws(draws: readonly Int32Array[][], control: FitControl): Promise<Judged[]>
  dispose(): void
}

/** Parts of the training rows to make choices on; none where a class is too rare. */
export function innerPartsOf(train: Int32Array, classes: Int32Array, { seed }: Problem): Int32Array[] {
  return innerParts(train, classes, new Philox(seed, streams.inner))
}

/** Quality on some rows of scores (outputs, all rows). */
export function judge(scores: Float32Array | Float64Array, problem: Problem, test: Int32Array): Quality {
  const { classes, count } = problem
  const truth = test.map(row => classes[row])
  if (count === 2) {
    const own = Float32Array.from(test, row => scores[row])
    return { score: auc(own, truth), held: own }
  }
  const rows = classes.length
  const own = new Float32Array(test.length * count)
  const predicted = new Int32Array(test.length)
  for (let t = 0; t < test.length; t++) {
    for (let c = 0; c < count; c++) {
      own[t * count + c] = scores[c * rows + test[t]]
      if (own[t * count + c] > own[t * count + predicted[t]]) predicted[t] = c
    }
  }
  // Softmax against the other classes orders the rows of one class; plain scores share a free constant per row.
  return { score: accuracy(predicted, truth), macroAuc: macroAuc(softmaxRows(own, count), truth, count) }
}

/** Probabilities, row by row; float64, as float32 ones would tie near 1. */
function softmaxRows(scores: Float32Array, count: number): Float64Array {
  const out = new Float64Array(scores.length)
  for (let start = 0; start < out.length; start += count) {
    let largest = scores[start]
    for (let c = 1; c < count; c++) largest = Math.max(largest, scores[start + c])
    let total = 0
    for (let c = 0; c < count; c++) {
      out[start + c] = Math.exp(scores[start + c] - largest)
      total += out[start + c]
    }
    for (let c = 0; c < count; c++) out[start + c] /= total
  }
  return out
}
