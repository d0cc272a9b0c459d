// What the PU loops refit: boosted trees or a random forest, on soft targets, masks and integer weights of one matrix.

import type { BinnedMatrix } from '../runtime/binned_matrix.js'
import { type GbrtOptions, GbrtTrainer } from '../trees/gbrt.js'
import type { GbrtModel } from '../trees/model.js'
import { type RandomForestOptions, RandomForestTrainer } from '../trees/random_forest.js'
import type { FitControl } from '../trees/training.js'
import { expectRange, expectType } from '../util/errors.js'
import { inSlices } from '../util/pace.js'

/** What one refit learns from. */
export interface PuTargets extends FitControl {
  /** In [0, 1]. */
  readonly targets: Float32Array
  /** Default: every row weighs 1. */
  readonly weights?: Float32Array | undefined
  /** Default: every row trains. */
  readonly mask?: Uint8Array | undefined
}

/** What one refit gives. */
export interface PuFit {
  readonly model: GbrtModel
  /** In [0, 1], one for each row of the matrix. */
  readonly scores: Float64Array
}

/** A learner that keeps its memory from fit to fit. */
export interface PuLearner {
  readonly matrix: BinnedMatrix
  /** A model of these targets, and the scores of all rows. */
  fit(input: PuTargets): Promise<PuFit>
  /** Frees what is kept from fit to fit. */
  dispose(): void
}

/** What is refitted in each round: boosted trees or a random forest. */
export type LearnerKind = 'gbrt' | 'forest'

/** Boosted trees: `squared` scores are kept within [0, 1], `logistic` ones are probabilities. */
export class BoostedPuLearner implements PuLearner {
  readonly matrix: BinnedMatrix
  readonly #trainer: GbrtTrainer

  /** @throws {RangeError} for objectives that have no score in [0, 1] */
  constructor(matrix: BinnedMatrix, options: GbrtOptions) {
    const { objective = 'logistic' } = options
    const isScore = objective === 'squared' || objective === 'logistic'
    expectRange(isScore, 'pu', "objective 'squared' or 'logistic'", objective)
    this.matrix = matrix
    this.#trainer = new GbrtTrainer(matrix, options)
  }

  async fit({ targets, weights, mask, signal, onProgress }: PuTargets): Promise<PuFit> {
    const { model } = await this.#trainer.fit({ targets, weights, mask, signal, onProgress })
    const scores = await this.#trainer.scores()
    const isLogistic = model.info.objective === 'logistic'
    await inSlices(scores.length, signal, (from, to) => {
      for (let row = from; row < to; row++) {
        const raw = scores[row]
        scores[row] = isLogistic ? 1 / (1 + Math.exp(-raw)) : Math.min(1, Math.max(0, raw))
      }
    })
    return { model, scores }
  }

  dispose(): void {
    this.#trainer.dispose()
  }
}

/** A random forest. Rows that trained are scored by the trees that did not see them. */
export class ForestPuLearner implements PuLearner {
  readonly matrix: BinnedMatrix
  readonly #trainer: RandomForestTrainer

  constructor(matrix: BinnedMatrix, options: RandomForestOptions) {
    this.matrix = matrix
    this.#trainer = new RandomForestTrainer(matrix, options)
  }

  async fit({ targets, weights, mask, signal, onProgress }: PuTargets): Promise<PuFit> {
    const model = await this.#trainer.fit({ targets, weights, mask, signal, onProgress })
    const scores = await this.#trainer.outOfBagScores()
    // Means of rounded numbers may leave [0, 1] by a hair.
    const kept = (score: number) => Math.min(1, Math.max(0, score))
    let isWhole = true
    await inSlices(scores.length, signal, (from, to) => {
      for (let row = from; row < to; row++) {
        if (Number.isNaN(scores[row])) isWhole = false
        else scores[row] = kept(scores[row])
      }
    })
    if (isWhole) return { model, scores }
    // Seen by each tree: the model's own word is all there is.
    const own = await model.predictBinned(this.matrix, { signal })
    await inSlices(scores.length, signal, (from, to) => {
      for (let row = from; row < to; row++) if (Number.isNaN(scores[row])) scores[row] = kept(own[row])
    })
    return { model, scores }
  }

  dispose(): void {
    this.#trainer.dispose()
  }
}

/** Which learner, and its own options. */
export interface LearnerOptions {
  /** Default `gbrt`. */
  readonly learner?: LearnerKind | undefined
  /** Over the defaults of the PU loop. */
  readonly gbrt?: GbrtOptions | undefined
  readonly forest?: RandomForestOptions | undefined
}

export function openLearner(
  matrix: BinnedMatrix,
  { learner = 'gbrt', gbrt = {}, forest = {} }: LearnerOptions,
): PuLearner {
  expectLearner(learner)
  return learner === 'gbrt' ? new BoostedPuLearner(matrix, gbrt) : new ForestPuLearner(matrix, forest)
}

/** @throws {TypeError} for learners that do not exist */
export function expectLearner(learner: LearnerKind): void {
  expectType(learner === 'gbrt' || learner === 'forest', 'pu', "learner 'gbrt' or 'forest'", learner)
}
