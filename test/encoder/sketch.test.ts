import { describe, expect, it } from 'vitest'
import { Encoder } from '../../lib/encoder/encoder.js'
import type { EncodedEvents } from '../../lib/events/encode.js'
import { encodeSource } from '../../lib/events/encode_source.js'
import { fitEncoding } from '../../lib/events/encoding.js'
import type { EventEncoding, NumericInput } from '../../lib/events/inputs.js'
import { expectClose, expectSameBits } from '../support/close.js'
import { openDevice } from '../support/devices.js'
import { smallSource } from '../support/small_source.js'

const source = smallSource()
const encoding = await fitEncoding(source)
const D = 4
const sketchAlone = { width: D, heads: 1, blocks: 0, skip: false }

/** The sketch of every sequence: what stands behind the last layer. */
async function sketches(of: EventEncoding, columns: number, seed = 1): Promise<Float32Array[]> {
  const encoder = new Encoder(of, { ...sketchAlone, sketch: columns }, { device: openDevice(), seed })
  const { vectors, ids, width } = await encoder.encodeBlock(await encodeSource(source, of))
  expect(encoder.parameters.some(({ name }) => name.startsWith('sketch'))).toBe(false)
  encoder.dispose()
  return ids.map((_, i) => vectors.slice(i * width + D, (i + 1) * width))
}

const only = (name: string): EventEncoding => ({
  ...encoding,
  inputs: encoding.inputs.filter(input => input.name === name),
})

/** Means over a sequence's events of what `valueOf` gives for each. */
function means(encoded: EncodedEvents, columns: number, add: (t: number, to: Float64Array) => void): Float64Array[] {
  return encoded.ids.map((_, i) => {
    const sum = new Float64Array(columns)
    const [begin, end] = [encoded.offsets[i], encoded.offsets[i + 1]]
    for (let t = begin; t < end; t++) add(t, sum)
    return sum.map(value => value / (end - begin))
  })
}

const distance = (x: ArrayLike<number>, y: ArrayLike<number>) =>
  Math.sqrt(Array.from(x, (value, c) => (value - y[c]) ** 2).reduce((sum, square) => sum + square))

describe('a sketch with columns enough', () => {
  it('has the share of events with each value of a category', async () => {
    const one = only('type')
    const columns = one.inputs[0].size - 1
    const encoded = await encodeSource(source, one)
    const { codes } = encoded.inputs[0]
    // Code 0 stands first, code 1 hides values and has no column. As far apart as rows of deviation 1/2 in D columns.
    const want = means(encoded, columns, (t, to) => {
      to[Math.max(0, codes[t] - 1)] += 0.5 * Math.sqrt(D)
    })
    const got = await sketches(one, 1000)
    for (const [i, values] of got.entries()) expectClose(values, want[i], { absolute: 1e-6 })
  })

  it('has how far a number reaches through each of its bins', async () => {
    const one = only('amount')
    const { size } = one.inputs[0] as NumericInput
    const encoded = await encodeSource(source, one)
    const { codes, fraction } = encoded.inputs[0]
    const scale = (0.5 * Math.sqrt(D)) / Math.sqrt(size)
    const want = means(encoded, size - 1, (t, to) => {
      if (codes[t] === 0) to[0] += scale
      for (let code = 2; code < codes[t]; code++) to[code - 1] += scale
      if (codes[t] >= 2) to[codes[t] - 1] += scale * fraction![t]
    })
    expect(new Set(codes).size).toBeGreaterThan(4)
    const got = await sketches(one, 1000)
    for (const [i, values] of got.entries()) expectClose(values, want[i], { absolute: 1e-6 })
  })

  it('puts inputs side by side, and has no columns without a meaning', async () => {
    const [all] = await sketches(encoding, 10_000)
    expect(all.length).toBe(encoding.inputs.reduce((sum, { size }) => sum + size - 1, 0))
    const parts = await Promise.all(encoding.inputs.map(({ name }) => sketches(only(name), 10_000)))
    expectSameBits(all, Float32Array.from(parts.flatMap(([first]) => [...first])))
  })
})

describe('extremes', () => {
  it('are the largest value of each column over a sequence’s events, behind the means', async () => {
    const encoded = await encodeSource(source, encoding)
    const { inputs, offsets } = encoded
    const config = { ...sketchAlone, sketch: 30 }
    const plain = new Encoder(encoding, config, { device: openDevice() })
    const both = new Encoder(encoding, { ...config, extremes: true }, { device: openDevice() })
    const sketch = plain.width - D
    expect(both.width).toBe(plain.width + sketch)
    const means = await plain.encodeBlock(encoded)
    // Each event as a sequence of its own has its own columns as their mean.
    const singly = await plain.encodeBlock({
      ...encoded,
      ids: Array.from(encoded.time, (_, t) => `${t}`),
      offsets: Int32Array.from({ length: encoded.time.length + 1 }, (_, t) => t),
    })
    const { vectors, width } = await both.encodeBlock(encoded)
    expect(inputs.length).toBeGreaterThan(3)
    for (let i = 0; i < encoded.ids.length; i++) {
      const own = vectors.subarray(i * width, (i + 1) * width)
      expectSameBits(own.slice(0, plain.width), means.vectors.slice(i * plain.width, (i + 1) * plain.width))
      const want = new Float32Array(sketch).fill(Number.NEGATIVE_INFINITY)
      for (let t = offsets[i]; t < offsets[i + 1]; t++) {
        for (let c = 0; c < sketch; c++) want[c] = Math.max(want[c], singly.vectors[t * plain.width + D + c])
      }
      expectSameBits(own.slice(plain.width), want)
    }
    plain.dispose()
    both.dispose()
  })
})

describe('a sketch with fewer columns than values', () => {
  it('keeps distances between shares, about', async () => {
    const one = only('note')
    const columns = 40
    expect(one.inputs[0].size - 1).toBeGreaterThan(columns)
    const exact = await sketches(one, 1000)
    const rough = await sketches(one, columns)
    let compared = 0
    let sum = 0
    for (let i = 1; i < exact.length; i++) {
      const want = distance(exact[0], exact[i])
      if (want === 0) continue
      // 40 columns estimate the squared distance with a relative deviation of √(2/40) = 0.22 at most, the distance itself with 0.11.
      const ratio = distance(rough[0], rough[i]) / want
      expect(Math.abs(ratio - 1)).toBeLessThan(0.44)
      sum += ratio
      compared++
    }
    expect(compared).toBeGreaterThan(10)
    // All share the first one: their errors are not independent, so that the mean has three deviations of a single one at most.
    expect(Math.abs(sum / compared - 1)).toBeLessThan(0.33)
  })

  it('leaves small inputs what they want, and shares out the rest', async () => {
    const sizes = encoding.inputs.map(({ size }) => size - 1)
    const least = Math.min(...sizes)
    const columns = sizes.length * least + 10
    const all = await sketches(encoding, columns)
    expect(all[0].length).toBe(columns)
    const small = encoding.inputs.findIndex(({ size }) => size - 1 === least)
    const exact = await sketches(only(encoding.inputs[small].name), least)
    const at = all[0].findIndex((_, begin) =>
      exact.every((own, i) => own.every((value, c) => all[i][begin + c] === value)),
    )
    expect(at).toBeGreaterThanOrEqual(0)
    const few = await sketches(encoding, 3)
    expect(few[0].length).toBe(3)
  })

  it('has nothing to do with weights', async () => {
    const [a, b] = [await sketches(encoding, 100, 1), await sketches(encoding, 100, 2)]
    for (const [i, values] of a.entries()) expectSameBits(values, b[i])
  })
})
