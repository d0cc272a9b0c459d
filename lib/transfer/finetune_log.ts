// What a fine-tuning run remembers: one row per epoch, and where it stands between two steps.

import type { ScoreQuality } from './finetune_goal.js'

/** A row of training.json. */
export interface FinetuneRow {
  /** `head`: the head alone, on vectors; `train`: everything. */
  readonly phase: 'head' | 'train'
  readonly epoch: number
  readonly steps: number
  readonly events: number
  /** Mean over the labelled sequences, dropout on. */
  readonly loss: number
  /** On the rows kept out; null without any, and while the head learns alone but for its last epoch. */
  readonly validation: ScoreQuality | null
  /** Of the encoder's last block in the last step; of the head while it learns alone. */
  readonly learningRate: number
  readonly gradientNorm: number
  readonly seconds: number
}

/** Running sums over the steps of an epoch. */
export interface StepSums {
  steps: number
  rows: number
  events: number
  /** Σ loss · rows */
  loss: number
  gradientNorm: number
  seconds: number
}

export function emptySums(): StepSums {
  return { steps: 0, rows: 0, events: 0, loss: 0, gradientNorm: 0, seconds: 0 }
}

/** Where a run stands: what a checkpoint holds beside tensors. */
export interface FinetuneState {
  readonly step: number
  readonly epoch: number
  readonly stepInEpoch: number
  readonly sums: StepSums
  readonly rows: readonly FinetuneRow[]
  readonly best: Best | null
  readonly epochsWithoutBetter: number
}

export interface Best {
  /** Epochs of training behind the best weights; 0 = the head alone. */
  readonly epochs: number
  readonly quality: ScoreQuality
}

/** Whether a validation is better than the best so far; the loss decides among equal scores. */
export function isBetter(quality: ScoreQuality, best: Best | null, stopOn: 'score' | 'loss'): boolean {
  if (best === null) return true
  const { score, loss } = best.quality
  if (stopOn === 'loss') return quality.loss < loss
  return quality.score > score || (quality.score === score && quality.loss < loss)
}
