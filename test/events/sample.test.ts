import { expect, it } from 'vitest'
import { Sample } from '../../lib/events/sample.js'
import { Philox } from '../../lib/util/philox.js'

it('keeps everything while there is room', () => {
  const sample = new Sample(4)
  const random = new Philox(1)
  expect([...sample.values]).toEqual([])
  for (const value of [5, 3, 9]) sample.add(value, random)
  expect([...sample.values]).toEqual([5, 3, 9])
  expect(sample.count).toBe(3)
})

it('then keeps each value with the same chance', () => {
  const random = new Philox(2)
  const kept = new Float64Array(40)
  const runs = 4000
  for (let run = 0; run < runs; run++) {
    const sample = new Sample(10)
    for (let value = 0; value < 40; value++) sample.add(value, random)
    expect(sample.count).toBe(40)
    expect(new Set(sample.values).size).toBe(10)
    for (const value of sample.values) kept[value]++
  }
  // Expected 1000 of 4000 each, deviation √(4000 · ¼ · ¾) = 27; five of them.
  for (const count of kept) expect(Math.abs(count - 1000)).toBeLessThan(137)
})
