// What two-step PU is compared with, through the same interface: plain EM, positives against unlabelled, isolation.

import { IsolationForest } from '../trees/isolation_forest.js'
import type { GbrtModel } from '../trees/model.js'
import { expectOptions, expectRange, SeqriskError } from '../util/errors.js'
import { given } from '../util/options.js'
import { EmLoop } from './em.js'
import type { PuLearner } from './learner.js'
import {
  checkLoop,
  DEFAULTS,
  type FullOptions,
  type LoopOptions,
  type PuRound,
  type TwoStepOptions,
} from './options.js'
import { type PuProblem, type PuSets, setsOf } from './problem.js'
import { learnerOf, type PuDiagnostics, twoStepPu } from './two_step.js'

/** What `onePu` can be told. */
export interface OnePuOptions extends LoopOptions {
  /** Most rounds. Default 5. */
  readonly rounds?: number | undefined
}

/** What `supervisedPu` can be told. */
export type SupervisedOptions = Omit<LoopOptions, 'convergence'>

/** What `isolationPu` can be told. */
export interface IsolationOptions {
  readonly trees?: number | undefined
  readonly samples?: number | undefined
  readonly extension?: number | undefined
  readonly seed?: number | undefined
  readonly signal?: AbortSignal | undefined
}

export const PU_METHODS = ['two-step', 'one-step', 'supervised', 'isolation'] as const
/** The ways to score rows of which few are known. */
export type PuMethod = (typeof PU_METHODS)[number]

/** What every method gives. */
export interface PuOutcome {
  /** Null for isolation forests, which learn nothing of labels. */
  readonly model: GbrtModel | null
  /** In [0, 1], one for each row of the matrix. */
  readonly scores: Float64Array
  readonly rounds: readonly PuRound[]
  readonly diagnostics: PuDiagnostics
}

const LOOP = ['learner', 'gbrt', 'forest', 'positiveWeight', 'with', 'seed', 'signal', 'onProgress']
const NOTHING: PuDiagnostics = { draws: [], unusualGain: Number.NaN, spread: 0, warnings: [] }

async function em(where: string, problem: PuProblem, asked: LoopOptions, rounds: number): Promise<PuOutcome> {
  const options: FullOptions = { ...DEFAULTS, ...given(asked) }
  checkLoop(where, options)
  expectRange(Number.isInteger(rounds) && rounds >= 1, where, 'rounds to be an integer from 1', rounds)
  const sets: PuSets = await setsOf(where, problem, options.signal, options.positiveWeight)
  const isSame = !options.with || options.with.matrix === problem.matrix
  expectRange(isSame, where, 'a learner on the matrix of the problem', 'one on another')
  const learner: PuLearner = options.with ?? learnerOf(problem, options)
  try {
    const loop = new EmLoop(learner, problem, options, rounds)
    await loop.run({ draw: 0, step: 1, rounds }, sets, { isBlank: true })
    return { model: loop.model!, scores: loop.scores, rounds: loop.rounds, diagnostics: NOTHING }
  } finally {
    if (!options.with) learner.dispose()
  }
}

/** One-step PU: EM from a score of 0 for all unlabelled rows, without spies. */
export async function onePu(problem: PuProblem, options: OnePuOptions = {}): Promise<PuOutcome> {
  const where = 'onePu'
  expectOptions(where, options, [...LOOP, 'convergence', 'rounds'])
  const { rounds = 5, ...loop } = options
  return em(where, problem, loop, rounds)
}

/** Known positives against all others, as if these were negative: one fit of 100 trees unless `gbrt` says otherwise. */
export async function supervisedPu(problem: PuProblem, options: SupervisedOptions = {}): Promise<PuOutcome> {
  const where = 'supervisedPu'
  expectOptions(where, options, LOOP)
  const gbrt = { numIterations: 100, ...given(options.gbrt ?? {}) }
  return em(where, problem, { positiveWeight: 1, ...given(options), gbrt }, 1)
}

/** How unusual rows are, whatever their labels. @throws {SeqriskError} code `NO_DATA` without the values behind the bins */
export async function isolationPu(problem: PuProblem, options: IsolationOptions = {}): Promise<PuOutcome> {
  const where = 'isolationPu'
  expectOptions(where, options, ['trees', 'samples', 'extension', 'seed', 'signal'])
  await setsOf(where, problem, options.signal)
  const { matrix, data } = problem
  if (!data) {
    const text = `[${where}] expected the values behind the bins but received none; add them to the problem as data`
    throw new SeqriskError('NO_DATA', text)
  }
  const forest = await IsolationForest.fit(matrix.device, data, options)
  const scores = await forest.score(data, { signal: options.signal })
  expectRange(scores.length === matrix.rows, where, `data of ${matrix.rows} rows`, scores.length)
  return { model: null, scores, rounds: [], diagnostics: NOTHING }
}

/** One of the methods by name, with its own options. */
export async function learnPu(
  problem: PuProblem,
  method: PuMethod,
  options: TwoStepOptions | OnePuOptions | SupervisedOptions | IsolationOptions = {},
): Promise<PuOutcome> {
  expectRange(PU_METHODS.includes(method), 'learnPu', `a method out of ${PU_METHODS.join(', ')}`, method)
  if (method === 'two-step') return twoStepPu(problem, options as TwoStepOptions)
  if (method === 'one-step') return onePu(problem, options as OnePuOptions)
  if (method === 'supervised') return supervisedPu(problem, options as SupervisedOptions)
  return isolationPu(problem, options as IsolationOptions)
}
