// Options of two-step PU learning, with their defaults.

import type { GbrtOptions } from '../trees/gbrt.js'
import type { RandomForestOptions } from '../trees/random_forest.js'
import { expectOptions, expectRange, expectType } from '../util/errors.js'
import { given } from '../util/options.js'
import type { LearnerKind, PuLearner } from './learner.js'
import { isWeight, MOST_WEIGHT, type SetSizes } from './problem.js'
import type { CutOptions } from './spies.js'

/** Where a two-step fit stands, after each round. */
export interface PuRound {
  readonly draw: number
  /** 1 looks for reliable negatives, 2 learns from them. */
  readonly step: 1 | 2
  /** From 1. */
  readonly round: number
  readonly sizes: SetSizes
  /** Mean step of the scores of unlabelled rows; NaN in the first round of step 1. */
  readonly change: number
  /** Mean score of the unlabelled rows. */
  readonly mean: number
  readonly seconds: number
}

export interface LoopOptions {
  /** Default `gbrt`. */
  readonly learner?: LearnerKind | undefined
  /** Over the defaults of `PU_GBRT`. */
  readonly gbrt?: GbrtOptions | undefined
  readonly forest?: RandomForestOptions | undefined
  /**
   * Weight of a known positive: an integer up to 2²⁰, or `balanced` for as much as all other rows that train have together, rounded
   * to an integer from 1. Beyond 8191 `minDataInLeaf` counts rows, not copies.
   */
  readonly positiveWeight?: number | 'balanced' | undefined
  /** A step ends once the scores of unlabelled rows move by less than this share of their sum. Default 0.02; 0: never. */
  readonly convergence?: number | undefined
  /** A learner on the same matrix to go on with; it stays open. Default: one of its own. */
  readonly with?: PuLearner | undefined
  readonly seed?: number | undefined
  readonly signal?: AbortSignal | undefined
  /** Called between pieces of the work. */
  readonly onProgress?: ((progress: PuProgress) => void) | undefined
}

/** Where PU learning stands. */
export interface PuProgress {
  readonly phase: 'learn'
  /** Rounds. */
  readonly done: number
  readonly total: number
}

/** What `twoStepPu` can be told. */
export interface TwoStepOptions extends LoopOptions, CutOptions {
  /** Share of the positives that spy. Default 0.15. */
  readonly spies?: number | undefined
  /** Most rounds of each step. Default [5, 5]. */
  readonly rounds?: readonly [number, number] | undefined
  /** Draws of spies; a row is a reliable negative where half of them or more say so. Default 1. */
  readonly draws?: number | undefined
  /**
   * Most reliable negatives, as a share of the unlabelled rows: the lowest ones stay. Default 0.9: where the spies are of one kind
   * all others score below them, positives of other kinds too.
   */
  readonly mostNegatives?: number | undefined
  /**
   * Scores of unlabelled rows before the first round: `zero`, or `unusual` for what isolation says of them, as far as it also
   * sets the known positives apart. Default `unusual` where the problem has data.
   */
  readonly start?: 'zero' | 'unusual' | undefined
  /**
   * What the rest of U is in the first round of the second step: `scores` keeps what the first step said, `out` leaves it
   * out, so that the first model of that step saw none of it as negative.
   */
  readonly rest?: 'scores' | 'out' | undefined
}

/** Boosted trees of one round. */
export const PU_GBRT: GbrtOptions = { objective: 'logistic', numIterations: 50, numLeaves: 31, learningRate: 0.1 }

export const DEFAULTS = {
  learner: 'gbrt' as LearnerKind,
  gbrt: {} as GbrtOptions,
  forest: {} as RandomForestOptions,
  positiveWeight: 1 as number | 'balanced',
  convergence: 0.02,
  seed: 0,
  spies: 0.15,
  cut: 'quantile' as NonNullable<CutOptions['cut']>,
  quantile: 0.1,
  tolerance: 1.5,
  rounds: [5, 5] as readonly [number, number],
  draws: 1,
  mostNegatives: 0.9,
  rest: 'scores' as 'scores' | 'out',
  start: 'unusual' as 'zero' | 'unusual',
}

/** The plain recipe of two steps to the letter: squared loss, every row of weight 1, U starts at 0, no end before the last round. */
export const LITERAL: TwoStepOptions = {
  gbrt: { objective: 'squared', numLeaves: 31, learningRate: 0.1, minDataInLeaf: 20 },
  positiveWeight: 1,
  convergence: 0,
  start: 'zero',
  rest: 'scores',
  draws: 1,
  mostNegatives: 1,
}

const CONTROL = ['with', 'signal', 'onProgress']

export type FullOptions = typeof DEFAULTS & Pick<TwoStepOptions, 'with' | 'signal' | 'onProgress'>

/** What every loop takes. @throws {RangeError} for values outside their range */
export function checkLoop(where: string, { positiveWeight, convergence }: FullOptions): void {
  expectRange(convergence >= 0, where, 'convergence from 0', convergence)
  const isKnown = positiveWeight === 'balanced' || isWeight(positiveWeight)
  const wanted = `positiveWeight to be an integer from 1 to ${MOST_WEIGHT}, or 'balanced'`
  expectRange(isKnown, where, wanted, positiveWeight)
}

/** @throws {TypeError|RangeError} for unknown options or values outside their range */
export function twoStepOptions(where: string, options: TwoStepOptions): FullOptions {
  expectOptions(where, options, [...Object.keys(DEFAULTS), ...CONTROL])
  const all: FullOptions = { ...DEFAULTS, ...given(options) }
  const { spies, quantile, tolerance, rounds, draws, mostNegatives, rest, start } = all
  expectRange(spies > 0 && spies < 1, where, 'spies as a share between 0 and 1', spies)
  expectRange(quantile >= 0 && quantile <= 1, where, 'quantile in [0, 1]', quantile)
  expectRange(tolerance >= 0, where, 'tolerance from 0', tolerance)
  expectType(Array.isArray(rounds) && rounds.length === 2, where, 'rounds of two steps', rounds)
  for (const count of rounds) {
    expectRange(Number.isInteger(count) && count >= 1, where, 'rounds to be integers from 1', count)
  }
  expectRange(Number.isInteger(draws) && draws >= 1, where, 'draws to be an integer from 1', draws)
  expectRange(mostNegatives > 0 && mostNegatives <= 1, where, 'mostNegatives in (0, 1]', mostNegatives)
  checkLoop(where, all)
  expectRange(rest === 'scores' || rest === 'out', where, "rest 'scores' or 'out'", rest)
  expectRange(start === 'zero' || start === 'unusual', where, "start 'zero' or 'unusual'", start)
  expectRange(['quantile', 'minimum', 'tolerance'].includes(all.cut), where, 'a cut rule that exists', all.cut)
  return all
}
