import { describe, expect, it } from 'vitest'
import { expectClose, expectSameBits } from './close.js'

describe('expectClose', () => {
  const tolerance = { absolute: 0.1 }

  it('accepts what is close', () => {
    expectClose([1, -2, 0], [1.05, -2.05, 0.1], tolerance)
    expectClose([Number.POSITIVE_INFINITY], [Number.POSITIVE_INFINITY], tolerance)
    expectClose([1001], [1000], { absolute: 0, relative: 0.01 })
  })

  it.each([
    ['NaN got', [Number.NaN], [1]],
    ['NaN wanted', [1], [Number.NaN]],
    ['NaN on both sides', [Number.NaN], [Number.NaN]],
    ['other sign', [-1], [1]],
    ['zero for a value', [0], [1]],
    ['infinity of the other sign', [Number.NEGATIVE_INFINITY], [Number.POSITIVE_INFINITY]],
    ['empty', [], []],
    ['shorter', [1], [1, 1]],
    ['longer', [1, 1], [1]],
  ])('refuses %s', (_, got, want) => {
    expect(() => expectClose(got, want, tolerance)).toThrow()
  })
})

describe('expectSameBits', () => {
  it('tells zeros of different sign apart', () => {
    expect(() => expectSameBits(new Float32Array([0]), new Float32Array([-0]))).toThrow()
  })

  it('refuses empty arrays', () => {
    expect(() => expectSameBits(new Float32Array(0), new Float32Array(0))).toThrow()
  })

  it('accepts equal NaN bits', () => {
    expectSameBits(new Float32Array([Number.NaN]), new Float32Array([Number.NaN]))
  })
})
