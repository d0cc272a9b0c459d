// Gradient boosted regression trees: options, fits, and the trees of a fit in the terms of a model.

import type { NumberArray, TrainedTrees } from '../../binding.js'
import { NativeTrainer, OBJECTIVES, type TrainerNumbers } from '../ops/gbrt_trainer.js'
import type { BinnedMatrix } from '../runtime/binned_matrix.js'
import { expectOptions, expectRange, expectType, SeqriskError } from '../util/errors.js'
import { featureInfos, GbrtModel, type Trees } from './model.js'

export type Objective = (typeof OBJECTIVES)[number]

/** Names and defaults are LightGBM's. */
export interface GbrtOptions {
  /** `logistic` takes targets anywhere in [0, 1]; `softmax` takes classes from 0. Default `logistic`. */
  readonly objective?: Objective
  /** Classes of `softmax`, or outputs of `custom`. Default 1. */
  readonly numClass?: number
  /** Default 100. */
  readonly numIterations?: number
  /** Default 31. */
  readonly numLeaves?: number
  /** Default −1: no limit. */
  readonly maxDepth?: number
  /** Default 0.1. */
  readonly learningRate?: number
  /** Default 20. Counts of both sides of a split are estimated from Hessians where those differ, as LightGBM does. */
  readonly minDataInLeaf?: number
  /** Default 0.001. */
  readonly minSumHessianInLeaf?: number
  /** Default 0. */
  readonly minGainToSplit?: number
  /** Default 0. */
  readonly lambdaL1?: number
  /** Default 0. */
  readonly lambdaL2?: number
  /** Share of the rows that a bag holds. Default 1. */
  readonly baggingFraction?: number
  /** Rounds between two bags; 0 = no bagging. Default 0. */
  readonly baggingFreq?: number
  /** Share of the features that each tree may use. Default 1. */
  readonly featureFraction?: number
  /** Default 0. */
  readonly seed?: number
  /** Default 32. */
  readonly maxCatThreshold?: number
  /** Default 4. */
  readonly maxCatToOnehot?: number
  /** Default 10. */
  readonly catL2?: number
  /** Default 10. */
  readonly catSmooth?: number
  /** Default 100. */
  readonly minDataPerGroup?: number
  /** Start from the mean target. Default true. */
  readonly boostFromAverage?: boolean
  /** Rounds without a better validation loss before a fit stops; 0 = never. Default 0. */
  readonly earlyStoppingRound?: number
}

/** Gradients and Hessians of the caller: fills `gradients` and `hessians`, (classes, rows), from the scores. */
export type CustomObjective = (
  scores: Float64Array,
  gradients: Float32Array,
  hessians: Float32Array,
) => void | Promise<void>

export interface FitInput {
  /** One for each row; rows that do not train may hold anything. */
  readonly targets?: NumberArray
  /** From 0; a weight of 0 leaves a row out. An integer k up to 8191 equals k copies of the row, bit for bit. */
  readonly weights?: NumberArray
  /** 1 for rows that train, 0 for others. Default all. */
  readonly mask?: Uint8Array
  /** 1 for rows whose loss is watched; they do not train. */
  readonly validation?: Uint8Array
  /** (classes, rows) scores to start from, such as another model's. They are not part of the new model. */
  readonly scores?: Float64Array
  readonly custom?: CustomObjective
  /** Rounds of this fit. Default those of the trainer. */
  readonly numIterations?: number
  readonly signal?: AbortSignal
  /** About every tenth of a second. */
  readonly onProgress?: (progress: { readonly phase: 'train'; readonly done: number; readonly total: number }) => void
}

export interface GbrtFit {
  readonly model: GbrtModel
  /** Mean loss on the validation rows after each round. */
  readonly losses: Float64Array
  /** Rounds that the model has: those up to the best loss where there is validation and early stopping. */
  readonly rounds: number
}

const PROGRESS_MS = 100
const TRAINS = 1
const VALIDATES = 2

const DEFAULTS = {
  objective: 'logistic' as Objective,
  numClass: 1,
  numIterations: 100,
  numLeaves: 31,
  maxDepth: -1,
  learningRate: 0.1,
  minDataInLeaf: 20,
  minSumHessianInLeaf: 1e-3,
  minGainToSplit: 0,
  lambdaL1: 0,
  lambdaL2: 0,
  baggingFraction: 1,
  baggingFreq: 0,
  featureFraction: 1,
  seed: 0,
  maxCatThreshold: 32,
  maxCatToOnehot: 4,
  catL2: 10,
  catSmooth: 10,
  minDataPerGroup: 100,
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
  #isFitting = false

  /** @throws {RangeError} for options outside their range, {TypeError} for unknown ones */
  constructor(matrix: BinnedMatrix, options: GbrtOptions = {}) {
    expectOptions('GbrtTrainer', options, Object.keys(DEFAULTS))
    const all: Required<GbrtOptions> = { ...DEFAULTS, ...options }
    const objective = OBJECTIVES.indexOf(all.objective)
    expectRange(objective >= 0, 'GbrtTrainer', `objective as one of ${OBJECTIVES.join(', ')}`, all.objective)
    for (const name of ['numIterations', 'earlyStoppingRound'] as const) expectRounds(name, all[name])
    this.matrix = matrix
    this.options = all
    const numbers: TrainerNumbers = { ...all, objective, boostFromAverage: all.boostFromAverage ? 1 : 0 }
    this.#native = new NativeTrainer(matrix, numbers)
  }

  /**
   * Fits a new model. Cancelling by `signal` ends at the next tree and leaves the trainer ready for another fit.
   * @throws {RangeError} for targets outside the objective's range, negative or NaN weights, no row left, wrong lengths
   */
  async fit(input: FitInput): Promise<GbrtFit> {
    const { targets, weights, scores, custom, signal, onProgress } = input
    const { objective, earlyStoppingRound, numClass } = this.options
    const { numIterations = this.options.numIterations } = input
    expectRounds('numIterations', numIterations)
    const isCustom = objective === 'custom'
    expectType(isCustom === (custom !== undefined), 'GbrtTrainer', 'custom gradients with objective custom', custom)
    if (this.#isFitting) {
      throw new SeqriskError('BUSY', '[GbrtTrainer] expected one fit at a time but received a second; await the first')
    }
    signal?.throwIfAborted()
    this.#isFitting = true
    const stop = () => this.#native.stop()
    signal?.addEventListener('abort', stop)
    const report = () => onProgress?.({ phase: 'train', done: this.#native.rounds, total: numIterations })
    const timer = onProgress && setInterval(report, PROGRESS_MS)
    try {
      await this.#native.begin(targets ?? null, weights ?? null, this.#roles(input), scores ?? null)
      signal?.throwIfAborted()
      if (custom) {
        const size = this.matrix.rows * numClass
        const [gradients, hessians] = [new Float32Array(size), new Float32Array(size)]
        for (let round = 0; round < numIterations; round++) {
          await custom(await this.#native.scores(), gradients, hessians)
          signal?.throwIfAborted()
          await this.#native.boost(1, 0, gradients, hessians)
        }
      } else {
        await this.#native.boost(numIterations, earlyStoppingRound)
      }
      report()
    } catch (error) {
      signal?.throwIfAborted()
      throw error
    } finally {
      clearInterval(timer)
      signal?.removeEventListener('abort', stop)
      this.#isFitting = false
    }
    const trees = this.#native.trees()
    const built = trees.numLeaves.length / numClass
    const rounds = earlyStoppingRound > 0 && trees.losses.length > 0 ? trees.bestRound : built
    return { model: this.#model(trees, rounds), losses: trees.losses, rounds }
  }

  /**
   * Raw scores of every row after the last fit, (classes, rows): what the model predicts, without a pass. After an
   * early stop they hold the rounds that were built after the best one as well.
   */
  scores(): Promise<Float64Array<ArrayBuffer>> {
    return this.#native.scores()
  }

  dispose(): void {
    this.#native.dispose()
  }

  #roles({ mask, validation }: FitInput): Uint8Array | null {
    const { rows } = this.matrix
    if (!mask && !validation) return null
    for (const [name, flags] of Object.entries({ mask, validation })) {
      if (!flags) continue
      expectType(flags instanceof Uint8Array, 'GbrtTrainer', `${name} to be a Uint8Array`, flags)
      expectRange(flags.length === rows, 'GbrtTrainer', `${name} of ${rows} rows`, flags.length)
    }
    const roles = new Uint8Array(rows)
    for (let r = 0; r < rows; r++) roles[r] = validation?.[r] ? VALIDATES : !mask || mask[r] ? TRAINS : 0
    return roles
  }

  #model(trained: TrainedTrees, rounds: number): GbrtModel {
    const { matrix, options } = this
    const info = {
      objective: options.objective,
      numClass: options.numClass,
      names: matrix.names,
      featureInfos: featureInfos(matrix),
      shrinkage: options.learningRate,
    }
    return new GbrtModel(info, treesOf(trained, matrix, rounds * options.numClass))
  }
}

function expectRounds(name: string, given: number): void {
  expectRange(Number.isInteger(given) && given >= 0, 'GbrtTrainer', `${name} to be an integer from 0`, given)
}

/** The first `count` trees with thresholds and categories instead of bins. */
function treesOf(trained: TrainedTrees, matrix: BinnedMatrix, count: number): Trees {
  let leaves = 0
  for (let t = 0; t < count; t++) leaves += trained.numLeaves[t]
  const nodes = leaves - count
  const threshold = new Float64Array(nodes)
  const decision = new Uint8Array(nodes)
  const starts = [0]
  const words: number[] = []
  for (let node = 0; node < nodes; node++) {
    const column = matrix.columns[trained.splitFeature[node]]
    if ((trained.decision[node] & 1) === 0) {
      threshold[node] = column.bounds[trained.thresholdBin[node]]
      decision[node] = (trained.decision[node] & 2) | (column.hasNaN ? 8 : 0)
      continue
    }
    const bins = trained.categoryBins.subarray(trained.thresholdBin[node] * 8, trained.thresholdBin[node] * 8 + 8)
    const list: number[] = []
    column.bounds.forEach((code, i) => {
      const bin = column.binOf[i]
      if (((bins[bin >> 5] >>> (bin & 31)) & 1) === 0) return
      while (list.length <= code >> 5) list.push(0)
      list[code >> 5] |= 1 << (code & 31)
    })
    for (const word of list) words.push(word)
    starts.push(words.length)
    threshold[node] = starts.length - 2
    decision[node] = 1
  }
  return {
    numLeaves: trained.numLeaves.slice(0, count),
    splitFeature: trained.splitFeature.slice(0, nodes),
    threshold,
    decision,
    leftChild: trained.leftChild.slice(0, nodes),
    rightChild: trained.rightChild.slice(0, nodes),
    splitGain: trained.splitGain.slice(0, nodes),
    internalValue: trained.internalValue.slice(0, nodes),
    internalWeight: trained.internalWeight.slice(0, nodes),
    internalCount: trained.internalCount.slice(0, nodes),
    leafValue: trained.leafValue.slice(0, leaves),
    leafWeight: trained.leafWeight.slice(0, leaves),
    leafCount: trained.leafCount.slice(0, leaves),
    categoryStart: Int32Array.from(starts),
    categoryWords: Int32Array.from(words),
  }
}
