// The log of a run: one row per epoch. Of a model it is training.json, of a run under way it stands beside the checkpoint.

import { join } from 'node:path'
import { writeFileAtomic } from '../util/files.js'
import { type Ended, LOG } from './finished_run.js'
import type { Term } from './terms.js'

/** Loss and accuracy of one term over an epoch. */
export interface TermSummary {
  readonly loss: number
  /** Share predicted right. */
  readonly accuracy: number
}

/** What one epoch of training was like. */
export interface EpochRow {
  readonly epoch: number
  readonly steps: number
  readonly events: number
  /** Σ weight · loss, averaged over steps. */
  readonly loss: number
  /** The same on entities kept out of training; null without any. */
  readonly heldOutLoss: number | null
  readonly terms: Readonly<Record<string, TermSummary>>
  readonly heldOutTerms: Readonly<Record<string, TermSummary>>
  readonly learningRate: number
  readonly gradientNorm: number
  readonly seconds: number
}

/** Running sums over the steps of an epoch: plain numbers, so that a checkpoint can hold them. */
export interface Sums {
  steps: number
  events: number
  loss: number
  gradientNorm: number
  seconds: number
  terms: Record<string, { loss: number; correct: number; counted: number }>
}

export function emptySums(): Sums {
  return { steps: 0, events: 0, loss: 0, gradientNorm: 0, seconds: 0, terms: {} }
}

/** Adds one step: `values` are loss and correct of each term, in order. */
export function addStep(sums: Sums, terms: readonly Omit<Term, 'loss' | 'correct'>[], values: Float32Array): number {
  let loss = 0
  terms.forEach(({ name, weight, counted }, i) => {
    sums.terms[name] ??= { loss: 0, correct: 0, counted: 0 }
    const sum = sums.terms[name]
    sum.loss += values[2 * i] * counted
    sum.correct += values[2 * i + 1]
    sum.counted += counted
    loss += weight * values[2 * i]
  })
  sums.steps++
  sums.loss += loss
  return loss
}

export function summary(sums: Sums): Record<string, TermSummary> {
  return Object.fromEntries(
    Object.entries(sums.terms).map(([name, { loss, correct, counted }]) => [
      name,
      { loss: loss / Math.max(1, counted), accuracy: correct / Math.max(1, counted) },
    ]),
  )
}

/** What training.json holds; of a run under way its name and rows. */
export interface Log extends Ended {
  readonly version: 1
  readonly epochs: readonly EpochRow[]
}

export async function writeLog(folder: string, log: Omit<Log, 'version'>, name = LOG): Promise<void> {
  await writeFileAtomic(join(folder, name), `${JSON.stringify({ version: 1, ...log }, null, 2)}\n`)
}
