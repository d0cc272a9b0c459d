// What the trainers of boosted trees and of forests share.

import type { TrainedTrees } from '../../binding.js'
import type { NativeTrainer } from '../ops/gbrt_trainer.js'
import type { BinnedMatrix } from '../runtime/binned_matrix.js'
import { expectRange, expectType, SeqriskError } from '../util/errors.js'
import type { Trees } from './model.js'

const TRAINS = 1
const VALIDATES = 2

export interface FitControl {
  readonly signal?: AbortSignal | undefined
  /** About every tenth of a second. */
  readonly onProgress?:
    | ((progress: { readonly phase: 'train'; readonly done: number; readonly total: number }) => void)
    | undefined
}

const PROGRESS_MS = 100

/** Fits of a trainer: one at a time, ended at the next tree by a signal, with progress. */
export class Fits {
  readonly #where: string
  readonly #native: NativeTrainer
  #isFitting = false

  constructor(where: string, native: NativeTrainer) {
    this.#where = where
    this.#native = native
  }

  /** @throws {SeqriskError} code `BUSY` while another one runs */
  async run(rounds: number, { signal, onProgress }: FitControl, fit: () => Promise<void>): Promise<void> {
    if (this.#isFitting) {
      const text = `[${this.#where}] expected one fit at a time but received a second; await the first`
      throw new SeqriskError('BUSY', text)
    }
    signal?.throwIfAborted()
    this.#isFitting = true
    const stop = () => this.#native.stop()
    signal?.addEventListener('abort', stop)
    const report = () => onProgress?.({ phase: 'train', done: this.#native.rounds, total: rounds })
    // What a timer throws would end the process: the fit stops instead, and the call rejects with it.
    let thrown: { readonly cause: unknown } | undefined
    const reportFromTimer = () => {
      try {
        report()
      } catch (cause) {
        thrown ??= { cause }
        clearInterval(timer)
        stop()
      }
    }
    const timer = onProgress && setInterval(reportFromTimer, PROGRESS_MS)
    try {
      await fit()
      if (!thrown) report()
    } catch (error) {
      signal?.throwIfAborted()
      if (!thrown) throw error
    } finally {
      clearInterval(timer)
      signal?.removeEventListener('abort', stop)
      this.#isFitting = false
    }
    if (thrown) throw thrown.cause
  }
}

export interface FlaggedRows {
  readonly mask?: Uint8Array
  readonly validation?: Uint8Array
}

/** What each row is for: 0 nothing, 1 training, 2 validation; null where all train. */
export function rolesOf(where: string, rows: number, { mask, validation }: FlaggedRows): Uint8Array | null {
  if (!mask && !validation) return null
  for (const [name, flags] of Object.entries({ mask, validation })) {
    if (!flags) continue
    expectType(flags instanceof Uint8Array, where, `${name} to be a Uint8Array`, flags)
    expectRange(flags.length === rows, where, `${name} of ${rows} rows`, flags.length)
  }
  const roles = new Uint8Array(rows)
  for (let r = 0; r < rows; r++) roles[r] = validation?.[r] ? VALIDATES : !mask || mask[r] ? TRAINS : 0
  return roles
}

/** Thresholds and categories instead of bins. */
export function treesOf(trained: TrainedTrees, matrix: BinnedMatrix): Trees {
  const nodes = trained.splitFeature.length
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
  const { bestRound, losses, thresholdBin, categoryBins, ...own } = trained
  return {
    ...own,
    threshold,
    decision,
    categoryStart: Int32Array.from(starts),
    categoryWords: Int32Array.from(words),
  }
}
