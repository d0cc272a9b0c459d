// Random forests: trees on bootstraps of the rows, each node split on some of the features, averaged.

import type { NumberArray } from '../../binding.js'
import { NativeTrainer, OBJECTIVES } from '../ops/gbrt_trainer.js'
import type { BinnedMatrix } from '../runtime/binned_matrix.js'
import { expectOptions, expectRange } from '../util/errors.js'
import { given } from '../util/options.js'
import { featureInfos, GbrtModel } from './model.js'
import { type FitControl, Fits, rolesOf, treesOf } from './training.js'

/** What a random forest can be told. */
export interface RandomForestOptions {
  /** Classes, numbered from 0; 1 for targets that are numbers, or 0 and 1. Default 1. */
  readonly numClass?: number | undefined
  /** Default 100. */
  readonly numIterations?: number | undefined
  /** Most leaves of a tree. Default 256. */
  readonly numLeaves?: number | undefined
  /** Default −1: no limit. */
  readonly maxDepth?: number | undefined
  /** Rows, as often as they were drawn. Default 2. */
  readonly minDataInLeaf?: number | undefined
  /** Share of the features that each node may be split on. Default: the square root of their number, over it. */
  readonly featureFractionBynode?: number | undefined
  /** Categories; names and defaults as for boosted trees. */
  readonly maxCatThreshold?: number | undefined
  readonly maxCatToOnehot?: number | undefined
  readonly catL2?: number | undefined
  readonly catSmooth?: number | undefined
  readonly minDataPerGroup?: number | undefined
  /** Default 0. */
  readonly seed?: number | undefined
}

/** What a forest learns from. */
export interface ForestInput extends FitControl {
  /** One for each row; rows that do not train may hold anything. */
  readonly targets: NumberArray
  /** From 0. A row of weight k counts k times whenever it is drawn. */
  readonly weights?: NumberArray | undefined
  /** 1 for rows that train, 0 for others. Default all. */
  readonly mask?: Uint8Array | undefined
}

const where = 'RandomForest'

const DEFAULTS = {
  numClass: 1,
  numIterations: 100,
  numLeaves: 256,
  maxDepth: -1,
  minDataInLeaf: 2,
  maxCatThreshold: 32,
  maxCatToOnehot: 4,
  catL2: 10,
  catSmooth: 10,
  minDataPerGroup: 100,
  seed: 0,
}

/**
 * Breiman 2001, on bins: squared loss, which for targets of 0 and 1 splits as Gini impurity does, and makes leaves shares
 * of ones; of more classes each has trees of its own, so that its shares need not sum to 1. How often a row is drawn for a
 * tree is Poisson of mean 1. The same seed gives the same model on any number of threads.
 */
export class RandomForestTrainer {
  readonly matrix: BinnedMatrix
  readonly options: Required<RandomForestOptions>
  readonly #native: NativeTrainer
  readonly #fits: Fits

  /** @throws {RangeError} for options outside their range, {TypeError} for unknown ones */
  constructor(matrix: BinnedMatrix, options: RandomForestOptions = {}) {
    expectOptions(where, options, [...Object.keys(DEFAULTS), 'featureFractionBynode'])
    const featureFractionBynode = Math.sqrt(matrix.features) / matrix.features
    const all: Required<RandomForestOptions> = { featureFractionBynode, ...DEFAULTS, ...given(options) }
    const { numIterations } = all
    const isCount = Number.isInteger(numIterations) && numIterations >= 1
    expectRange(isCount, where, 'numIterations to be an integer from 1', numIterations)
    this.matrix = matrix
    this.options = all
    const boosting = { learningRate: 1, baggingFraction: 1, baggingFreq: 0, featureFraction: 1, boostFromAverage: 1 }
    const bare = { minSumHessianInLeaf: 0, minGainToSplit: 0, lambdaL1: 0, lambdaL2: 0, maxDeltaStep: 0 }
    const objective = OBJECTIVES.indexOf('squared')
    this.#native = new NativeTrainer(matrix, { ...all, ...boosting, ...bare, objective, forest: 1 }, null)
    this.#fits = new Fits(where, this.#native)
  }

  /**
   * Fits a new forest. Cancelling by `signal` ends at the next tree and leaves the trainer ready for another fit.
   * @throws {RangeError} for targets that are no classes or not finite, negative or NaN weights, no row left
   */
  async fit(input: ForestInput): Promise<GbrtModel> {
    const { targets, weights, signal } = input
    const { numIterations, numClass } = this.options
    await this.#fits.run(numIterations, input, async () => {
      await this.#native.begin(targets, weights ?? null, rolesOf(where, this.matrix.rows, input), null, 0)
      signal?.throwIfAborted()
      await this.#native.boost(numIterations, 0, null)
    })
    const { names } = this.matrix
    const info = { objective: 'squared', numClass, names, featureInfos: featureInfos(this.matrix) } as const
    return new GbrtModel({ ...info, isAverage: true, shrinkage: 1 }, treesOf(this.#native.trees(), this.matrix))
  }

  /**
   * (classes, rows): what the trees of the last fit that a row was no part of say of it, on average. Of rows that did not
   * train that is the model's prediction; of others an honest one. NaN where each tree saw the row.
   */
  async outOfBagScores(): Promise<Float64Array<ArrayBuffer>> {
    return this.#native.scores()
  }

  /** Frees the memory of the trainer; the matrix stays. */
  dispose(): void {
    this.#native.dispose()
  }
}
