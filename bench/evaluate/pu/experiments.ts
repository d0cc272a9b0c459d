// The article's three experiments on one set, one way of hiding, one seed.

import {
  isolationPu,
  LITERAL_TWO_STEP,
  onePu,
  type PuProblem,
  runActive,
  supervisedPu,
  type TwoStepOptions,
  twoStepPu,
} from '../../../lib/index.js'
import { bandsOf, volumeAtEqualPrecision } from '../../../lib/report/bands.js'
import { auc, averagePrecision } from '../../../lib/report/metrics.js'
import { BinnedMatrix } from '../../../lib/runtime/binned_matrix.js'
import type { Device } from '../../../lib/runtime/device.js'
import { Philox } from '../../../lib/util/philox.js'
import { heldOut, hideLabels, type PuSet, type Way } from './sets.js'

/** Without labels of experts, then with them. */
export const SCORERS = [
  'isolation forest',
  'P against U',
  'one-step PU',
  'literal two-step',
  'two-step PU',
  'active PU',
  'active, random',
  'active, LU',
  'all labels',
] as const
export type Scorer = (typeof SCORERS)[number]

export const EDGES = [0, 85, 90, 95, 99, 100] as const
/** Batches that the expert gets, and rows of one. */
export const ROUNDS = 5
export const BATCH = 40
/** Share of the positives that the expert does not recognise. */
export const MISSED = 0.2

export interface Quality {
  /** In the 95–100 band of unlabelled rows that took part, which experts may have been asked about. */
  readonly pool: number
  /** In the 95–100 band of held-out rows. */
  readonly held: number
  /** Of held-out rows in each band of EDGES. */
  readonly bands: readonly number[]
  readonly auc: number
  readonly averagePrecision: number
}

export interface Outcome {
  readonly way: Way
  readonly seed: number
  readonly known: number
  readonly hidden: number
  readonly quality: Readonly<Record<Scorer, Quality>>
  /** Held-out positives that active PU and the isolation forest find at the precision of the latter's 95–100 band. */
  readonly volume: { readonly precision: number; readonly active: number; readonly isolation: number }
  /** Answers of 1 of each way to ask. */
  readonly found: Readonly<Record<string, number>>
}

export async function openMatrix(device: Device, { columns, names, categorical }: PuSet): Promise<BinnedMatrix> {
  return BinnedMatrix.from(device, { columns }, { names, categorical })
}

export async function experiment(
  matrix: BinnedMatrix,
  { columns, truth }: PuSet,
  way: Way,
  seed: number,
  options: TwoStepOptions = {},
): Promise<Outcome> {
  const known = await hideLabels(matrix, truth, way, seed)
  const held = heldOut(known, seed)
  const mask = held.map(one => 1 - one)
  const data = { columns }
  const isolation = await isolationPu({ matrix, positives: known, data }, { seed })
  const problem: PuProblem = { matrix, positives: known, mask, unusual: isolation.scores }
  const ask = { rounds: ROUNDS, batch: BATCH, seed }
  const expert = (rows: Int32Array) => Array.from(rows, row => answerOf(truth[row], row, seed))
  const diverse = await runActive(problem, expert, ask)
  const random = await runActive(problem, expert, { ...ask, sampler: 'random' })
  const believing = await runActive(problem, expert, { ...ask, setting: 'lu' })
  const scores: Record<Scorer, ArrayLike<number>> = {
    'isolation forest': isolation.scores,
    'P against U': (await supervisedPu(problem, { seed })).scores,
    'one-step PU': (await onePu(problem, { seed })).scores,
    'literal two-step': (await twoStepPu(problem, { ...LITERAL_TWO_STEP, seed })).scores,
    'two-step PU': (await twoStepPu(problem, { ...options, seed })).scores,
    'active PU': diverse.scores,
    'active, random': random.scores,
    'active, LU': believing.scores,
    'all labels': (await supervisedPu({ ...problem, positives: truth }, { seed })).scores,
  }
  const rows = Int32Array.from(truth, (_, row) => row)
  const pool = rows.filter(row => !known[row] && !held[row])
  const test = rows.filter(row => held[row] === 1)
  const found: [Scorer, Quality][] = []
  for (const name of SCORERS) found.push([name, await qualityOf(scores[name], truth, pool, test, seed)])
  const quality = Object.fromEntries(found) as unknown as Outcome['quality']
  const precision = quality['isolation forest'].held
  const at = (name: Scorer) => Float64Array.from(test, row => scores[name][row])
  const labels = Float64Array.from(test, row => truth[row])
  const options0 = { precision, samples: 0, seed }
  const volume = await volumeAtEqualPrecision(at('active PU'), at('isolation forest'), labels, options0)
  const count = (flags: Uint8Array) => flags.reduce((sum, one) => sum + one, 0)
  return {
    way,
    seed,
    known: count(known),
    hidden: count(truth) - count(known),
    quality,
    volume: { precision, active: volume.found[0], isolation: volume.found[1] },
    found: {
      diverse: diverse.state.counts().positives,
      random: random.state.counts().positives,
      lu: believing.state.counts().positives,
    },
  }
}

/** The same expert says the same of a row, whoever asks. */
function answerOf(truth: number, row: number, seed: number): 0 | 1 {
  return truth === 1 && new Philox(seed * 1_000_003 + row, 4).uniform() >= MISSED ? 1 : 0
}

async function qualityOf(
  scores: ArrayLike<number>,
  truth: Uint8Array,
  pool: Int32Array,
  test: Int32Array,
  seed: number,
): Promise<Quality> {
  const part = (rows: Int32Array) =>
    [Float64Array.from(rows, row => scores[row]), Float64Array.from(rows, row => truth[row])] as const
  const top = async (rows: Int32Array) => (await bandsOf(...part(rows), { edges: [95, 100], seed })).bands[0].precision
  const [own, labels] = part(test)
  return {
    pool: await top(pool),
    held: await top(test),
    bands: (await bandsOf(own, labels, { edges: EDGES, seed })).bands.map(band => band.precision),
    auc: auc(own, labels),
    averagePrecision: averagePrecision(own, labels),
  }
}
