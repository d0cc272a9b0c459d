import { describe, expect, it } from 'vitest'
import { randomUniform } from '../../lib/ops/random_uniform.js'
import { randomUniform as reference } from '../../lib/reference/random_uniform.js'
import { Tensor } from '../../lib/runtime/tensor.js'
import { expectClose, expectSameBits } from '../support/close.js'
import { everyVariant, openDevice } from '../support/devices.js'

describe('random_uniform', () => {
  describe.each(everyVariant())('%s', (_, device) => {
    it.each([1, 3, 4, 5, 1000, 40_001])('matches the reference for %i numbers', async count => {
      const out = randomUniform(Tensor.empty(device, 'float32', [count]), { bound: 0.5, seed: 2 ** 40 + 7, stream: 9 })
      // Powers of two as bound: every value is exact in float32.
      expectClose(await out.read(), reference(count, 0.5, 2 ** 40 + 7, 9), { absolute: 0 })
    })
  })

  it('gives the same bits for 1 and 3 threads, and others for another seed or stream', async () => {
    const draw = (threads: number, seed: number, stream: number) =>
      randomUniform(Tensor.empty(openDevice({ threads }), 'float32', [50_000]), { bound: 3, seed, stream }).read()
    const one = await draw(1, 5, 0)
    expectSameBits(await draw(3, 5, 0), one)
    expect(await draw(1, 6, 0)).not.toEqual(one)
    expect(await draw(1, 5, 1)).not.toEqual(one)
  })

  it('is uniform: mean 0 and variance bound² / 3', async () => {
    const count = 100_000
    const values = await randomUniform(Tensor.empty(openDevice(), 'float32', [count]), { bound: 1, seed: 1 }).read()
    const mean = values.reduce((sum, value) => sum + value, 0) / count
    const square = values.reduce((sum, value) => sum + value * value, 0) / count
    // Five standard errors of the mean (1/√3n) and of the mean square (√(4/45n)).
    expectClose([mean], [0], { absolute: 5 / Math.sqrt(3 * count) })
    expectClose([square], [1 / 3], { absolute: 5 * Math.sqrt(4 / 45 / count) })
    expect(Math.max(...values.map(Math.abs))).toBeLessThan(1)
  })

  it('refuses bounds, seeds and streams out of range', () => {
    const out = Tensor.empty(openDevice(), 'float32', [4])
    expect(() => randomUniform(out, { bound: -1, seed: 0 })).toThrow(RangeError)
    expect(() => randomUniform(out, { bound: 1, seed: 0.5 })).toThrow(RangeError)
    expect(() => randomUniform(out, { bound: 1, seed: 0, stream: 2 ** 32 })).toThrow(RangeError)
  })
})
