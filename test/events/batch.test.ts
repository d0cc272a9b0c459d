// Batches: every sequence once, under the budget, alike in length, a function of seed and epoch; slices equal the original.

import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  type EncodedEvents,
  lengthGroupedBatches,
  sliceBatch,
  viewBatch,
  wholeSequences,
} from '../../lib/events/index.js'
import { Philox } from '../../lib/util/philox.js'

const lengths = fc.array(fc.oneof(fc.integer({ min: 0, max: 12 }), fc.integer({ min: 0, max: 400 })), {
  maxLength: 300,
})

describe('lengthGroupedBatches', () => {
  it('covers every sequence exactly once, under the budget or alone', () => {
    fc.assert(
      fc.property(lengths, fc.integer({ min: 1, max: 300 }), fc.nat(), fc.nat(100), (own, events, seed, epoch) => {
        const batches = lengthGroupedBatches(own, { events, seed, epoch })
        const all = batches.flatMap(batch => [...batch]).sort((a, b) => a - b)
        expect(all).toEqual(own.map((_, i) => i))
        for (const batch of batches) {
          const total = batch.reduce((sum, sequence) => sum + own[sequence], 0)
          expect(batch.length > 0 && (total <= events || batch.length === 1)).toBe(true)
        }
      }),
      { seed: 1 },
    )
  })

  it('is the same for the same seed and epoch, and another for others', () => {
    const own = Array.from({ length: 500 }, (_, i) => 1 + (i % 40))
    const batches = (seed: number, epoch: number) =>
      lengthGroupedBatches(own, { events: 200, seed, epoch }).map(batch => [...batch])
    expect(batches(1, 2)).toEqual(batches(1, 2))
    expect(batches(1, 2)).not.toEqual(batches(1, 3))
    expect(batches(1, 2)).not.toEqual(batches(2, 2))
  })

  it('puts sequences of similar length together, in batches that are nearly full', () => {
    const random = new Philox(5)
    const own = Array.from({ length: 20_000 }, () => 1 + Math.floor(random.exponential() * 60))
    const batches = lengthGroupedBatches(own, { events: 4096, seed: 1, epoch: 0 })
    const spread = batches.map(batch => Math.max(...batch.map(i => own[i])) - Math.min(...batch.map(i => own[i])))
    const total = own.reduce((sum, length) => sum + length, 0)
    expect(spread.toSorted((a, b) => a - b)[batches.length >> 1]).toBeLessThan(20)
    expect(batches.length).toBeLessThan((total / 4096) * 1.1)
    // Shuffled: short and long batches follow each other.
    const firsts = batches.map(batch => own[batch[0]])
    expect(firsts.filter((length, i) => i > 0 && length < firsts[i - 1]).length).toBeGreaterThan(batches.length / 4)
  })

  it('puts each sequence at each place alike', () => {
    // 6 sequences of one event: 720 orders; first place over 6000 epochs, χ² with 5 degrees of freedom below 20.5 (p = 0.001).
    const counts = new Array(6).fill(0)
    for (let epoch = 0; epoch < 6000; epoch++) {
      counts[lengthGroupedBatches([1, 1, 1, 1, 1, 1], { events: 10, seed: 3, epoch })[0][0]]++
    }
    const chi = counts.reduce((sum, count) => sum + (count - 1000) ** 2 / 1000, 0)
    expect(chi).toBeLessThan(20.5)
  })

  it('refuses a budget that is none', () => {
    expect(() => lengthGroupedBatches([1], { events: 0, seed: 1, epoch: 0 })).toThrow(/events to be a whole number ≥ 1/)
    // @ts-expect-error: no such option
    expect(() => lengthGroupedBatches([1], { event: 5, seed: 1, epoch: 0 })).toThrow(/did you mean 'events'/)
  })
})

function randomEvents(own: readonly number[], seed: number): EncodedEvents {
  const random = new Philox(seed)
  const offsets = new Int32Array(own.length + 1)
  for (const [i, length] of own.entries()) offsets[i + 1] = offsets[i] + length
  const events = offsets[own.length]
  const words = new Int32Array(events + 1)
  for (let t = 0; t < events; t++) words[t + 1] = words[t] + random.below(4)
  const codes = (count: number) => Int32Array.from({ length: count }, () => random.below(1000))
  return {
    ids: own.map((_, i) => `u${i}`),
    offsets,
    time: Float64Array.from({ length: events }, (_, t) => t),
    inputs: [
      { name: 'a', field: 'a', kind: 'categorical', codes: codes(events) },
      {
        name: 'b',
        field: 'b',
        kind: 'numeric',
        codes: codes(events),
        fraction: new Float32Array(events).map(() => random.uniform()),
      },
      { name: 'c', field: 'c', kind: 'text', codes: codes(words[events]), offsets: words },
    ],
  }
}

describe('viewBatch', () => {
  it('equals the copy of the same sequences, and shares their memory', () => {
    const encoded = randomEvents([3, 0, 7, 1], 9)
    for (let begin = 0; begin <= 4; begin++) {
      for (let end = begin; end <= 4; end++) {
        const sequences = Array.from({ length: end - begin }, (_, i) => begin + i)
        const copy = sliceBatch(encoded, wholeSequences(encoded.offsets, sequences))
        expect(viewBatch(encoded, begin, end), `[${begin}, ${end})`).toEqual(copy)
      }
    }
    expect(viewBatch(encoded, 1, 4).inputs[0].codes.buffer).toBe(encoded.inputs[0].codes.buffer)
    for (const [begin, end] of [
      [-1, 2],
      [2, 1],
      [0, 5],
      [0.5, 1],
    ]) {
      expect(() => viewBatch(encoded, begin, end)).toThrow(/sequences in \[0, 4\)/)
    }
  })
})

describe('sliceBatch', () => {
  it('copies exactly the events of its pieces', () => {
    const pieces = fc.array(fc.tuple(fc.nat(), fc.nat(), fc.nat()), { maxLength: 20 })
    fc.assert(
      fc.property(fc.array(fc.nat(30), { minLength: 1, maxLength: 20 }), pieces, (own, draws) => {
        const encoded = randomEvents(own, 7)
        const chosen = draws.map(([s, x, y]) => {
          const sequence = s % own.length
          const [a, b] = [x % (own[sequence] + 1), y % (own[sequence] + 1)]
          return { sequence, begin: Math.min(a, b), end: Math.max(a, b) }
        })
        const batch = sliceBatch(encoded, chosen)
        const places = chosen.flatMap(({ sequence, begin, end }) =>
          Array.from({ length: end - begin }, (_, t) => encoded.offsets[sequence] + begin + t),
        )
        expect(batch.offsets.length).toBe(chosen.length + 1)
        expect([...batch.time]).toEqual(places.map(t => encoded.time[t]))
        const [a, b, c] = batch.inputs
        const [fromA, fromB, fromC] = encoded.inputs
        expect([...a.codes]).toEqual(places.map(t => fromA.codes[t]))
        expect([...b.codes]).toEqual(places.map(t => fromB.codes[t]))
        expect([...b.fraction!]).toEqual(places.map(t => fromB.fraction![t]))
        const wordsOf = (codes: Int32Array, offsets: Int32Array, t: number) => [
          ...codes.subarray(offsets[t], offsets[t + 1]),
        ]
        expect(places.map((_, i) => wordsOf(c.codes, c.offsets!, i))).toEqual(
          places.map(t => wordsOf(fromC.codes, fromC.offsets!, t)),
        )
        expect(c.offsets!.length).toBe(places.length + 1)
      }),
      { seed: 1 },
    )
  })

  it('of all whole sequences is the original, and a copy', () => {
    const encoded = randomEvents([3, 0, 7, 1], 9)
    const { ids, ...rest } = encoded
    const batch = sliceBatch(encoded, wholeSequences(encoded.offsets, [0, 1, 2, 3]))
    expect(batch).toEqual(rest)
    batch.inputs[0].codes[0] = -1
    expect(encoded.inputs[0].codes[0]).not.toBe(-1)
    expect(ids.length).toBe(4)
  })

  it.each([
    [{ sequence: 4, begin: 0, end: 0 }, /a sequence in \[0, 4\)/],
    [{ sequence: -1, begin: 0, end: 0 }, /a sequence in/],
    [{ sequence: 0, begin: 2, end: 1 }, /inside the 3 events of sequence 0 but received '\[2, 1\)'/],
    [{ sequence: 0, begin: 0, end: 4 }, /inside the 3 events/],
    [{ sequence: 0, begin: 0.5, end: 2 }, /inside the 3 events/],
  ])('refuses the piece %o', (piece, message) => {
    expect(() => sliceBatch(randomEvents([3, 0, 7, 1], 9), [piece])).toThrow(message)
  })
})
