// Logistic regression as a probe's learner: its strength is chosen inside the training part.

import type { Device } from '../runtime/device.js'
import { inTurns } from '../util/pace.js'
import { type FitControl, innerPartsOf, type Judged, judgeSteps, type Problem, type SetLearner } from './learner.js'
import { DesignMatrix } from './linear/design.js'
import { allDone, type FitTask, type FittedTask, fitLogistic } from './linear/logistic.js'
import type { Bend, Block } from './linear/scaling.js'

/** The best of those compared by cross-validated AUC on hand-made aggregates of ten data sets; see docs/probe.md. */
const bend: Bend = 'auto'

export class LinearLearner implements SetLearner {
  readonly #matrix: DesignMatrix
  readonly #problem: Problem

  private constructor(matrix: DesignMatrix, problem: Problem) {
    this.#matrix = matrix
    this.#problem = problem
  }

  static async build(device: Device, blocks: readonly Block[], problem: Problem, signal?: AbortSignal) {
    return new LinearLearner(await DesignMatrix.build(device, blocks, { bend, signal }), problem)
  }

  /** All folds at once: they share each pass over the matrix. */
  async folds(control: FitControl): Promise<Judged[]> {
    const { classes, count, folds } = this.#problem
    const tasks: FitTask[] = []
    for (const { train } of folds) tasks.push(await this.#task(train, classes, control.signal))
    const fitted = await fitLogistic(this.#matrix, classes, count, tasks, control)
    const scores = await this.#scores(fitted)
    const qualities: Judged[] = []
    for (const [f, own] of scores.entries()) {
      const quality = await inTurns(judgeSteps(own, this.#problem, folds[f].test), control.signal)
      qualities.push({ ...quality, loss: lossOf(fitted[f]) })
    }
    return qualities
  }

  /** Each draw on a small matrix of its own rows, then one pass to score the test part. */
  async draws(draws: readonly Int32Array[][], control: FitControl): Promise<Judged[]> {
    const { folds } = this.#problem
    const qualities: Judged[] = []
    for (let f = 0; f < folds.length; f++) {
      const fitted = await allDone(draws[f].map(rows => this.#fitDraw(rows, control.signal)))
      const scores = await this.#scores(fitted)
      for (const [d, own] of scores.entries()) {
        const quality = await inTurns(judgeSteps(own, this.#problem, folds[f].test), control.signal)
        qualities.push({ ...quality, loss: lossOf(fitted[d]) })
      }
      control.onProgress((f + 1) / folds.length)
    }
    return qualities
  }

  dispose(): void {
    this.#matrix.dispose()
  }

  async #fitDraw(rows: Int32Array, signal?: AbortSignal): Promise<FittedTask> {
    const small = await this.#matrix.select(rows, signal)
    try {
      const classes = rows.map(row => this.#problem.classes[row])
      const train = rows.map((_, row) => row)
      const task = await this.#task(train, classes, signal)
      const [fitted] = await fitLogistic(small, classes, this.#problem.count, [task], { signal })
      return fitted
    } finally {
      small.dispose()
    }
  }

  async #task(train: Int32Array, classes: Int32Array, signal?: AbortSignal): Promise<FitTask> {
    return { train, innerFolds: await innerPartsOf(train, classes, this.#problem, signal) }
  }

  #scores(fitted: readonly FittedTask[]): Promise<Float32Array[]> {
    const { count } = this.#problem
    const weights = fitted.map(task => task.weights)
    return this.#matrix.scores(weights, count === 2 ? 1 : count)
  }
}

function lossOf({ path }: FittedTask): number | null {
  return path.length > 0 ? Math.min(...path.map(({ loss }) => loss)) : null
}
