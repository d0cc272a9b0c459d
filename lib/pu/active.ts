// Active PU learning in one process: fit, choose rows, ask, and again, until a stop rule holds.

import { unlessAborted } from '../util/abort.js'
import { expectOptions, expectRange, SeqriskError, sentence } from '../util/errors.js'
import { given, type Optional } from '../util/options.js'
import { inSlices } from '../util/pace.js'
import { DEFAULTS, type LoopOptions, type TwoStepOptions } from './options.js'
import { expectProduct, type PuProblem } from './problem.js'
import { roundSeed, SAMPLERS, type Sampler, sampleRows } from './samplers.js'
import { ActiveState, type Answer, answerOf, type StateOptions, UP_SAMPLE } from './state.js'
import { checkRules, NO_ROW_LEFT, type RoundRecord, type StopRules, stopReason } from './stop.js'
import { learnerOf, type PuResult, twoStepPu } from './two_step.js'
import { unusualness } from './unusual.js'

/**
 * Answers in the order of the rows, as an array; asked about rows of the matrix by number. `Array.from(rows, row => …)` makes one;
 * `rows.map` would make another Int32Array, in which unsure is 0.
 */
export type Oracle = (
  rows: Int32Array,
  context: { readonly round: number; readonly scores: Float64Array; readonly signal: AbortSignal | undefined },
) => Promise<readonly Answer[]> | readonly Answer[]

/** What `runActive` can be told. */
export interface ActiveOptions extends StateOptions, StopRules {
  /** Default `diverse`. */
  readonly sampler?: Sampler | undefined
  /** Rows of a round. Default 100. */
  readonly batch?: number | undefined
  /** Rows that K-Means clusters, for `diverse`. Default ten batches. */
  readonly candidates?: number | undefined
  /** Scores from here on are predicted positive. Default 0.5. */
  readonly threshold?: number | undefined
  /** How a round learns. Default: see `activeTwoStep`. */
  readonly twoStep?: Omit<TwoStepOptions, 'seed' | 'signal' | 'onProgress' | 'with'> | undefined
  readonly seed?: number | undefined
  readonly signal?: AbortSignal | undefined
  /** Called between pieces of the work. */
  readonly onProgress?: ((progress: ActiveProgress) => void) | undefined
}

/** Where active learning stands. */
export interface ActiveProgress {
  readonly phase: 'learn' | 'ask'
  /** Rounds that are over. */
  readonly done: number
  /** Rounds at most, by `rounds` and `budget`. */
  readonly total: number
}

/** What active learning ends with: the last fit, and all answers. */
export interface ActiveResult extends PuResult {
  readonly state: ActiveState
  readonly history: readonly RoundRecord[]
  /** Why it ended. */
  readonly reason: string
}

/** Fewer rounds than one two-step fit has: answers change little from round to round, and people wait. */
export const ACTIVE_TWO_STEP = {
  rounds: [1, 2],
  gbrt: { numIterations: 35, learningRate: 0.125 },
} as const satisfies TwoStepOptions

/** Beyond this one round of each step: the next batch comes in less than the time of two fits of 100 trees. */
const MANY_ROWS = 200_000

export function activeTwoStep(rows: number): TwoStepOptions {
  return rows > MANY_ROWS ? { ...ACTIVE_TWO_STEP, rounds: [1, 1] } : ACTIVE_TWO_STEP
}

const where = 'runActive'
const RULES = ['budget', 'rounds', 'yieldDecay', 'drift', 'plateau', 'band', 'patience']
const OWN = ['sampler', 'batch', 'candidates', 'threshold', 'twoStep', 'seed', 'signal', 'onProgress']

/** Which rows a round asks about. */
export interface SamplerOptions {
  readonly sampler: Sampler
  readonly batch: number
  readonly candidates: number
  readonly threshold: number
}

/** @throws {RangeError} for samplers that do not exist, and numbers outside their range */
export function samplerOptions(options: Optional<SamplerOptions>): SamplerOptions {
  const { sampler = 'diverse', batch = 100, candidates = 10 * batch, threshold = 0.5 } = options
  expectRange(SAMPLERS.includes(sampler), 'active', `a sampler out of ${SAMPLERS.join(', ')}`, sampler)
  for (const [name, value] of Object.entries({ batch, candidates })) {
    expectRange(Number.isInteger(value) && value >= 1, 'active', `${name} to be an integer from 1`, value)
  }
  expectRange(threshold > 0 && threshold <= 1, 'active', 'threshold in (0, 1]', threshold)
  return { sampler, batch, candidates, threshold }
}

/**
 * Asks an oracle, batch by batch, and learns from the answers: 1 joins the positives with weight `upSample`; 0 and unsure
 * return to the unlabelled rows and are not asked again. Where answers of 1 leave no other row, the result is the last fit before
 * them.
 * @throws {SeqriskError} code `ANSWER_INVALID` for answers outside {1, 0, 'unsure'}, as many as were not asked for, or no array
 */
export async function runActive(problem: PuProblem, oracle: Oracle, options: ActiveOptions): Promise<ActiveResult> {
  expectOptions(where, options, [...RULES, ...OWN, 'upSample', 'setting', 'askAgain'])
  const { budget, rounds, yieldDecay, drift, plateau, band, patience } = options
  const rules: StopRules = { budget, rounds, yieldDecay, drift, plateau, band, patience }
  checkRules(rules)
  const { twoStep, seed = 0, signal, onProgress } = options
  const sampling = samplerOptions(options)
  const isEndless = budget === undefined && rounds === undefined
  expectRange(!isEndless, where, 'a budget or a number of rounds', 'neither', 'name one of them')
  const state = new ActiveState(problem.positives, options)
  const { positiveWeight } = twoStep ?? {}
  // Before anybody is asked: the first answer of 1 would end it all.
  if (typeof positiveWeight === 'number')
    expectProduct(where, 'upSample', options.upSample ?? UP_SAMPLE, positiveWeight)
  const learning: TwoStepOptions = { ...activeTwoStep(problem.matrix.rows), ...given(twoStep ?? {}), seed, signal }
  const learner = learnerOf(problem, { ...DEFAULTS, ...(learning as LoopOptions & typeof DEFAULTS) })
  const endless = Number.POSITIVE_INFINITY
  const total = Math.min(rounds ?? endless, Math.ceil((budget ?? endless) / sampling.batch))
  const history: RoundRecord[] = []
  let last: PuResult | null = null
  try {
    // Isolation knows no labels: once is enough.
    const isNeeded = learning.start !== 'zero' && problem.data && !problem.unusual
    const base = isNeeded ? { ...problem, unusual: await unusualness(problem, seed, signal) } : problem
    for (;;) {
      if (last && !state.leavesUnknown(problem.mask)) return { ...last, state, history, reason: NO_ROW_LEFT }
      onProgress?.({ phase: 'learn', done: history.length, total })
      const result = await twoStepPu(state.problem(base), { ...learning, with: learner })
      const askable = state.askable(problem.mask)
      if (last) {
        const drift = await driftOf(last.scores, result.scores, askable, signal)
        history.push({ ...history.pop()!, drift })
      }
      const asked = history.reduce((sum, record) => sum + record.asked, 0)
      const batch = Math.min(sampling.batch, (budget ?? Number.POSITIVE_INFINITY) - asked)
      let reason = stopReason(rules, history)
      if (reason === null) {
        const pool = { matrix: problem.matrix, scores: result.scores, askable }
        const round = history.length + 1
        const rows = await sampleRows(pool, { ...sampling, batch, seed: roundSeed(seed, round), signal })
        if (rows.length > 0) {
          onProgress?.({ phase: 'ask', done: history.length, total })
          const answers = await asksOf(oracle, rows, { round, scores: result.scores, signal })
          rows.forEach((row, i) => {
            state.record(row, answers[i])
          })
          history.push(await recordOf(round, answers, result.scores, state, band ?? 95))
          last = result
          continue
        }
        reason = NO_ROW_LEFT
      }
      return { ...result, state, history, reason }
    }
  } finally {
    learner.dispose()
  }
}

async function asksOf(
  oracle: Oracle,
  rows: Int32Array,
  context: { round: number; scores: Float64Array; signal: AbortSignal | undefined },
): Promise<Answer[]> {
  const { signal } = context
  signal?.throwIfAborted()
  // An oracle that never answers still ends by the signal.
  const given = await unlessAborted(Promise.resolve(oracle(rows.slice(), context)), signal)
  const refuse = (expected: string, received: unknown, advice: string) => {
    throw new SeqriskError('ANSWER_INVALID', sentence(where, expected, received, advice))
  }
  if (!Array.isArray(given)) {
    const why = ArrayBuffer.isView(given) ? ': the map of an Int32Array makes unsure 0' : ''
    refuse(`an array of ${rows.length} answers`, given, `use Array.from(rows, …)${why}`)
  }
  if (given.length !== rows.length) refuse(`${rows.length} answers`, given.length, 'answer unsure if need be')
  return given.map((answer, i) => answerOf(answer, `row ${rows[i]}`))
}

async function recordOf(
  round: number,
  answers: readonly Answer[],
  scores: Float64Array,
  state: ActiveState,
  band: number,
): Promise<RoundRecord> {
  const count = (wanted: Answer) => answers.filter(answer => answer === wanted).length
  return {
    round,
    asked: answers.length,
    positives: count(1),
    negatives: count(0),
    unsure: count('unsure'),
    drift: Number.NaN,
    bandPrecision: await bandPrecision(scores, state, band),
  }
}

/** Share of 1 among the answered rows whose scores lie above a percentile of all scores. */
export async function bandPrecision(scores: Float64Array, state: ActiveState, band: number): Promise<number> {
  const counts = new Float64Array(4097)
  await inSlices(scores.length, undefined, (from, to) => {
    for (let row = from; row < to; row++) counts[Math.floor(scores[row] * 4096)]++
  })
  // The bucket of the percentile: a band is as wide as scores are told apart.
  const wanted = (scores.length * (100 - band)) / 100
  let bucket = 4096
  for (let sum = counts[bucket]; sum < wanted && bucket > 0; ) sum += counts[--bucket]
  let [hits, all] = [0, 0]
  for (const [row, answer] of state.answers) {
    if (answer === 'unsure' || Math.floor(scores[row] * 4096) < bucket) continue
    all++
    hits += answer
  }
  return all === 0 ? Number.NaN : hits / all
}

/** Mean step of the scores of unlabelled rows, as a share of their mean before. */
export async function driftOf(
  before: Float64Array,
  after: Float64Array,
  askable: Uint8Array,
  signal?: AbortSignal,
): Promise<number> {
  let [moved, sum] = [0, 0]
  await inSlices(before.length, signal, (from, to) => {
    for (let row = from; row < to; row++) {
      if (!askable[row]) continue
      moved += Math.abs(after[row] - before[row])
      sum += before[row]
    }
  })
  return sum === 0 ? 0 : moved / sum
}
