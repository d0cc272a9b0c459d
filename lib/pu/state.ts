// What an active session knows: the first positives, what was asked, and the answers. 1 is trusted; 0 is not.

import { expectRange, SeqriskError, sentence } from '../util/errors.js'
import { isWeight, MOST_WEIGHT, type PuProblem } from './problem.js'

/** 1: positive, surely. 0: nothing was found, which proves little. `unsure`: nobody can say. */
export type Answer = 1 | 0 | 'unsure'

export const UP_SAMPLE = 5

/** What answers do to the rows. */
export interface StateOptions {
  /** Weight of a row that an expert called positive: an integer up to 2²⁰. Default 5. */
  readonly upSample?: number | undefined
  /**
   * `pu`: a row answered 0 is unlabelled again. `lu`: it is believed to be negative, as ordinary active learning does. Default
   * `pu`.
   */
  readonly setting?: 'pu' | 'lu' | undefined
  /** Ask about rows again that were answered 0 or unsure. Default false. */
  readonly askAgain?: boolean | undefined
}

/** The answers so far, and what they make of the rows. */
export class ActiveState {
  readonly answers = new Map<number, Answer>()
  /** Rows that were asked about and not answered yet. */
  readonly pending = new Set<number>()
  readonly #first: Uint8Array
  readonly #upSample: number
  readonly #isLu: boolean
  readonly #askAgain: boolean

  constructor(positives: Uint8Array, { upSample = UP_SAMPLE, setting = 'pu', askAgain = false }: StateOptions = {}) {
    expectRange(isWeight(upSample), 'active', `upSample to be an integer from 1 to ${MOST_WEIGHT}`, upSample)
    expectRange(setting === 'pu' || setting === 'lu', 'active', "setting 'pu' or 'lu'", setting)
    this.#first = positives
    this.#upSample = upSample
    this.#isLu = setting === 'lu'
    this.#askAgain = askAgain
  }

  /** Keeps an answer; a row that is answered waits no longer. */
  record(row: number, answer: Answer): void {
    this.pending.delete(row)
    this.answers.set(row, answer)
  }

  /** 1 for rows that may be asked about: unlabelled, not answered, not waiting for an answer. */
  askable(mask?: Uint8Array): Uint8Array {
    const out = new Uint8Array(this.#first.length)
    for (let row = 0; row < out.length; row++) out[row] = Number(this.#first[row] === 0 && mask?.[row] !== 0)
    for (const [row, answer] of this.answers) if (answer === 1 || !this.#askAgain) out[row] = 0
    for (const row of this.pending) out[row] = 0
    return out
  }

  /** Whether a row takes part that is no known positive: without any there is nothing to learn, nor to ask about. */
  leavesUnknown(mask?: Uint8Array): boolean {
    return this.#first.some((one, row) => one === 0 && mask?.[row] !== 0 && this.answers.get(row) !== 1)
  }

  /** The problem as the answers make it. */
  problem(base: PuProblem): PuProblem {
    const positives = this.#first.slice()
    const weights = new Float32Array(positives.length).fill(1)
    if (base.weights) for (let row = 0; row < weights.length; row++) weights[row] = base.weights[row]
    const negatives = base.negatives?.slice() ?? new Uint8Array(positives.length)
    for (const [row, answer] of this.answers) {
      if (answer === 1) {
        positives[row] = 1
        negatives[row] = 0
        weights[row] = this.#upSample
      } else if (answer === 0 && this.#isLu) negatives[row] = 1
    }
    return { ...base, positives, negatives, weights }
  }

  /** Answers so far. */
  counts(): { positives: number; negatives: number; unsure: number } {
    const counts = { positives: 0, negatives: 0, unsure: 0 }
    for (const answer of this.answers.values()) {
      counts[answer === 1 ? 'positives' : answer === 0 ? 'negatives' : 'unsure']++
    }
    return counts
  }
}

/** @throws {SeqriskError} code `ANSWER_INVALID` for anything but 1, 0 and unsure */
export function answerOf(value: unknown, what: string): Answer {
  if (value === 1 || value === 0 || value === 'unsure') return value
  const text = sentence('active', `1, 0 or unsure for ${what}`, value, 'correct the answer, or leave it empty')
  throw new SeqriskError('ANSWER_INVALID', text)
}
