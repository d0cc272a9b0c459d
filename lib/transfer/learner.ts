// What a probe's learners have in common: the problem, and how good their scores are on it.

import { accuracy, aucSteps, macroAucSteps } from '../report/metrics.js'
import { inTurns, type Steps } from '../util/pace.js'
import { Philox } from '../util/philox.js'
import { innerPartsSteps, ROWS_PER_STEP } from './folds.js'

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
export function innerPartsOf(
  train: Int32Array,
  classes: Int32Array,
  { seed }: Problem,
  signal?: AbortSignal,
): Promise<Int32Array[]> {
  return inTurns(innerPartsSteps(train, classes, new Philox(seed, streams.inner)), signal)
}

/** Quality on some rows of scores (outputs, all rows), in short steps. */
export function* judgeSteps(
  scores: Float32Array | Float64Array,
  { classes, count }: Problem,
  test: Int32Array,
): Steps<Quality> {
  const outputs = count === 2 ? 1 : count
  const rows = classes.length
  const truth = new Int32Array(test.length)
  const own = new Float32Array(test.length * outputs)
  const predicted = new Int32Array(test.length)
  for (let t = 0; t < test.length; t++) {
    if (t % ROWS_PER_STEP === 0) yield
    truth[t] = classes[test[t]]
    for (let c = 0; c < outputs; c++) {
      own[t * outputs + c] = scores[c * rows + test[t]]
      if (own[t * outputs + c] > own[t * outputs + predicted[t]]) predicted[t] = c
    }
  }
  if (count === 2) return { score: yield* aucSteps(own, truth), held: own }
  // Softmax against the other classes orders the rows of one class; plain scores share a free constant per row.
  const probabilities = yield* softmaxSteps(own, count)
  return { score: accuracy(predicted, truth), macroAuc: yield* macroAucSteps(probabilities, truth, count) }
}

/** Probabilities, row by row; float64, as float32 ones would tie near 1. */
function* softmaxSteps(scores: Float32Array, count: number): Steps<Float64Array> {
  const out = new Float64Array(scores.length)
  for (let start = 0, row = 0; start < out.length; start += count, row++) {
    if (row % ROWS_PER_STEP === 0) yield
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
