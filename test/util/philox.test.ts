import { expect, test } from 'vitest'
import { Philox, philox4x32 } from '../../lib/util/philox.js'

// Known answers of Random123 (kat_vectors, philox4x32 10).
test.each([
  [[0, 0, 0, 0, 0, 0], '6627e8d5 e169c58d bc57ac4c 9b00dbd8'],
  [Array(6).fill(0xffffffff), '408f276d 41c83b0e a20bc7c6 6d5451fd'],
  [[0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344, 0xa4093822, 0x299f31d0], 'd16cfe09 94fdcceb 5001e420 24126ea1'],
])('gives the known answer for %j', (input, answer) => {
  const out = new Uint32Array(4)
  const [c0, c1, c2, c3, k0, k1] = input
  philox4x32(c0, c1, c2, c3, k0, k1, out)
  expect([...out].map(word => word.toString(16).padStart(8, '0')).join(' ')).toBe(answer)
})

test('repeats for one seed and stream, and differs for another', () => {
  const take = (seed: number, stream: number) => {
    const rng = new Philox(seed, stream)
    return Array.from({ length: 9 }, () => rng.uint32())
  }
  expect(take(7, 1)).toEqual(take(7, 1))
  expect(take(7, 1)).not.toEqual(take(7, 2))
  expect(take(7, 1)).not.toEqual(take(8, 1))
  expect(take(7, 1)).not.toEqual(take(7 + 2 ** 32, 1))
})

// Bounds: five standard errors of the mean over n draws.
test('has the moments that it states', () => {
  const n = 20_000
  const rng = new Philox(3)
  const moments = (draw: () => number) => {
    let sum = 0
    let squares = 0
    for (let i = 0; i < n; i++) {
      const value = draw()
      sum += value
      squares += value * value
    }
    return { mean: sum / n, variance: squares / n - (sum / n) ** 2 }
  }
  const uniform = moments(() => rng.uniform())
  expect(Math.abs(uniform.mean - 0.5)).toBeLessThan(5 * Math.sqrt(1 / 12 / n))
  const normal = moments(() => rng.normal())
  expect(Math.abs(normal.mean)).toBeLessThan(5 / Math.sqrt(n))
  expect(Math.abs(normal.variance - 1)).toBeLessThan(5 * Math.sqrt(2 / n))
  expect(Math.abs(moments(() => rng.exponential()).mean - 1)).toBeLessThan(5 / Math.sqrt(n))
  for (const mean of [0.3, 4, 75]) {
    const poisson = moments(() => rng.poisson(mean))
    expect(Math.abs(poisson.mean - mean)).toBeLessThan(5 * Math.sqrt(mean / n))
    expect(Math.abs(poisson.variance / mean - 1)).toBeLessThan(0.1)
  }
  expect(Math.abs(moments(() => rng.below(3)).mean - 1)).toBeLessThan(5 * Math.sqrt(2 / 3 / n))
  expect(Math.abs(moments(() => rng.choice([1, 0, 3])).mean - 1.5)).toBeLessThan(5 * Math.sqrt(0.75 / n))
})

test('shuffles to a permutation', () => {
  const values = new Philox(1).shuffle(Int32Array.from({ length: 50 }, (_, i) => i))
  expect([...values]).not.toEqual(Array.from({ length: 50 }, (_, i) => i))
  expect([...values].sort((a, b) => a - b)).toEqual(Array.from({ length: 50 }, (_, i) => i))
})

test('refuses a seed, a stream, a count or weights that make no sense', () => {
  expect(() => new Philox(-1)).toThrow(RangeError)
  expect(() => new Philox(0.5)).toThrow('[philox] expected seed')
  expect(() => new Philox(1, 2 ** 32)).toThrow('[philox] expected stream')
  expect(() => new Philox(1).below(0)).toThrow('[philox] expected count')
  expect(() => new Philox(1).choice([0, 0])).toThrow('[philox] expected weights')
  expect(() => new Philox(1).choice([])).toThrow(RangeError)
})

test.each([0, 1e-3, 0.15, 0.5, 1])('draws lots of share %d as uniform numbers below it', share => {
  for (const count of [0, 1, 2, 3, 64, 5001]) {
    for (const before of [0, 1, 2, 3]) {
      const [got, want] = [new Philox(count, before), new Philox(count, before)]
      for (let i = 0; i < before; i++) expect(got.uint32()).toBe(want.uint32())
      const drawn: number[] = []
      for (let i = 0; i < count; i++) if (want.uniform() < share) drawn.push(i)
      expect([...got.lots(count, share)]).toEqual(drawn)
      // And goes on from there.
      expect(got.uint32()).toBe(want.uint32())
    }
  }
})
