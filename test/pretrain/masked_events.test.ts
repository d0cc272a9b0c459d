// Hiding events draws the very numbers that it always drew: published figures and checkpoints rest on them.

import { describe, expect, it } from 'vitest'
import type { PackedBatch } from '../../lib/events/batch.js'
import { sliceBatch } from '../../lib/events/batch.js'
import type { EncodedEvents, InputColumn } from '../../lib/events/encode.js'
import { MASK } from '../../lib/events/inputs.js'
import { slicePooled } from '../../lib/events/slice.js'
import { maskEvents, maskSteps } from '../../lib/pretrain/masked_events.js'
import { fastPhilox } from '../../lib/runtime/random.js'
import { ArrayPool } from '../../lib/util/array_pool.js'
import { atOnce } from '../../lib/util/pace.js'
import { Philox } from '../../lib/util/philox.js'
import { TestRandom } from '../support/random.js'

/** One input of each kind; some events have no words, and some values are hidden already. */
function someEvents(lengths: readonly number[], seed = 1): EncodedEvents {
  const random = new TestRandom(seed)
  const events = lengths.reduce((sum, length) => sum + length, 0)
  const codes = () => Int32Array.from({ length: events }, () => random.integer(0, 40))
  const offsets = new Int32Array(events + 1)
  for (let t = 0; t < events; t++) offsets[t + 1] = offsets[t] + random.integer(0, 4)
  const words = Int32Array.from({ length: offsets[events] }, () => random.integer(2, 99))
  const starts = [0]
  for (const length of lengths) starts.push(starts[starts.length - 1] + length)
  return {
    ids: lengths.map((_, i) => `${i}`),
    offsets: Int32Array.from(starts),
    time: Float64Array.from({ length: events }, () => random.next()),
    inputs: [
      { name: 'kind', field: 'kind', kind: 'categorical', codes: codes() },
      { name: 'note', field: 'note', kind: 'text', codes: words, offsets },
      { name: 'sum', field: 'sum', kind: 'numeric', codes: codes(), fraction: Float32Array.from(codes(), c => c / 64) },
    ],
  }
}

/** The definition, event by event. */
function definition({ offsets, inputs }: PackedBatch, random: Philox, rate: number) {
  const events = offsets[offsets.length - 1]
  const rows: number[] = []
  for (let t = 0; t < events; t++) if (random.uniform() < rate) rows.push(t)
  if (rows.length === 0 && events > 0) rows.push(random.below(events))
  const source = rows.map(row => {
    const draw = random.uniform()
    return draw < 0.8 ? -1 : draw < 0.8 + 0.1 ? random.below(events) : row
  })
  const wordsOf = ({ codes, offsets }: InputColumn, t: number) => [...codes.subarray(offsets![t], offsets![t + 1])]
  const targets = inputs.map(input =>
    rows.map(row => {
      if (!input.offsets) return input.codes[row] === MASK ? -1 : input.codes[row]
      const words = wordsOf(input, row)
      return words.length === 0 ? -1 : words[random.below(words.length)]
    }),
  )
  const from = Array.from({ length: events }, (_, t) => t)
  rows.forEach((row, i) => {
    from[row] = source[i]
  })
  const hidden = inputs.map(input => ({
    codes: input.offsets
      ? from.map(t => (t < 0 ? [MASK] : wordsOf(input, t)))
      : from.map(t => [t < 0 ? MASK : input.codes[t]]),
    fraction: input.fraction && from.map(t => (t < 0 ? 0 : input.fraction![t])),
  }))
  return { rows, targets, hidden }
}

function expectDefined(batch: PackedBatch, got: ReturnType<typeof maskEvents>, random: Philox, rate: number): void {
  const want = definition(batch, random, rate)
  expect([...got.rows]).toEqual(want.rows)
  expect(got.targets.map(target => [...target])).toEqual(want.targets)
  for (const [i, { codes, fraction, offsets }] of got.batch.inputs.entries()) {
    const { hidden } = want
    const perEvent = hidden[i].codes.map((_, t) =>
      offsets ? [...codes.subarray(offsets[t], offsets[t + 1])] : [codes[t]],
    )
    expect(perEvent).toEqual(hidden[i].codes)
    expect(codes).toHaveLength(hidden[i].codes.flat().length)
    expect(fraction && [...fraction]).toEqual(hidden[i].fraction)
  }
}

const copyOf = (batch: PackedBatch) => structuredClone(batch)

describe('maskEvents', () => {
  it.each([
    [[], 0.15],
    [[0, 0], 0.15],
    [[1], 0.15],
    [[3, 0, 5], 1e-9],
    [[40, 1, 300], 0.15],
    [[40, 1, 300], 0.5],
    [[64, 64], 1],
    [[9000], 0.15],
  ])('is what its definition says for lengths %j and rate %d', (lengths, rate) => {
    const encoded = someEvents(lengths)
    for (const [seed, stream] of [
      [0, 0],
      [3, 1],
      [2 ** 40 + 5, 0x80000001],
    ]) {
      const given = copyOf(encoded)
      const got = maskEvents(given, fastPhilox(seed, stream), { rate })
      expectDefined(encoded, got, new Philox(seed, stream), rate)
      expect(given).toEqual(encoded)
    }
  })

  it('as steps overwrites the arrays of the batch alone', () => {
    const encoded = someEvents([200, 70])
    const pool = new ArrayPool()
    for (let round = 0; round < 3; round++) {
      const pieces = [
        { sequence: 1, begin: 3, end: 70 },
        { sequence: 0, begin: 0, end: 200 - round },
      ]
      const batch = sliceBatch(encoded, pieces)
      const mine = atOnce(slicePooled(encoded, pieces, pool))
      expectDefined(batch, atOnce(maskSteps(mine, fastPhilox(9, round), { rate: 0.3 })), new Philox(9, round), 0.3)
      pool.reuse()
    }
    expect(encoded).toEqual(someEvents([200, 70]))
  })
})

describe('slicing into arrays of a pool', () => {
  it('leaves nothing of what stood there', () => {
    const encoded = someEvents([5000, 20, 0, 47, 48, 49, 6000])
    const pool = new ArrayPool()
    for (let round = 0; round < 3; round++) {
      const pieces = [6, 0, 1, 2, 3, 4, 5].map(sequence => {
        const length = encoded.offsets[sequence + 1] - encoded.offsets[sequence]
        return { sequence, begin: Math.min(round, length), end: length }
      })
      const got = atOnce(slicePooled(encoded, pieces, pool))
      expect(got).toEqual(sliceBatch(encoded, pieces))
      for (const { codes, fraction, offsets } of got.inputs) {
        codes.fill(-7)
        fraction?.fill(Number.NaN)
        offsets?.fill(-7)
      }
      got.time.fill(Number.NaN)
      pool.reuse()
    }
  })
})
