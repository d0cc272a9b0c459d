import { expect, test } from 'vitest'
import {
  amountRange,
  composeCombination,
  drawCombination,
  generateCombinations,
  paymentMethods,
  paymentPlaces,
} from '../../lib/demo/combinations.js'
import { rankCorrelation } from '../../lib/report/metrics.js'
import { Philox } from '../../lib/util/philox.js'

const rows = generateCombinations({ users: 400 })

test('the same options give the same rows', () => {
  expect(generateCombinations({ users: 400 })).toEqual(rows)
  expect(generateCombinations({ users: 400, seed: 1 })).not.toEqual(rows)
  expect(generateCombinations({ users: 399 })).toEqual(rows.filter(({ entity }) => entity !== 'user 399'))
})

test('amounts fill the range evenly, and every method is seen at every place', () => {
  const [low, high] = amountRange
  const amounts = rows.map(row => row.amount!).sort((a, b) => a - b)
  expect(amounts[0]).toBeGreaterThanOrEqual(low)
  expect(amounts.at(-1)).toBeLessThanOrEqual(high)
  for (const share of [0.25, 0.5, 0.75]) {
    const at = (amounts[Math.floor(share * amounts.length)] - low) / (high - low)
    expect(Math.abs(at - share)).toBeLessThan(0.05)
  }
  const pairs = new Set(rows.map(({ method, place }) => `${method} ${place}`))
  expect(pairs.size).toBe(paymentMethods.length * paymentPlaces.length)
})

test('method, place and amount of a user do not hang together', () => {
  const numbers = (pick: (row: (typeof rows)[number]) => number) => rows.map(pick)
  const method = numbers(row => paymentMethods.indexOf(row.method as never))
  const place = numbers(row => paymentPlaces.indexOf(row.place as never))
  const amount = numbers(row => row.amount!)
  // 400 users with tastes of their own: chance correlates them by about 1/√400.
  for (const [a, b] of [
    [method, place],
    [method, amount],
    [place, amount],
  ]) {
    expect(Math.abs(rankCorrelation(a, b))).toBeLessThan(0.15)
  }
})

test('sequences that stand for a combination', () => {
  const combination = { method: 'card', place: 'garage', amount: 90 }
  const composed = composeCombination('x', combination, 5)
  expect(composed.length).toBe(5)
  for (const row of composed) expect(row).toMatchObject({ entity: 'x', ...combination })
  const drawn = drawCombination('x', combination, new Philox(1, 1), { length: 2000 })
  const share = drawn.filter(row => row.method === 'card').length / 2000
  // 0.8 and a sixth of the rest, ± 4 deviations.
  expect(Math.abs(share - 0.8 - 0.2 / 6)).toBeLessThan(0.035)
  const times = drawCombination('x', combination, new Philox(1, 1), { days: 'even' }).map(row => Number(row.time))
  expect(new Set(times.slice(1).map((time, i) => time - times[i])).size).toBe(1)
})
