// The native trainer of boosted trees, with its options in the order of the binding.

import type { NumberArray, TrainedTrees, TrainerHandle } from '../../binding.js'
import { binding } from '../native.js'
import type { BinnedMatrix } from '../runtime/binned_matrix.js'

export const OBJECTIVES = ['squared', 'logistic', 'softmax', 'custom'] as const

/** Every number that the native trainer takes. */
export interface TrainerNumbers {
  readonly objective: number
  readonly numClass: number
  readonly numLeaves: number
  readonly maxDepth: number
  readonly learningRate: number
  readonly minDataInLeaf: number
  readonly minSumHessianInLeaf: number
  readonly minGainToSplit: number
  readonly lambdaL1: number
  readonly lambdaL2: number
  readonly baggingFraction: number
  readonly baggingFreq: number
  readonly featureFraction: number
  readonly seed: number
  readonly maxCatThreshold: number
  readonly maxCatToOnehot: number
  readonly catL2: number
  readonly catSmooth: number
  readonly minDataPerGroup: number
  readonly boostFromAverage: number
  readonly featureFractionBynode: number
  /** 1 averages trees on bootstraps instead of boosting. */
  readonly forest: number
  readonly maxDeltaStep: number
}

const ORDER: readonly (keyof TrainerNumbers)[] = [
  'objective',
  'numClass',
  'numLeaves',
  'maxDepth',
  'learningRate',
  'minDataInLeaf',
  'minSumHessianInLeaf',
  'minGainToSplit',
  'lambdaL1',
  'lambdaL2',
  'baggingFraction',
  'baggingFreq',
  'featureFraction',
  'seed',
  'maxCatThreshold',
  'maxCatToOnehot',
  'catL2',
  'catSmooth',
  'minDataPerGroup',
  'boostFromAverage',
  'featureFractionBynode',
  'forest',
  'maxDeltaStep',
]

/** Memory and state of fits on one matrix. The matrix may be freed after this: the bins stay. */
export class NativeTrainer {
  readonly #handle: TrainerHandle

  /** @param monotone  for each feature 0 none, 1 rises, 2 falls */
  constructor(matrix: BinnedMatrix, numbers: TrainerNumbers, monotone: Uint8Array | null) {
    const list = ORDER.map(name => numbers[name])
    this.#handle = binding.gbrt_trainer_create(matrix.handle, list, monotone)
  }

  /** Checks and copies a problem; roles are 0 unused, 1 trains, 2 validates. `firstRound` rounds came before. */
  async begin(
    targets: NumberArray | null,
    weights: NumberArray | null,
    roles: Uint8Array | null,
    scores: Float64Array | null,
    firstRound: number,
  ): Promise<void> {
    await binding.gbrt_trainer_begin(this.#handle, targets, weights, roles, scores, firstRound)
  }

  /** After `begin`: takes the loss from rows of another matrix with the same bins. `scores` is (classes, rows). */
  async watch(
    matrix: BinnedMatrix,
    targets: NumberArray,
    weights: NumberArray | null,
    scores: Float64Array | null,
  ): Promise<void> {
    await binding.gbrt_trainer_watch(this.#handle, matrix.handle, targets, weights, scores)
  }

  /**
   * Adds rounds; `patience` 0 never stops early. With gradients it is one round.
   * @param rates  learning rate of each round, or null for that of the options
   */
  async boost(
    rounds: number,
    patience: number,
    rates: Float64Array | null,
    own?: { readonly gradients: Float32Array; readonly hessians: Float32Array },
  ): Promise<void> {
    const { gradients = null, hessians = null } = own ?? {}
    await binding.gbrt_trainer_boost(this.#handle, rounds, patience, rates, gradients, hessians)
  }

  /** Ends a running boost at the next tree; its promise rejects with code `ABORTED`. */
  stop(): void {
    binding.gbrt_trainer_stop(this.#handle)
  }

  get rounds(): number {
    return binding.gbrt_trainer_rounds(this.#handle)
  }

  trees(): TrainedTrees {
    return binding.gbrt_trainer_model(this.#handle)
  }

  /** (classes, rows) */
  scores(): Promise<Float64Array<ArrayBuffer>> {
    return binding.gbrt_trainer_scores(this.#handle)
  }

  dispose(): void {
    binding.gbrt_trainer_dispose(this.#handle)
  }
}
