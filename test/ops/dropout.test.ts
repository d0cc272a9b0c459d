import { describe, expect, it } from 'vitest'
import { add } from '../../lib/ops/add.js'
import { dropout } from '../../lib/ops/dropout.js'
import { scale } from '../../lib/ops/scale.js'
import { dropoutForward, stays } from '../../lib/reference/dropout.js'
import { Parameter, Tape } from '../../lib/runtime/tape.js'
import { keep, scope, Tensor } from '../../lib/runtime/tensor.js'
import { expectClose, expectSameBits } from '../support/close.js'
import { everyVariant, expectSameOnThreads, openDevice } from '../support/devices.js'
import { checkGradients } from '../support/gradcheck.js'
import { TestRandom } from '../support/random.js'

// The factor and the product are rounded once each.
const tolerance = { absolute: 0, relative: 2 * 2 ** -24 }

describe('dropout', () => {
  describe.each(everyVariant())('%s', (_, device) => {
    const floats = (values: ArrayLike<number>) => Tensor.from(device, Float32Array.from(values))

    it.each([
      [1, 0.5, 0, 0],
      [5, 0.1, 7, 3],
      [64, 0.3, 2 ** 40 + 5, 61],
      [257, 0.9, 1, 2 ** 34 - 130],
      [1000, 0.5, 2 ** 53 - 1, 2 ** 52 + 1],
      [70_001, 0.15, 9, 33],
    ])('matches the reference: %i elements, rate %f, seed %i, offset %i', async (count, rate, seed, offset) => {
      const random = new TestRandom(count)
      const x = random.normals(count)
      const dout = random.normals(count)
      const parameter = new Parameter('x', floats(x))
      const tape = new Tape()
      const out = scope(() => {
        const out = keep(tape.record(() => dropout(parameter.value, { rate, seed, offset })))
        tape.backward([{ loss: out, dout: floats(dout) }])
        return out
      })
      expectClose(await out.read(), dropoutForward(x, rate, seed, offset), tolerance, 'out')
      expectClose(await parameter.gradient.read(), dropoutForward(dout, rate, seed, offset), tolerance, 'dx')
    })

    it('decides element by element: parts with their offsets equal the whole', async () => {
      const x = floats(new TestRandom(1).normals(500))
      const options = { rate: 0.4, seed: 11 }
      const whole = await dropout(x, { ...options, offset: 1000 }).read()
      for (const [begin, end] of [
        [0, 1],
        [3, 200],
        [129, 500],
      ]) {
        const part = dropout(x.view(begin, [end - begin]), { ...options, offset: 1000 + begin })
        expectSameBits(await part.read(), whole.subarray(begin, end), `${begin} to ${end}`)
      }
      const other = await dropout(x, { ...options, seed: 12, offset: 1000 }).read()
      expect(() => expectSameBits(other, whole)).toThrow()
    })

    it('assigns the gradient of an activation once and adds to it then', async () => {
      const p = new Parameter('p', floats(Array(40).fill(1)))
      const tape = new Tape()
      scope(() => {
        const loss = tape.record(() => {
          const x = scale(p.value, 1)
          return add(dropout(x, { rate: 0.5, seed: 1 }), dropout(x, { rate: 0.5, seed: 2 }))
        })
        tape.backward([{ loss }])
      })
      const want = Float64Array.from({ length: 40 }, (_, i) => 2 * (+stays(i, 0.5, 1) + +stays(i, 0.5, 2)))
      expectClose(await p.gradient.read(), want, { absolute: 0 })
    })

    it('gives the same bits for 1, 2 and 3 threads', async () => {
      const x = Float32Array.from(new TestRandom(4).normals(100_001))
      await expectSameOnThreads(device, async other => ({
        out: await dropout(Tensor.from(other, x), { rate: 0.2, seed: 5, offset: 7 }).read(),
      }))
    })
  })

  it.each([0.1, 0.5, 0.9])('drops the stated share: %f', async rate => {
    const n = 200_000
    const out = await dropout(Tensor.zeros(openDevice(), 'float32', [n]).fill(1), { rate, seed: 3 }).read()
    const dropped = out.reduce((count, value) => count + (value === 0 ? 1 : 0), 0)
    // Five standard errors.
    expect(Math.abs(dropped / n - rate)).toBeLessThan(5 * Math.sqrt((rate * (1 - rate)) / n))
  })

  it('returns x itself for rate 0', () => {
    const x = Tensor.zeros(openDevice(), 'float32', [3])
    expect(dropout(x, { rate: 0, seed: 1 })).toBe(x)
  })

  it('has a reference whose gradients agree with finite differences', () => {
    const random = new TestRandom(3)
    const [x, dout] = [1, 2].map(() => random.normals(50))
    const dx = dropoutForward(dout, 0.4, 2, 5)
    const f = ([x]: Float64Array[]) => dropoutForward(x, 0.4, 2, 5)
    checkGradients(f, [x], [dx], dout)
    expect(() => checkGradients(f, [x], [dropoutForward(dout, 0.4, 2, 6)], dout)).toThrow()
  })

  it('refuses rates, seeds and offsets out of range', async () => {
    const x = Tensor.zeros(openDevice(), 'float32', [3])
    for (const rate of [-0.1, 1, Number.NaN]) {
      expect(() => dropout(x, { rate, seed: 1 })).toThrow(/\[dropout_forward\] expected rate/)
    }
    expect(() => dropout(x, { rate: 0.5, seed: -1 })).toThrow(/expected seed/)
    expect(() => dropout(x, { rate: 0.5, seed: 1, offset: 0.5 })).toThrow(/expected offset/)
    expect(() => dropout(x, { rate: 0.5, sed: 1 } as never)).toThrow(/'seed'/)
    expect(() => dropout(Tensor.zeros(x.device, 'int32', [3]) as never, { rate: 0.5, seed: 1 })).toThrow(TypeError)
    const none = Tensor.zeros(x.device, 'float32', [0])
    expect((await dropout(none, { rate: 0.5, seed: 1 }).read()).length).toBe(0)
  })
})
