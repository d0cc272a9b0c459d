// Boosted trees as a probe's learner: their number is chosen inside the training part.

import { BinnedMatrix } from '../runtime/binned_matrix.js'
import type { Device } from '../runtime/device.js'
import { GbrtTrainer } from '../trees/gbrt.js'
import type { GbrtModel } from '../trees/model.js'
import { inTurns, Pace } from '../util/pace.js'
import { type FitControl, innerPartsOf, type Judged, judgeSteps, type Problem, type SetLearner } from './learner.js'
import type { Block } from './linear/scaling.js'

/** How they were chosen: docs/probe.md. */
const shape = {
  numIterations: 200,
  learningRate: 0.05,
  numLeaves: 15,
  lambdaL2: 5,
  earlyStoppingRound: 20,
} as const
/** Fewer order rows badly, however early the log loss of rare or noisy classes was at its best. */
const fewestRounds = 50
/** Share of the columns that a tree sees, and how many at least: columns of events are many, and alike. */
const sharedColumns = 0.1
const fewestColumns = 24
/** Few rows have no use for more, and search costs as much as the bins are many. */
const maxBin = 63

type Column = Float32Array | Float64Array

export class BoostedLearner implements SetLearner {
  readonly #problem: Problem
  readonly #columns: readonly Column[]
  readonly #matrix: BinnedMatrix

  private constructor(problem: Problem, columns: readonly Column[], matrix: BinnedMatrix) {
    this.#problem = problem
    this.#columns = columns
    this.#matrix = matrix
  }

  /** Bins come from all joined rows, which show no label. */
  static async build(device: Device, blocks: readonly Block[], problem: Problem, signal?: AbortSignal) {
    const pace = new Pace(signal)
    const columns: Column[] = []
    for (const { columns: sources, rows } of blocks) {
      for (const { values, start, stride } of sources) {
        await pace.turn()
        columns.push(taken(values, rows, start, stride))
      }
    }
    const matrix = await BinnedMatrix.from(device, { columns }, { maxBin, seed: problem.seed, signal })
    return new BoostedLearner(problem, columns, matrix)
  }

  /** Rows of all folds stay on one matrix: masks say who trains. */
  async folds({ signal, onProgress }: FitControl): Promise<Judged[]> {
    const { classes, folds } = this.#problem
    const fewest = folds.reduce((least, { train }) => Math.min(least, train.length), classes.length)
    const trainer = this.#trainer(this.#matrix, fewest)
    const qualities: Judged[] = []
    try {
      for (const [f, { train, test }] of folds.entries()) {
        await this.#fit(trainer, classes, train, signal)
        qualities.push(await this.#judged(await trainer.scores(), test, signal))
        onProgress((f + 1) / folds.length)
      }
    } finally {
      trainer.dispose()
    }
    return qualities
  }

  /** Each draw on a small matrix of its own rows, then one pass to score all. */
  async draws(draws: readonly Int32Array[][], { signal, onProgress }: FitControl): Promise<Judged[]> {
    const { folds } = this.#problem
    const qualities: Judged[] = []
    for (const [f, { test }] of folds.entries()) {
      for (const rows of draws[f]) {
        qualities.push(await this.#judged(await this.#fitDraw(rows, signal), test, signal))
      }
      onProgress((f + 1) / folds.length)
    }
    return qualities
  }

  dispose(): void {
    this.#matrix.dispose()
  }

  async #judged(scores: Float64Array, test: Int32Array, signal?: AbortSignal): Promise<Judged> {
    return { ...(await inTurns(judgeSteps(scores, this.#problem, test), signal)), loss: null }
  }

  async #fitDraw(rows: Int32Array, signal?: AbortSignal): Promise<Float64Array> {
    const classes = rows.map(row => this.#problem.classes[row])
    const columns = this.#columns.map(column => taken(column, rows, 0, 1))
    const small = await this.#matrix.like({ columns }, { signal })
    const trainer = this.#trainer(small, rows.length)
    try {
      const model = await this.#fit(
        trainer,
        classes,
        rows.map((_, row) => row),
        signal,
      )
      return transposed(await model.predictBinned(this.#matrix, { raw: true, signal }), model.info.numClass)
    } finally {
      trainer.dispose()
      small.dispose()
    }
  }

  #trainer(matrix: BinnedMatrix, train: number): GbrtTrainer {
    const { count, seed } = this.#problem
    const minDataInLeaf = Math.min(20, Math.max(2, Math.floor(train / 25)))
    const goal =
      count === 2 ? ({ objective: 'logistic' } as const) : ({ objective: 'softmax', numClass: count } as const)
    const featureFraction = Math.min(1, Math.max(sharedColumns, fewestColumns / matrix.features))
    return new GbrtTrainer(matrix, { ...goal, ...shape, minDataInLeaf, featureFraction, seed })
  }

  /** As many trees as served the parts of `train` best that were left out in turn. */
  async #fit(trainer: GbrtTrainer, targets: Int32Array, train: Int32Array, signal?: AbortSignal): Promise<GbrtModel> {
    const mask = marked(targets.length, train)
    const sums = new Float64Array(shape.numIterations)
    const parts = await innerPartsOf(train, targets, this.#problem, signal)
    for (const part of parts) {
      const own = mask.slice()
      for (const row of part) own[row] = 0
      const { losses } = await trainer.fit({ targets, mask: own, validation: marked(targets.length, part), signal })
      // A fit that ended early stays as it is.
      for (let round = 0; round < sums.length; round++)
        sums[round] += part.length * losses[Math.min(round, losses.length - 1)]
    }
    const best = parts.length > 0 ? sums.indexOf(Math.min(...sums)) + 1 : fewestRounds
    const numIterations = Math.max(fewestRounds, best)
    return (await trainer.fit({ targets, mask, numIterations, signal })).model
  }
}

function taken(values: Column, rows: Int32Array, start: number, stride: number): Column {
  const out = values instanceof Float32Array ? new Float32Array(rows.length) : new Float64Array(rows.length)
  for (let r = 0; r < rows.length; r++) out[r] = values[start + rows[r] * stride]
  return out
}

function marked(length: number, rows: Int32Array): Uint8Array {
  const out = new Uint8Array(length)
  for (const row of rows) out[row] = 1
  return out
}

/** (rows, outputs) as (outputs, rows) */
function transposed(values: Float64Array, outputs: number): Float64Array {
  const rows = values.length / outputs
  return values.map((_, i) => values[(i % rows) * outputs + Math.floor(i / rows)])
}
