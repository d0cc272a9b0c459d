// L2-regularised logistic regression (two classes) and softmax regression (more), by L-BFGS, on a device. Regressions
// that are solved at the same time over the same rows share each pass over the matrix.

import { logisticGradient } from '../../ops/logistic.js'
import { scope, Tensor, unscoped } from '../../runtime/tensor.js'
import { inTurns, Pace, type Steps } from '../../util/pace.js'
import { ROWS_PER_STEP } from '../folds.js'
import type { DesignMatrix, Preconditioner, SolvableDesign } from './design.js'
import { type MinimiseOptions, minimise } from './lbfgs.js'
import { RowSpace } from './row_space.js'
import { TridiagonalBasis } from './tridiagonal_basis.js'

/** Strengths that are tried, strong to weak: α of the penalty α/2·‖w‖² beside the sum of losses (1/C elsewhere). */
export const defaultStrengths: readonly number[] = [30000, 6000, 1200, 240, 48, 10, 2]

/** Weaker strengths are not tried any more once so many in a row have not lowered the validation loss by this share. */
const patience = 2
const leastGain = 1e-4
/** Fits that only serve to compare strengths stop earlier. */
const roughly = { tolerance: 3e-5, leastDecrease: 1e-7 }
/** Smallest eigenvalue of a Hessian that is trusted. */
const rounding = 1e-6
/** With more rows than so many per column the passes over them cost more than the solves that another basis would save. */
const mostRowsPerColumn = 32
/** Lines of weights that one pass takes at most; they cost scratch memory. */
const mostLines = 256

interface Waiting {
  readonly problem: number
  readonly weights: Float64Array
  readonly done: (at: { loss: number; gradient: Float64Array }) => void
  readonly failed: (error: unknown) => void
}

/** Regressions over the rows of one matrix, one for each line of `targets`. */
class Regressions {
  readonly #matrix: SolvableDesign
  readonly #targets: Tensor<'int32'>
  readonly #outputs: number
  #waiting: Waiting[] = []

  private constructor(matrix: SolvableDesign, problems: number, outputs: number) {
    this.#matrix = matrix
    this.#outputs = outputs
    this.#targets = unscoped(() => Tensor.empty(matrix.x.device, 'int32', [problems, matrix.rows]))
  }

  /** @param targets  per problem and row the class, or −1 where a row does not count */
  static async of(
    matrix: SolvableDesign,
    targets: readonly Int32Array[],
    outputs: number,
    signal?: AbortSignal,
  ): Promise<Regressions> {
    const regressions = new Regressions(matrix, targets.length, outputs)
    const pace = new Pace(signal)
    try {
      for (const [p, line] of targets.entries()) {
        scope(() => void regressions.#targets.view(p * matrix.rows, [matrix.rows]).write(line))
        await pace.turn()
      }
    } catch (error) {
      regressions.dispose()
      throw error
    }
    return regressions
  }

  /** Sum of losses and its gradient. What is asked for in one turn of the event loop is answered in one pass. */
  evaluate(problem: number, weights: Float64Array): Promise<{ loss: number; gradient: Float64Array }> {
    return new Promise((done, failed) => {
      if (this.#waiting.length === 0) setImmediate(() => this.#flush())
      this.#waiting.push({ problem, weights, done, failed })
    })
  }

  dispose(): void {
    this.#targets.dispose()
  }

  /** Losses and gradients, on their way. */
  #submit(calls: readonly Waiting[]): Promise<[losses: Float32Array, gradients: Float32Array]> {
    const { x } = this.#matrix
    const size = this.#outputs * x.shape[1]
    const weights = new Float32Array(calls.length * size)
    calls.forEach((call, c) => {
      weights.set(call.weights, c * size)
    })
    return scope(() => {
      const problems = Int32Array.from(calls, call => call.problem)
      const weight = Tensor.from(x.device, weights, [calls.length, this.#outputs, x.shape[1]])
      const { loss, gradient } = logisticGradient(x, this.#targets, Tensor.from(x.device, problems), weight)
      return Promise.all([loss.read(), gradient.read()])
    })
  }

  #flush(): void {
    const waiting = this.#waiting
    this.#waiting = []
    const calls = Math.max(1, Math.floor(mostLines / this.#outputs))
    for (let begin = 0; begin < waiting.length; begin += calls) this.#answer(waiting.slice(begin, begin + calls))
  }

  async #answer(waiting: readonly Waiting[]): Promise<void> {
    try {
      const [losses, gradients] = await this.#submit(waiting)
      const size = gradients.length / waiting.length
      waiting.forEach(({ done }, w) => {
        const own = Float64Array.from(gradients.subarray(w * size, (w + 1) * size))
        done({ loss: losses[2 * w] + losses[2 * w + 1], gradient: own })
      })
    } catch (error) {
      for (const { failed } of waiting) failed(error)
    }
  }
}

type Stop = Pick<MinimiseOptions, 'tolerance' | 'leastDecrease'>

interface Candidate {
  readonly strength: number
  readonly loss: number
  readonly weights: Float64Array
}

/** Rows of one regression, and how its strength is chosen. */
export interface FitTask {
  /** Rows of the matrix to learn from. */
  readonly train: Int32Array
  /** Parts of `train` to judge strengths on, each left out once; none: the strength is `columns`. */
  readonly innerFolds: readonly Int32Array[]
}

export interface FittedTask {
  /** (outputs, padded width of the matrix), in standardised columns. */
  readonly weights: Float64Array
  readonly strength: number
  /** Mean validation loss of the strengths that were tried. */
  readonly path: readonly { readonly strength: number; readonly loss: number }[]
}

export interface FitOptions {
  readonly strengths?: readonly number[]
  readonly tolerance?: number
  readonly leastDecrease?: number
  readonly signal?: AbortSignal
  /** Called with the share of the work done, 0 … 1. */
  readonly onProgress?: (done: number) => void
}

/**
 * Fits all tasks side by side. Each chooses its strength by cross-validated log loss inside its own training rows, from
 * strong to weak with warm starts, and is then fitted on all of them.
 * @param classes  per row of the matrix the class, 0 … count − 1
 * @param count    number of classes; two give one output, the logit of class 1
 */
export async function fitLogistic(
  matrix: DesignMatrix,
  classes: Int32Array,
  count: number,
  tasks: readonly FitTask[],
  options: FitOptions = {},
): Promise<FittedTask[]> {
  const { rows, columns } = matrix
  const { signal } = options
  if (rows > mostRowsPerColumn * columns) return fitDesign(matrix, columns, classes, count, tasks, options)
  const space = rows < columns ? await RowSpace.of(matrix, signal) : null
  let basis: TridiagonalBasis | null = null
  try {
    basis = await TridiagonalBasis.of(space ?? matrix, signal)
    const fitted = await fitDesign(basis, columns, classes, count, tasks, options)
    const outputs = count === 2 ? 1 : count
    const weights: Float64Array[] = []
    for (const task of fitted) {
      const own = await basis.onColumns(task.weights, outputs, signal)
      weights.push(space ? await space.onColumns(own, outputs, signal) : own)
    }
    return fitted.map((task, t) => ({ ...task, weights: weights[t] }))
  } finally {
    basis?.dispose()
    space?.dispose()
  }
}

interface Plan {
  readonly whole: { readonly problem: number; readonly rows: number }
  readonly inner: readonly { readonly problem: number; readonly rows: number; readonly held: number }[]
}

/** Which lines of targets each task solves, those lines, and how frequent the classes are in all tasks. */
function* planSteps(
  rows: number,
  classes: Int32Array,
  count: number,
  tasks: readonly FitTask[],
): Steps<{ plans: Plan[]; lines: Int32Array[]; rates: Float64Array }> {
  const lines: Int32Array[] = []
  const rates = new Float64Array(count)
  /** Writes the classes of some rows into a line, or −1. Gives its number. */
  function* write(line: Int32Array, own: Int32Array, isKnown: boolean): Steps<number> {
    for (let i = 0; i < own.length; i++) {
      if (i % ROWS_PER_STEP === 0) yield
      line[own[i]] = isKnown ? classes[own[i]] : -1
    }
    return lines.push(line) - 1
  }
  const none = () => new Int32Array(rows).fill(-1)
  const plans: Plan[] = []
  for (const { train, innerFolds } of tasks) {
    const problem = yield* write(none(), train, true)
    const inner: Plan['inner'][number][] = []
    for (const held of innerFolds) {
      const rest = yield* write(lines[problem].slice(), held, false)
      inner.push({ problem: rest, rows: train.length - held.length, held: yield* write(none(), held, true) })
    }
    for (let i = 0; i < train.length; i++) {
      if (i % ROWS_PER_STEP === 0) yield
      rates[classes[train[i]]]++
    }
    plans.push({ whole: { problem, rows: train.length }, inner })
  }
  return { plans, lines, rates }
}

async function fitDesign(
  matrix: SolvableDesign,
  usual: number,
  classes: Int32Array,
  count: number,
  tasks: readonly FitTask[],
  options: FitOptions,
): Promise<FittedTask[]> {
  const { strengths = defaultStrengths, onProgress } = options
  const outputs = count === 2 ? 1 : count
  const { plans, lines, rates } = await inTurns(planSteps(matrix.rows, classes, count, tasks), options.signal)
  const total = rates.reduce((sum, rate) => sum + rate)
  const curvature = rates.reduce((sum, rate) => sum + (rate / total) * (1 - rate / total), 0) / count
  const regressions = await Regressions.of(matrix, lines, outputs, options.signal)
  const width = matrix.x.shape[1]
  const steps = plans.reduce((sum, plan) => sum + 1 + (plan.inner.length > 0 ? strengths.length : 0), 0)
  let taken = 0
  const advance = (by: number) => {
    taken += by
    onProgress?.(taken / steps)
  }

  const made = new Map<number, Promise<Preconditioner>>()
  /** The inverse of the Hessian where all scores are those of the class rates, about: it makes all directions alike. */
  const preconditioner = async (strength: number) => {
    const ridge = strength / tasks[0].train.length + rounding
    if (!made.has(strength)) made.set(strength, matrix.preconditioner(curvature, ridge, options.signal))
    const solve = await made.get(strength)!
    return (gradient: Float64Array) => {
      for (let k = 0; k < outputs; k++) solve(gradient, k * width)
    }
  }
  const solve = async (problem: number, rows: number, strength: number, start: Float64Array, stop: Stop = {}) => {
    const precondition = await preconditioner(strength)
    const objective = async (weights: Float64Array) => {
      const { loss, gradient } = await regressions.evaluate(problem, weights)
      let penalty = 0
      for (let i = 0; i < weights.length; i++) gradient[i] /= rows
      for (let at = 0; at < weights.length; at += width) {
        for (let i = at; i < at + matrix.columns; i++) {
          penalty += weights[i] * weights[i]
          gradient[i] += (strength / rows) * weights[i]
        }
      }
      return { loss: loss / rows + (strength / rows / 2) * penalty, gradient }
    }
    return (await minimise(objective, start, { ...options, ...stop, precondition })).weights
  }

  const fit = async ({ whole, inner }: Plan): Promise<FittedTask> => {
    const start = () => new Float64Array(outputs * width)
    const path: { strength: number; loss: number }[] = []
    let best: Candidate = { strength: usual, loss: Number.POSITIVE_INFINITY, weights: start() }
    let warm: Float64Array[] = inner.map(start)
    let worse = 0
    for (let s = 0; s < strengths.length && inner.length > 0 && worse < patience; s++) {
      const strength = strengths[s]
      warm = await allDone(inner.map(({ problem, rows }, i) => solve(problem, rows, strength, warm[i], roughly)))
      const held = await allDone(inner.map((fold, i) => regressions.evaluate(fold.held, warm[i])))
      const loss = held.reduce((sum, at) => sum + at.loss, 0) / whole.rows
      path.push({ strength, loss })
      worse = loss < best.loss * (1 - leastGain) ? 0 : worse + 1
      if (loss < best.loss) best = { strength, loss, weights: warm[0] }
      advance(1)
    }
    if (inner.length > 0) advance(strengths.length - path.length)
    const weights = await solve(whole.problem, whole.rows, best.strength, best.weights)
    advance(1)
    return { weights, strength: best.strength, path }
  }
  try {
    return await allDone(plans.map(fit))
  } finally {
    regressions.dispose()
  }
}

/** Waits for all, even when one fails: what they share is freed afterwards. */
export async function allDone<T>(promises: readonly Promise<T>[]): Promise<T[]> {
  const ended = await Promise.allSettled(promises)
  return ended.map(end => {
    if (end.status === 'rejected') throw end.reason
    return end.value
  })
}
