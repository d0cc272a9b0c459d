import { describe, expect, it } from 'vitest'
import { scale } from '../../lib/ops/scale.js'
import { scaleForward } from '../../lib/reference/scale.js'
import { Parameter, Tape } from '../../lib/runtime/tape.js'
import { keep, scope, Tensor } from '../../lib/runtime/tensor.js'
import { expectClose } from '../support/close.js'
import { everyVariant, openDevice } from '../support/devices.js'
import { checkGradients } from '../support/gradcheck.js'
import { TestRandom } from '../support/random.js'

// One rounding.
const tolerance = { absolute: 0, relative: 2 ** -24 }

describe('scale', () => {
  describe.each(everyVariant())('%s', (_, device) => {
    it.each([1, 15, 16, 17, 1009, 70_000])('matches the reference for %i elements', async count => {
      const values = new TestRandom(count).normals(count)
      const x = new Parameter('x', Tensor.from(device, Float32Array.from(values)))
      const dout = new TestRandom(count + 1).normals(count)
      const tape = new Tape()
      const out = scope(() => {
        const out = keep(tape.record(() => scale(x.value, -0.75)))
        tape.backward([{ loss: out, dout: Tensor.from(device, Float32Array.from(dout)) }])
        return out
      })
      expectClose(await out.read(), scaleForward(values, -0.75), tolerance)
      expectClose(await x.gradient.read(), scaleForward(dout, -0.75), tolerance)
    })
  })

  it('has a reference whose gradients agree with finite differences', () => {
    const random = new TestRandom(3)
    const [x, dout] = [1, 2].map(() => random.normals(5))
    const f = ([x]: Float64Array[]) => scaleForward(x, 1.5)
    checkGradients(f, [x], [scaleForward(dout, 1.5)], dout)
    expect(() => checkGradients(f, [x], [dout], dout)).toThrow()
  })

  it('refuses factors that are no numbers', () => {
    const x = Tensor.zeros(openDevice(), 'float32', [2])
    expect(() => scale(x, Number.NaN)).toThrow(/\[scale_forward\] expected factor/)
    expect(() => scale(x, Number.POSITIVE_INFINITY)).toThrow(RangeError)
    expect(() => scale(x, '2' as never)).toThrow(TypeError)
  })
})
