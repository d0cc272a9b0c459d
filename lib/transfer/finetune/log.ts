// What a fine-tuning run remembers: one row per epoch, and where it stands between two steps.

import type { Ended } from '../../pretrain/finished_run.js'
import type { FoldQuality } from './folds.js'
import type { ScoreQuality } from './goal.js'
import type { StoredParts } from './kept_parts.js'

/** A row of training.json. */
export interface FinetuneRow {
  /** Epochs behind it; 0: the head alone was fitted. */
  readonly epoch: number
  readonly steps: number
  readonly events: number
  /** Mean over the labelled sequences, dropout on; null for the head alone. */
  readonly loss: number | null
  /** On the rows kept out; null without any. */
  readonly validation: ScoreQuality | null
  /** Of the encoder's last block in the last step. */
  readonly learningRate: number
  readonly gradientNorm: number
  readonly seconds: number
}

/** What training.json holds. */
export interface FinetuneLog extends Ended {
  readonly version: 1
  readonly best: Best | null
  /** How far the weights are from those before training to those after it: 0 … 1. */
  readonly mixing?: number | undefined
  readonly epochs: readonly FinetuneRow[]
  /** Where folds were scored first. */
  readonly folds?: StoredParts<FoldQuality> | undefined
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
  /** What a cross-validation chose. */
  readonly chosen: Best | null
}

/** The validation that chose the weights. */
export interface Best {
  /** Epochs of training behind the best weights; 0 = the head alone. */
  readonly epochs: number
  /** How far they are from the weights before training to those after it: 0 … 1. */
  readonly mixing: number
  readonly quality: ScoreQuality
}

/** Whether a validation is better than the best so far; the loss decides among equal scores. */
export function isBetter(quality: ScoreQuality, best: Pick<Best, 'quality'> | null, stopOn: 'score' | 'loss'): boolean {
  if (best === null) return true
  const { score, loss } = best.quality
  if (stopOn === 'loss') return quality.loss < loss
  return quality.score > score || (quality.score === score && quality.loss < loss)
}
