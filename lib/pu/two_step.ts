// Two-step PU learning: spies find reliable negatives, then EM learns from positives, negatives and the rest.
// Source: Liu, Lee, Yu, Li 2002, "Partially supervised classification of text documents"; with trees as the learner.

import { sortedCopy } from '../events/sort.js'
import type { GbrtModel } from '../trees/model.js'
import { expectRange, sentence } from '../util/errors.js'
import { given } from '../util/options.js'
import { inSlices } from '../util/pace.js'
import { EmLoop } from './em.js'
import { openLearner, type PuLearner } from './learner.js'
import { type FullOptions, PU_GBRT, type PuRound, type TwoStepOptions, twoStepOptions } from './options.js'
import { type PuProblem, PuSets, ROLE, setsOf } from './problem.js'
import { cutOf, drawSpies, quantileOf } from './spies.js'
import { type Start, startOf, unusualness } from './unusual.js'

/** One draw of spies and what it found. */
export interface SpyDraw {
  readonly spies: number
  /** Reliable negatives score below. */
  readonly threshold: number
  readonly negatives: number
  /** Quantiles 0, 0.1, 0.25, 0.5, 0.75, 1 of the spies' scores. */
  readonly spyScores: readonly number[]
}

/** Something that was dealt with, but that somebody should know. */
export interface PuWarning {
  /** `CONSTANT_SCORES`, `NO_NEGATIVES`, `ALL_NEGATIVES`, `THRESHOLD_ABOVE_ALL`, `FEW_SPIES`. */
  readonly code: string
  readonly message: string
}

/** What happened on the way to a model. */
export interface PuDiagnostics {
  readonly draws: readonly SpyDraw[]
  /** How much more unusual known positives are than others, 0 … 1; NaN where U started at 0. */
  readonly unusualGain: number
  /** Deviation of an unlabelled row's score over the draws, on average; 0 of one draw. */
  readonly spread: number
  readonly warnings: readonly PuWarning[]
}

/** What two-step PU learning gives. */
export interface PuResult {
  readonly model: GbrtModel
  /** In [0, 1], one for each row of the matrix, also of rows that took no part. */
  readonly scores: Float64Array
  /** Of the first step, one for each draw: with spies; and of the second step. */
  readonly sets: { readonly first: readonly PuSets[]; readonly second: PuSets }
  readonly rounds: readonly PuRound[]
  readonly diagnostics: PuDiagnostics
}

const where = 'twoStepPu'
const FEW_SPIES = 10
const BUCKETS = 1 << 16

/** The options of the trees of a round: the defaults of PU, then the caller's. */
export function learnerOf(problem: PuProblem, options: FullOptions): PuLearner {
  const { learner, gbrt, forest, seed } = options
  return openLearner(problem.matrix, {
    learner,
    gbrt: { ...PU_GBRT, seed, ...given(gbrt) },
    forest: { seed, ...given(forest) },
  })
}

/**
 * Finds positives among unlabelled rows.
 * 1. Some positives spy among the unlabelled rows U. EM: known positives have target 1, all others what the last round said
 *    of them, at first 0, or a little for unusual rows. N = rows of U that score below (nearly) all spies.
 * 2. Spies return. EM again: N stays 0.
 * Where every row is known, positive or negative, there is nothing to find: one fit of the second step is all.
 * The same input and seed give the same bits on any number of threads.
 * @throws {SeqriskError} codes `NO_POSITIVES`, `NO_UNLABELLED`, `TOO_FEW_POSITIVES`
 */
export async function twoStepPu(problem: PuProblem, options: TwoStepOptions = {}): Promise<PuResult> {
  const all = twoStepOptions(where, options)
  const { rounds, rest, signal } = all
  const start = await setsOf(where, problem, signal, all.positiveWeight)
  const positives = start.rows(ROLE.positive)
  const draws = start.sizes.unlabelled > 0 ? all.draws : 0
  const plans = Array.from({ length: draws }, (_, draw) => drawSpies(where, positives, all.spies, all.seed, draw))
  const warnings: PuWarning[] = []
  let begin: Start | null = null
  if (all.start === 'unusual' && (problem.unusual || problem.data)) {
    begin = await startOf(problem.unusual ?? (await unusualness(problem, all.seed, signal)), start, signal)
  }
  const isSame = !all.with || all.with.matrix === problem.matrix
  expectRange(isSame, where, 'a learner on the matrix of the problem', 'one on another')
  const learner = all.with ?? learnerOf(problem, all)
  const { length } = start.roles
  try {
    const loop = new EmLoop(learner, problem, all, draws * rounds[0] + rounds[1])
    const votes = new Uint16Array(length)
    const sums = new Float64Array(length)
    const squares = draws > 1 ? new Float64Array(length) : null
    const reports: SpyDraw[] = []
    const first: PuSets[] = []
    for (const [draw, spies] of plans.entries()) {
      const sets = new PuSets(start.roles.slice())
      for (const row of spies) sets.roles[row] = ROLE.spy
      loop.scores = begin?.scores ?? new Float64Array(length)
      await loop.run({ draw, step: 1, rounds: rounds[0] }, sets, { isBlank: true })
      reports.push(await judge(loop.scores, sets, spies, all, votes, warnings))
      first.push(sets)
      const { scores } = loop
      await inSlices(length, signal, (from, to) => {
        for (let row = from; row < to; row++) {
          sums[row] += scores[row]
          if (squares) squares[row] += scores[row] ** 2
        }
      })
    }
    const second = new PuSets(start.roles.slice())
    let spread = 0
    if (draws > 0) {
      const means = new Float64Array(length)
      let deviations = 0
      await inSlices(length, signal, (from, to) => {
        for (let row = from; row < to; row++) {
          means[row] = sums[row] / draws
          if (second.roles[row] !== ROLE.unlabelled) continue
          if (squares) deviations += Math.sqrt(Math.max(0, squares[row] / draws - means[row] ** 2))
          if (2 * votes[row] >= draws) second.roles[row] = ROLE.negative
        }
      })
      loop.scores = means
      spread = deviations / start.sizes.unlabelled
    }
    const { negatives } = second.sizes
    const restOut = rest === 'out' && negatives > 0
    await loop.run({ draw: 0, step: 2, rounds: rounds[1] }, second, { isBlank: restOut, restOut })
    return {
      model: loop.model!,
      scores: loop.scores,
      sets: { first, second },
      rounds: loop.rounds,
      diagnostics: { draws: reports, unusualGain: begin?.gain ?? Number.NaN, spread, warnings },
    }
  } finally {
    if (!all.with) learner.dispose()
  }
}

/** Cuts off the reliable negatives of one draw and gives each a vote. */
async function judge(
  scores: Float64Array,
  { roles, sizes }: PuSets,
  spies: Int32Array,
  options: FullOptions,
  votes: Uint16Array,
  warnings: PuWarning[],
): Promise<SpyDraw> {
  const { signal, mostNegatives } = options
  const spyScores = Float64Array.from(spies, row => scores[row]).sort()
  let threshold = cutOf(where, spyScores, options)
  let [low, high] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]
  const count = async (limit: number) => {
    let below = 0
    await inSlices(roles.length, signal, (from, to) => {
      for (let row = from; row < to; row++) {
        if (roles[row] !== ROLE.unlabelled) continue
        const score = scores[row]
        if (score < low) low = score
        if (score > high) high = score
        if (score < limit) below++
      }
    })
    return below
  }
  let negatives = await count(threshold)
  const { unlabelled } = sizes
  const warn = (code: string, expected: string, received: unknown, advice: string) => {
    if (!warnings.some(one => one.code === code)) {
      warnings.push({ code, message: sentence(where, expected, received, advice) })
    }
  }
  if (low === high && threshold <= high) {
    const advice = 'no column tells positives from the rest; check the columns, or add some'
    warn('CONSTANT_SCORES', 'scores that differ', `${low} for all ${unlabelled} unlabelled rows`, advice)
  } else if (threshold > high) {
    const advice = 'the known positives may be of one kind; label a few more, or lower mostNegatives'
    warn('THRESHOLD_ABOVE_ALL', `spies among the rows (highest ${high})`, `a threshold of ${threshold}`, advice)
  } else if (negatives === unlabelled) {
    warn('ALL_NEGATIVES', 'rows above the threshold', 'none', 'lower the quantile or mostNegatives')
  }
  const most = Math.floor(mostNegatives * unlabelled)
  if (negatives > most) {
    threshold = Math.min(threshold, await thresholdOf(scores, roles, most, signal))
    negatives = await count(threshold)
  }
  if (negatives === 0) {
    const advice =
      'no row is reliably negative: the second step repeats plain EM; raise the quantile or the share of spies'
    warn('NO_NEGATIVES', 'rows that score below the spies', 'none', advice)
  }
  if (spies.length < FEW_SPIES) {
    const advice = `their quantile is rough; raise draws, or label more positives`
    warn('FEW_SPIES', `${FEW_SPIES} spies or more`, spies.length, advice)
  }
  await inSlices(roles.length, signal, (from, to) => {
    for (let row = from; row < to; row++) if (roles[row] === ROLE.unlabelled && scores[row] < threshold) votes[row]++
  })
  const shown = [0, 0.1, 0.25, 0.5, 0.75, 1].map(share => quantileOf(spyScores, share))
  return { spies: spies.length, threshold, negatives, spyScores: shown }
}

/** The score that `most` unlabelled rows stay below, or fewer where scores are equal: by counts, then by sorting one bucket. */
async function thresholdOf(
  scores: Float64Array,
  roles: Uint8Array,
  most: number,
  signal?: AbortSignal,
): Promise<number> {
  const bucketOf = (row: number) => (roles[row] === ROLE.unlabelled ? Math.floor(scores[row] * (BUCKETS - 1)) : -1)
  const counts = new Int32Array(BUCKETS)
  await inSlices(roles.length, signal, (from, to) => {
    for (let row = from; row < to; row++) {
      const bucket = bucketOf(row)
      if (bucket >= 0) counts[bucket]++
    }
  })
  let bucket = 0
  let below = 0
  while (below + counts[bucket] <= most) below += counts[bucket++]
  const inside = new Float64Array(counts[bucket])
  let at = 0
  await inSlices(roles.length, signal, (from, to) => {
    for (let row = from; row < to; row++) if (bucketOf(row) === bucket) inside[at++] = scores[row]
  })
  return (await sortedCopy(inside, signal))[most - below]
}
