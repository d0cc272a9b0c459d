// What vectors make of a structure that is known: methods, places and amounts of lib/demo/combinations.ts.

import {
  amountRange,
  type CombinationRow,
  combinationSchema,
  composeCombination,
  drawCombination,
  generateCombinations,
  paymentMethods,
  paymentPlaces,
} from '../../lib/demo/combinations.js'
import { Encoder } from '../../lib/encoder/encoder.js'
import { fromRows } from '../../lib/events/rows.js'
import type { Progress } from '../../lib/events/source.js'
import type { VectorTable } from '../../lib/events/table.js'
import type { PretrainOptions } from '../../lib/pretrain/options.js'
import { pretrain } from '../../lib/pretrain/pretrain.js'
import { rankCorrelation } from '../../lib/report/metrics.js'
import { markdownTable } from '../../lib/report/table.js'
import { Device } from '../../lib/runtime/device.js'
import { analogies, type Question } from '../../lib/transfer/analogy.js'
import { Philox } from '../../lib/util/philox.js'

export interface AnalogyEvaluationOptions {
  /** Users of the log. Default 2000. */
  readonly users?: number
  /** Spread of a user's amounts, see `generateCombinations`. */
  readonly spread?: number
  readonly seed?: number
  /** Overrides of pre-training. */
  readonly pretrain?: PretrainOptions
  readonly device?: Device
  readonly signal?: AbortSignal
  readonly onProgress?: (progress: Progress) => void
}

/** Share of questions whose answer is among the first 1 and the first 10. */
export interface AnalogyAccuracy {
  readonly questions: number
  readonly at1: number
  readonly at10: number
}

/** Rank correlations, the least over all combinations of a method and a place. */
export interface AmountStructure {
  /** Amounts with their places along one direction. */
  readonly order: number
  /** |a − b| with the distance along the direction, over all pairs of amounts. */
  readonly size: number
  /** |a − b| with the distance of the whole vectors. */
  readonly distance: number
}

export interface EncoderStructure {
  readonly encoder: 'untrained' | 'pre-trained'
  /** Sequences composed for the combination: one payment again and again. */
  readonly composed: AnalogyAccuracy
  /** Entities whose payments are drawn: four of five have the method, as many the place; one a day. */
  readonly drawn: AnalogyAccuracy
  /** The same at random times: histories end weeks apart, and vectors know. */
  readonly drawnAnyDay: AnalogyAccuracy
  readonly amounts: AmountStructure
}

export interface AnalogyEvaluation {
  readonly events: number
  readonly candidates: number
  readonly seconds: { readonly pretrain: number; readonly measure: number }
  readonly encoders: readonly EncoderStructure[]
}

/** Small, for the log is simple: some ten seconds on two cores. */
export const ANALOGY_PRETRAINING: PretrainOptions = { width: 64, blocks: 2, epochs: 20, encoding: { buckets: 8 } }

const middle = (amountRange[0] + amountRange[1]) / 2
const AMOUNTS = 34
/** Philox streams of drawn entities, beyond those of the log's users. */
const DRAWN_STREAM = 0x80000000

/** Pre-trains on the log, then asks every question that two methods and two places make. */
export async function evaluateAnalogy(options: AnalogyEvaluationOptions = {}): Promise<AnalogyEvaluation> {
  const { users = 2000, spread, seed = 0, signal, onProgress } = options
  const rows = generateCombinations({ users, spread, seed })
  const device = options.device ?? new Device()
  const begun = performance.now()
  try {
    const { encoder } = await pretrain(fromRows(combinationSchema, rows), {
      ...ANALOGY_PRETRAINING,
      seed,
      ...options.pretrain,
      device,
      signal,
      onProgress,
    })
    const untrained = new Encoder(encoder.encoding, encoder.config, { device, seed })
    try {
      const trained = performance.now()
      const encoders: EncoderStructure[] = []
      for (const [name, one] of [
        ['untrained', untrained],
        ['pre-trained', encoder],
      ] as const) {
        encoders.push({
          encoder: name,
          composed: await accuracy(one, composed(), device),
          drawn: await accuracy(one, drawn(seed, 'even'), device),
          drawnAnyDay: await accuracy(one, drawn(seed, 'random'), device),
          amounts: await amountStructure(one),
        })
      }
      return {
        events: rows.length,
        candidates: combinations().length,
        seconds: { pretrain: (trained - begun) / 1000, measure: (performance.now() - trained) / 1000 },
        encoders,
      }
    } finally {
      untrained.dispose()
      encoder.dispose()
    }
  } finally {
    if (!options.device) device.close()
  }
}

/** The result for a report: header and rows. */
export function analogyCells({ encoders }: AnalogyEvaluation): { header: string[]; rows: string[][] } {
  const share = (value: number) => value.toFixed(3)
  return {
    header: [
      'encoder',
      'composed @1',
      'composed @10',
      'drawn @1',
      'drawn @10',
      'any day @1',
      'any day @10',
      'order of amounts',
      'size of differences',
      'distance of vectors',
    ],
    rows: encoders.map(({ encoder, composed, drawn, drawnAnyDay, amounts }) => [
      encoder,
      ...[composed, drawn, drawnAnyDay].flatMap(({ at1, at10 }) => [share(at1), share(at10)]),
      ...[amounts.order, amounts.size, amounts.distance].map(share),
    ]),
  }
}

export function analogyTable(evaluation: AnalogyEvaluation): string {
  const { header, rows } = analogyCells(evaluation)
  return markdownTable(header, rows)
}

function combinations() {
  return paymentMethods.flatMap(method => paymentPlaces.map(place => ({ method, place, name: `${method} ${place}` })))
}

function composed(): CombinationRow[] {
  return combinations().flatMap(({ name, ...one }) => composeCombination(name, { ...one, amount: middle }))
}

function drawn(seed: number, days: 'even' | 'random'): CombinationRow[] {
  const all = combinations()
  return all.flatMap(({ name, ...one }, i) => {
    return drawCombination(name, { ...one, amount: middle }, new Philox(seed, DRAWN_STREAM + i), { days })
  })
}

function encode(encoder: Encoder, rows: readonly CombinationRow[]): Promise<VectorTable> {
  return encoder.encode(fromRows(combinationSchema, rows))
}

/** v(m1, p1) − v(m1, p2) + v(m2, p2) should lie at v(m2, p1). */
async function accuracy(encoder: Encoder, rows: readonly CombinationRow[], device: Device): Promise<AnalogyAccuracy> {
  const table = await encode(encoder, rows)
  const questions: (Question & { readonly answer: string })[] = []
  for (const m1 of paymentMethods) {
    for (const m2 of paymentMethods) {
      if (m1 === m2) continue
      for (const p1 of paymentPlaces) {
        for (const p2 of paymentPlaces) {
          if (p1 === p2) continue
          questions.push({ a: `${m1} ${p1}`, b: `${m1} ${p2}`, c: `${m2} ${p2}`, answer: `${m2} ${p1}` })
        }
      }
    }
  }
  const found = await analogies(table, questions, { top: 10, device })
  const within = (count: number) =>
    questions.filter(({ answer }, q) => found[q].slice(0, count).some(({ id }) => id === answer)).length
  return { questions: questions.length, at1: within(1) / questions.length, at10: within(10) / questions.length }
}

/** The direction is v(largest) − v(smallest) of the first combination; all others are measured along it too. */
async function amountStructure(encoder: Encoder): Promise<AmountStructure> {
  const [low, high] = amountRange
  const amounts = Array.from({ length: AMOUNTS }, (_, i) => low + ((high - low) * (i + 0.5)) / AMOUNTS)
  const worst = { order: 1, size: 1, distance: 1 }
  let direction: Float64Array | null = null
  for (const { name, ...one } of combinations()) {
    const rows = amounts.flatMap((amount, i) => composeCombination(`${name} ${i}`, { ...one, amount }))
    const { width, vectors } = await encode(encoder, rows)
    direction ??= Float64Array.from({ length: width }, (_, d) => vectors[(AMOUNTS - 1) * width + d] - vectors[d])
    const along = amounts.map((_, i) => direction!.reduce((sum, part, d) => sum + part * vectors[i * width + d], 0))
    const differences: number[] = []
    const steps: number[] = []
    const distances: number[] = []
    for (let i = 0; i < AMOUNTS; i++) {
      for (let j = 0; j < i; j++) {
        differences.push(Math.abs(amounts[i] - amounts[j]))
        steps.push(Math.abs(along[i] - along[j]))
        let square = 0
        for (let d = 0; d < width; d++) square += (vectors[i * width + d] - vectors[j * width + d]) ** 2
        distances.push(Math.sqrt(square))
      }
    }
    worst.order = Math.min(worst.order, rankCorrelation(amounts, along))
    worst.size = Math.min(worst.size, rankCorrelation(differences, steps))
    worst.distance = Math.min(worst.distance, rankCorrelation(differences, distances))
  }
  return worst
}
