// Sorting in slices equals sorting at once, at sizes around the length of a run.

import { describe, expect, it } from 'vitest'
import { fallingSteps, sortedCopy, sortedPlaces } from '../../lib/events/sort.js'
import { atOnce } from '../../lib/util/pace.js'
import { Philox } from '../../lib/util/philox.js'

describe('sortedCopy', () => {
  it.each([0, 1, 2, 16_383, 16_384, 16_385, 49_152, 100_003])('%i values', async size => {
    const random = new Philox(size)
    const values = new Float64Array(size).map(() => Math.round(random.normal() * 1000) / 8)
    const before = values.slice()
    const sorted = await sortedCopy(values)
    const want = values.slice().sort()
    expect(sorted.length).toBe(size)
    expect(sorted.every((value, i) => value === want[i])).toBe(true)
    expect(values.every((value, i) => Object.is(value, before[i]))).toBe(true)
  })

  it('lets timers run and can be cancelled', async () => {
    const values = new Float64Array(2_000_000).map((_, i) => (i * 2654435761) % 1_000_003)
    let ticks = 0
    const timer = setInterval(() => ticks++, 1)
    await sortedCopy(values)
    clearInterval(timer)
    expect(ticks).toBeGreaterThan(10)
    await expect(sortedCopy(values, AbortSignal.timeout(5))).rejects.toMatchObject({ name: 'TimeoutError' })
  })
})

describe('sortedPlaces', () => {
  it.each([0, 1, 1023, 1024, 1025, 5000])('%i places, equal ones in their order', async size => {
    const random = new Philox(size)
    const values = Array.from({ length: size }, () => random.below(50))
    const want = values.map((_, i) => i).sort((a, b) => values[b] - values[a] || a - b)
    expect([...(await sortedPlaces(size, (a, b) => values[b] - values[a]))]).toEqual(want)
  })
})

describe('fallingSteps', () => {
  const { MAX_VALUE, MIN_VALUE } = Number
  const edges = [
    0,
    -0,
    1,
    -1,
    Infinity,
    -Infinity,
    MIN_VALUE,
    -MIN_VALUE,
    MAX_VALUE,
    -MAX_VALUE,
    2 ** -1022,
    1 + 2 ** -52,
  ]

  it.each([0, 1, 2, 255, 8191, 8192, 70_000])('%i places, equal ones in the order given', size => {
    const random = new Philox(size)
    const places = random.shuffle(Int32Array.from({ length: size }, (_, i) => i))
    const before = places.slice()
    const values = Float64Array.from({ length: size }, (_, i) =>
      i % 3 === 0 ? edges[random.below(edges.length)] : i % 3 === 1 ? random.normal() : random.below(50) - 25,
    )
    for (const given of [values, Float32Array.from(values), Array.from(values)]) {
      // Two infinities have no difference, and are equal.
      const want = before.toSorted((a, b) => given[b] - given[a] || 0)
      const sorted = atOnce(fallingSteps(places, given))
      expect(sorted.length).toBe(size)
      expect(sorted.every((place, i) => place === want[i])).toBe(true)
    }
    expect(places.every((place, i) => place === before[i])).toBe(true)
  })
})
