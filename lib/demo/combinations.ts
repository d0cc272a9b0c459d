// A log whose structure is known: every payment is a method, a place and an amount that its user's tastes choose, each
// apart from the other two. What vectors make of that structure can be measured: see bench/evaluate/analogy.ts.

import type { EventRow } from '../events/rows.js'
import { defineSchema } from '../events/schema.js'
import { expectOptions, expectRange } from '../util/errors.js'
import { Philox } from '../util/philox.js'

export const combinationSchema = defineSchema({
  entity: 'entity',
  time: 'time',
  fields: {
    method: { kind: 'categorical' },
    place: { kind: 'categorical' },
    amount: { kind: 'numeric' },
  },
})

export type CombinationRow = EventRow<typeof combinationSchema.fields, 'entity', 'time'>

export const paymentMethods = ['card', 'cash', 'qr', 'transfer', 'voucher', 'wallet'] as const
export const paymentPlaces = [
  'bakery',
  'bookshop',
  'cinema',
  'garage',
  'grocer',
  'pharmacy',
  'restaurant',
  'station',
] as const
/** Smallest and largest amount of the log; all in between are about as frequent. */
export const amountRange = [5, 500] as const

export interface CombinationOptions {
  /** Default 2000, with 40 payments each on average. */
  readonly users?: number
  /** Deviation of a user's amounts around the user's own level, as a share of the range. Default 0.2. */
  readonly spread?: number
  readonly seed?: number
}

/** What a sequence stands for. */
export interface Combination {
  readonly method: string
  readonly place: string
  readonly amount: number
}

const dayMs = 86_400_000
const firstDay = Date.UTC(2024, 0, 1)
/** Payments of a user: at least so many, and so many more on average. */
const SHORTEST = 16
const LONGER = 24

/** Draws the log: same options, same rows. */
export function generateCombinations(options: CombinationOptions = {}): CombinationRow[] {
  const where = 'generateCombinations'
  expectOptions(where, options, ['users', 'spread', 'seed'])
  const { users = 2000, spread = 0.2, seed = 0 } = options
  expectRange(Number.isInteger(users) && users >= 1 && users <= 1e6, where, 'users in [1, 1e6]', users)
  expectRange(spread >= 0 && spread <= 1, where, 'spread in [0, 1]', spread)
  const rows: CombinationRow[] = []
  for (let user = 0; user < users; user++) {
    const random = new Philox(seed, user)
    const methods = taste(random, paymentMethods.length)
    const places = taste(random, paymentPlaces.length)
    const level = random.uniform()
    const payments = SHORTEST + random.poisson(LONGER)
    let time = firstDay
    for (let t = 0; t < payments; t++) {
      time += Math.ceil(dayMs * random.exponential())
      rows.push({
        entity: `user ${user}`,
        time,
        method: paymentMethods[random.choice(methods)],
        place: paymentPlaces[random.choice(places)],
        amount: amountAt(level + spread * random.normal()),
      })
    }
  }
  return rows
}

/** The amount at a share of the range; shares beyond it are thrown back inside. */
function amountAt(share: number): number {
  const [low, high] = amountRange
  const inside = 1 - Math.abs((Math.abs(share) % 2) - 1)
  return Math.round(100 * (low + (high - low) * inside)) / 100
}

/** How much a user likes each of `count` things: few are liked much, most hardly at all. */
function taste(random: Philox, count: number): number[] {
  return Array.from({ length: count }, () => random.exponential() ** 3)
}

/** Payments that are all alike, a day apart: the shortest way to say a combination. */
export function composeCombination(entity: string, combination: Combination, length = 16): CombinationRow[] {
  return Array.from({ length }, (_, t) => ({ entity, time: firstDay + (t + 1) * dayMs, ...combination }))
}

export interface DrawOptions {
  /** Share of the payments that have the combination's method, and its place; the others have any. Default 0.8. */
  readonly purity?: number
  /** Deviation of amounts around the combination's own, as a share of the range. Default 0.2. */
  readonly spread?: number
  /** Payments. Default 40. */
  readonly length?: number
  /** `even`: a day apart, so that all histories end together. `random`: a day apart on average. Default `random`. */
  readonly days?: 'even' | 'random'
}

/** Payments as an entity of that combination makes them. */
export function drawCombination(
  entity: string,
  combination: Combination,
  random: Philox,
  { purity = 0.8, spread = 0.2, length = 40, days = 'random' }: DrawOptions = {},
): CombinationRow[] {
  const [low, high] = amountRange
  const level = (combination.amount - low) / (high - low)
  const one = (own: string, all: readonly string[]) => (random.uniform() < purity ? own : all[random.below(all.length)])
  let time = firstDay
  return Array.from({ length }, () => {
    time += days === 'even' ? dayMs : Math.ceil(dayMs * random.exponential())
    return {
      entity,
      time,
      method: one(combination.method, paymentMethods),
      place: one(combination.place, paymentPlaces),
      amount: amountAt(level + spread * random.normal()),
    }
  })
}
