// Gradient boosted regression trees: options, fits, and the trees of a fit in the terms of a model.

import type { NumberArray, TrainedTrees } from '../../binding.js'
import { NativeTrainer, OBJECTIVES, type TrainerNumbers } from '../ops/gbrt_trainer.js'
import { BinnedMatrix } from '../runtime/binned_matrix.js'
import { expectOptions, expectRange, expectType } from '../util/errors.js'
import { given } from '../util/options.js'
import { featureInfos, GbrtModel, joinTrees } from './model.js'
import { type FitControl, Fits, type FlaggedRows, rolesOf, treesOf } from './training.js'

/** Losses that boosted trees can lower. */
export type Objective = (typeof OBJECTIVES)[number]

/** Names and defaults are LightGBM's. */
export interface GbrtOptions {
  /** `logistic` takes targets anywhere in [0, 1]; `softmax` takes classes from 0. Default `logistic`. */
  readonly objective?: Objective | undefined
  /** Classes of `softmax`, or outputs of `custom`. Default 1. */
  readonly numClass?: number | undefined
  /** Default 100. */
  readonly numIterations?: number | undefined
  /** Default 31. */
  readonly numLeaves?: number | undefined
  /** Default −1: no limit. */
  readonly maxDepth?: number | undefined
  /** Of all rounds, or of each, by its number from 0. Default 0.1. */
  readonly learningRate?: number | ((round: number) => number) | undefined
  /** Default 20. Counts of both sides of a split are estimated from Hessians where those differ, as LightGBM does. */
  readonly minDataInLeaf?: number | undefined
  /** Default 0.001. */
  readonly minSumHessianInLeaf?: number | undefined
  /** Default 0. */
  readonly minGainToSplit?: number | undefined
  /** Default 0. */
  readonly lambdaL1?: number | undefined
  /** Default 0. */
  readonly lambdaL2?: number | undefined
  /**
   * Most that a leaf's output may be, before the learning rate; 0 = no limit. Where nearly all rows are sure and a few are
   * not, steps may be of any height: 1 to 10 keeps probabilities sound there. Default 0.
   */
  readonly maxDeltaStep?: number | undefined
  /** Share of the rows that a bag holds. Default 1. */
  readonly baggingFraction?: number | undefined
  /** Rounds between two bags; 0 = no bagging. Default 0. */
  readonly baggingFreq?: number | undefined
  /** Share of the features that each tree may use. Default 1. */
  readonly featureFraction?: number | undefined
  /** Share of a tree's features that each node may be split on; LightGBM spells it so. Default 1. */
  readonly featureFractionBynode?: number | undefined
  /** Default 0. */
  readonly seed?: number | undefined
  /** Default 32. */
  readonly maxCatThreshold?: number | undefined
  /** Default 4. */
  readonly maxCatToOnehot?: number | undefined
  /** Default 10. */
  readonly catL2?: number | undefined
  /** Default 10. */
  readonly catSmooth?: number | undefined
  /** Default 100. */
  readonly minDataPerGroup?: number | undefined
  /**
   * 1 where predictions may not fall as a column rises, −1 where they may not rise; by name, or for each column. Missing
   * values are no part of it.
   */
  readonly monotoneConstraints?: Readonly<Record<string, number>> | readonly number[] | undefined
  /** Start from the mean target. Default true. */
  readonly boostFromAverage?: boolean | undefined
  /**
   * Rounds without a better validation loss before a fit stops; 0 = never. A fit without validation rows runs all its rounds: one
   * trainer chooses their number on some rows, and then fits as many on all. Default 0.
   */
  readonly earlyStoppingRound?: number | undefined
}

/** Gradients and Hessians of the caller: fills `gradients` and `hessians`, (classes, rows), from the scores. */
export type CustomObjective = (
  scores: Float64Array,
  gradients: Float32Array,
  hessians: Float32Array,
) => void | Promise<void>

/** Rows apart from the training matrix. */
export interface ValidationRows {
  /** With the trainer's bins: made by `like` of its matrix. */
  readonly matrix: BinnedMatrix
  readonly targets: NumberArray
  /** Rows of weight 0 do not count. */
  readonly weights?: NumberArray | undefined
  /** (classes, rows) scores to start from, where the training rows have some. */
  readonly scores?: Float64Array | undefined
}

/** What a fit learns from. */
export interface FitInput extends FitControl {
  /** One for each row; rows that do not train may hold anything. */
  readonly targets?: NumberArray | undefined
  /** From 0; a weight of 0 leaves a row out. An integer k up to 8191 equals k copies of the row, bit for bit. */
  readonly weights?: NumberArray | undefined
  /** 1 for rows that train, 0 for others. Default all. */
  readonly mask?: Uint8Array | undefined
  /** Rows whose loss is watched; they do not train. 1 for such rows of the matrix, or rows of another one. */
  readonly validation?: Uint8Array | ValidationRows | undefined
  /** (classes, rows) scores to start from, such as another model's. They are not part of the new model. */
  readonly scores?: Float64Array | undefined
  /**
   * A model to go on from, of the same objective and columns: the new one holds its trees too. `numIterations` counts
   * new rounds.
   */
  readonly from?: GbrtModel | undefined
  readonly custom?: CustomObjective | undefined
  /** Rounds of this fit. Default those of the trainer. */
  readonly numIterations?: number | undefined
}

/** What a fit gives. */
export interface GbrtFit {
  readonly model: GbrtModel
  /** Mean loss on the validation rows after each round. */
  readonly losses: Float64Array
  /** New rounds that the model has: those up to the best loss where there is validation and early stopping. */
  readonly rounds: number
}

const DEFAULTS = {
  objective: 'logistic' as Objective,
  numClass: 1,
  numIterations: 100,
  numLeaves: 31,
  maxDepth: -1,
  learningRate: 0.1 as number | ((round: number) => number),
  minDataInLeaf: 20,
  minSumHessianInLeaf: 1e-3,
  minGainToSplit: 0,
  lambdaL1: 0,
  lambdaL2: 0,
  maxDeltaStep: 0,
  baggingFraction: 1,
  baggingFreq: 0,
  featureFraction: 1,
  featureFractionBynode: 1,
  seed: 0,
  maxCatThreshold: 32,
  maxCatToOnehot: 4,
  catL2: 10,
  catSmooth: 10,
  minDataPerGroup: 100,
  monotoneConstraints: [] as Readonly<Record<string, number>> | readonly number[],
  boostFromAverage: true,
  earlyStoppingRound: 0,
}

/**
 * Trains on one matrix again and again: targets, weights and masks change between fits, bins and memory stay. The same
 * input gives the same model on any number of threads and any kernel variant, whatever the order of its rows.
 */
export class GbrtTrainer {
  readonly matrix: BinnedMatrix
  readonly options: Required<GbrtOptions>
  readonly #native: NativeTrainer
  readonly #fits: Fits

  /** @throws {RangeError} for options outside their range, {TypeError} for unknown ones */
  constructor(matrix: BinnedMatrix, options: GbrtOptions = {}) {
    expectOptions('GbrtTrainer', options, Object.keys(DEFAULTS))
    const all: Required<GbrtOptions> = { ...DEFAULTS, ...given(options) }
    const objective = OBJECTIVES.indexOf(all.objective)
    expectRange(objective >= 0, 'GbrtTrainer', `objective as one of ${OBJECTIVES.join(', ')}`, all.objective)
    for (const name of ['numIterations', 'earlyStoppingRound'] as const) expectRounds(name, all[name])
    this.matrix = matrix
    this.options = all
    const learningRate = typeof all.learningRate === 'function' ? 1 : all.learningRate
    const boostFromAverage = all.boostFromAverage ? 1 : 0
    const numbers: TrainerNumbers = { ...all, objective, learningRate, boostFromAverage, forest: 0 }
    this.#native = new NativeTrainer(matrix, numbers, signsOf(matrix, all.monotoneConstraints))
    this.#fits = new Fits('GbrtTrainer', this.#native)
  }

  /**
   * Fits a new model. Rows of one class give that class as a constant, as a part of few labels may have. Cancelling by `signal` ends at the next tree and leaves the trainer ready for another fit.
   * @throws {RangeError} for targets outside the objective's range, negative or NaN weights, no row left, wrong lengths
   */
  async fit(input: FitInput): Promise<GbrtFit> {
    const { targets, weights, from, custom, signal } = input
    const { objective, earlyStoppingRound, numClass } = this.options
    const { numIterations = this.options.numIterations } = input
    expectRounds('numIterations', numIterations)
    const isCustom = objective === 'custom'
    expectType(isCustom === (custom !== undefined), 'GbrtTrainer', 'custom gradients with objective custom', custom)
    const apart = this.#validationApart(input)
    const before = from ? this.#roundsOf(from, input) : 0
    const rates = this.#rates(before, numIterations)
    await this.#fits.run(numIterations, input, async () => {
      const scores = from ? await this.#scoresOf(from, this.matrix, signal) : (input.scores ?? null)
      await this.#native.begin(
        targets ?? null,
        weights ?? null,
        rolesOf('GbrtTrainer', this.matrix.rows, apart ? { mask: input.mask } : (input as FlaggedRows)),
        scores,
        before,
      )
      if (apart) {
        const started = from ? await this.#scoresOf(from, apart.matrix, signal) : (apart.scores ?? null)
        await this.#native.watch(apart.matrix, apart.targets, apart.weights ?? null, started)
      }
      signal?.throwIfAborted()
      if (custom) {
        const size = this.matrix.rows * numClass
        const [gradients, hessians] = [new Float32Array(size), new Float32Array(size)]
        for (let round = 0; round < numIterations; round++) {
          await custom(await this.#native.scores(), gradients, hessians)
          signal?.throwIfAborted()
          await this.#native.boost(1, 0, rates?.subarray(round, round + 1) ?? null, { gradients, hessians })
        }
      } else {
        await this.#native.boost(numIterations, earlyStoppingRound, rates)
      }
    })
    const trees = this.#native.trees()
    const rounds = trees.numLeaves.length / numClass
    return { model: this.#model(trees, from), losses: trees.losses, rounds }
  }

  /**
   * Scores of every row after the last fit, without a pass over the trees: (classes, rows), where `model.predict` gives (rows,
   * classes); raw as its `raw` ones are, so log-odds for logistic. Scores that the fit started from are part of them.
   */
  scores(): Promise<Float64Array<ArrayBuffer>> {
    return this.#native.scores()
  }

  /** Frees the memory of the trainer; the matrix stays. */
  dispose(): void {
    this.#native.dispose()
  }

  #roundsOf(from: GbrtModel, { scores }: FitInput): number {
    const { objective, numClass } = this.options
    const { info, features, iterations } = from
    expectRange(info.objective === objective, 'GbrtTrainer', `a model of objective ${objective}`, info.objective)
    expectRange(info.numClass === numClass, 'GbrtTrainer', `a model of ${numClass} classes`, info.numClass)
    expectRange(features === this.matrix.features, 'GbrtTrainer', `${this.matrix.features} features`, features)
    expectRange(!info.isAverage, 'GbrtTrainer', 'a model of boosted trees', 'a forest')
    expectRange(scores === undefined, 'GbrtTrainer', 'scores or a model to start from', 'both')
    return iterations
  }

  #validationApart({ validation, scores, from }: FitInput): ValidationRows | null {
    if (validation === undefined || ArrayBuffer.isView(validation)) return null
    expectOptions('GbrtTrainer', validation, ['matrix', 'targets', 'weights', 'scores'])
    const { matrix, scores: started } = validation
    expectType(matrix instanceof BinnedMatrix, 'GbrtTrainer', 'validation.matrix to be a BinnedMatrix', matrix)
    if (from) {
      expectRange(started === undefined, 'GbrtTrainer', 'validation scores or a model to start from', 'both')
    } else {
      const both = (scores === undefined) === (started === undefined)
      expectRange(both, 'GbrtTrainer', 'scores of training and of validation rows, or of neither', 'one of them')
    }
    return validation
  }

  /** (classes, rows) */
  async #scoresOf(from: GbrtModel, matrix: BinnedMatrix, signal?: AbortSignal): Promise<Float64Array> {
    const { numClass } = this.options
    const { rows } = matrix
    const byRow = await from.predictBinned(matrix, { raw: true, signal })
    return byRow.map((_, i) => byRow[(i % rows) * numClass + Math.floor(i / rows)])
  }

  #rates(before: number, rounds: number): Float64Array | null {
    const { learningRate } = this.options
    if (typeof learningRate !== 'function') return null
    return Float64Array.from({ length: rounds }, (_, round) => {
      const rate = learningRate(before + round)
      const holds = rate > 0 && rate < Number.POSITIVE_INFINITY
      expectRange(holds, 'GbrtTrainer', `learningRate(${before + round}) above 0`, rate)
      return rate
    })
  }

  #model(trained: TrainedTrees, from: GbrtModel | undefined): GbrtModel {
    const { matrix, options } = this
    const { objective, numClass, learningRate } = options
    const shrinkage = typeof learningRate === 'function' ? learningRate(0) : learningRate
    const trees = treesOf(trained, matrix)
    if (from) return new GbrtModel(from.info, joinTrees(from.trees, trees))
    const info = { objective, numClass, names: matrix.names, featureInfos: featureInfos(matrix), shrinkage }
    return new GbrtModel(info, trees)
  }
}

/** For each feature 0 none, 1 rises, 2 falls; null where there are no constraints. */
function signsOf(matrix: BinnedMatrix, given: Required<GbrtOptions>['monotoneConstraints']): Uint8Array | null {
  const { features, names } = matrix
  const signs = new Uint8Array(features)
  const list = Array.isArray(given)
  if (list && given.length > 0) {
    expectRange(given.length === features, 'GbrtTrainer', `${features} monotone constraints`, given.length)
  }
  for (const [key, sign] of Object.entries(given)) {
    const at = list ? Number(key) : names.indexOf(key)
    expectRange(at >= 0, 'GbrtTrainer', 'monotoneConstraints to name columns', key)
    const isSign = sign === 0 || sign === 1 || sign === -1
    expectRange(isSign, 'GbrtTrainer', `monotoneConstraints of 0, 1 or −1 for ${key}`, sign)
    signs[at] = sign === -1 ? 2 : sign
  }
  return signs.some(sign => sign !== 0) ? signs : null
}

function expectRounds(name: string, given: number): void {
  expectRange(Number.isInteger(given) && given >= 0, 'GbrtTrainer', `${name} to be an integer from 0`, given)
}
