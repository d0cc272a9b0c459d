// When asking ends, and why.

import { expectOptions, expectRange } from '../util/errors.js'

/** What a round of asking brought. */
export interface RoundRecord {
  /** From 1. */
  readonly round: number
  readonly asked: number
  readonly positives: number
  readonly negatives: number
  readonly unsure: number
  /** Mean step of the unlabelled rows' scores since the round before, as a share of their mean; NaN in the first round. */
  readonly drift: number
  /** Share of 1 among the answered rows of the top band, by the scores before the round; NaN without any. */
  readonly bandPrecision: number
}

/** When asking ends: at the first rule that holds. None is on unless it is given. */
export interface StopRules {
  /** Answers in all. */
  readonly budget?: number | undefined
  readonly rounds?: number | undefined
  /** Stops once rounds yield less than this share of the best round's positives per answer. */
  readonly yieldDecay?: number | undefined
  /** Stops once the drift stays below. */
  readonly drift?: number | undefined
  /** Stops once the top band's precision stays within this range. */
  readonly plateau?: number | undefined
  /** Percentile where the top band begins. Default 95. */
  readonly band?: number | undefined
  /** Rounds in a row that a rule must hold. Default 2. */
  readonly patience?: number | undefined
}

const RULES = ['budget', 'rounds', 'yieldDecay', 'drift', 'plateau', 'band', 'patience'] as const
const where = 'active'

/** @throws {TypeError|RangeError} for unknown rules or values outside their range */
export function checkRules(rules: StopRules): void {
  expectOptions(where, rules, RULES)
  for (const name of ['budget', 'rounds', 'patience'] as const) {
    const value = rules[name]
    const isCount = value === undefined || (Number.isInteger(value) && value >= 1)
    expectRange(isCount, where, `${name} to be an integer from 1`, value)
  }
  for (const name of ['yieldDecay', 'drift', 'plateau'] as const) {
    const value = rules[name]
    expectRange(value === undefined || value >= 0, where, `${name} from 0`, value)
  }
  const { band = 95 } = rules
  expectRange(band >= 0 && band < 100, where, 'band as a percentile below 100', band)
}

/** Why asking ends where no rule holds. */
export const NO_ROW_LEFT = 'no row is left to ask about'

/** How often anything was answered; a row that is asked about again counts each time. */
export function answersOf(history: readonly RoundRecord[]): number {
  return history.reduce((sum, { positives, negatives, unsure }) => sum + positives + negatives + unsure, 0)
}

/** The first rule that holds, in words; null to go on. */
export function stopReason(rules: StopRules, history: readonly RoundRecord[]): string | null {
  const { budget, rounds, yieldDecay, drift, plateau, band = 95, patience = 2 } = rules
  const answers = answersOf(history)
  if (budget !== undefined && answers >= budget) return `budget: ${answers} answers of ${budget}`
  if (rounds !== undefined && history.length >= rounds) return `rounds: ${history.length} of ${rounds}`
  if (history.length <= patience) return null
  const last = history.slice(-patience)
  if (yieldDecay !== undefined) {
    const yields = history.map(({ positives, negatives, unsure }) => {
      const all = positives + negatives + unsure
      return all === 0 ? 0 : positives / all
    })
    const best = Math.max(...yields)
    const recent = yields.slice(-patience)
    if (recent.every(one => one < yieldDecay * best)) {
      return `yield decay: ${shown(recent)} positives per answer, below ${yieldDecay} × ${best.toFixed(3)}`
    }
  }
  if (drift !== undefined && last.every(record => record.drift < drift)) {
    return `score drift: ${shown(last.map(record => record.drift))}, below ${drift}`
  }
  if (plateau !== undefined) {
    const levels = history.slice(-patience - 1).map(record => record.bandPrecision)
    const range = Math.max(...levels) - Math.min(...levels)
    if (range <= plateau) return `plateau: precision ${shown(levels)} above percentile ${band}, within ${plateau}`
  }
  return null
}

const shown = (values: readonly number[]) => values.map(value => value.toFixed(3)).join(', ')
