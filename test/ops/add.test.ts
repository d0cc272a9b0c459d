import { describe, expect, it } from 'vitest'
import { add } from '../../lib/ops/add.js'
import { scale } from '../../lib/ops/scale.js'
import { addForward } from '../../lib/reference/add.js'
import { Parameter, Tape } from '../../lib/runtime/tape.js'
import { scope, Tensor } from '../../lib/runtime/tensor.js'
import { expectClose, expectSameBits } from '../support/close.js'
import { everyVariant, expectSameOnThreads, openDevice } from '../support/devices.js'
import { checkGradients } from '../support/gradcheck.js'
import { TestRandom } from '../support/random.js'

type Float = Tensor<'float32'>

// One rounding each.
const tolerance = { absolute: 0, relative: 2 ** -24 }

describe('add', () => {
  describe.each(everyVariant())('%s', (_, device) => {
    const floats = (values: ArrayLike<number>) => Tensor.from(device, Float32Array.from(values))

    it.each([1, 15, 16, 17, 1009, 70_000])('matches the reference for %i elements', async count => {
      const random = new TestRandom(count)
      const a = random.normals(count)
      const b = random.normals(count)
      const inputs = [floats(a), floats(b)]
      expectClose(await add(inputs[0], inputs[1]).read(), addForward(a, b), tolerance)
      expectSameBits(await inputs[0].read(), Float32Array.from(a), 'a after the call')
      expectSameBits(await inputs[1].read(), Float32Array.from(b), 'b after the call')
    })

    /** The gradients of parameters a and b, for the loss that `body` computes. */
    async function gradients(body: (a: Float, b: Float) => Float, start = 0) {
      const [a, b] = ['a', 'b'].map(name => new Parameter(name, floats([1, 2, 3])))
      for (const parameter of [a, b]) parameter.gradient.fill(start)
      const tape = new Tape()
      scope(() => {
        const loss = tape.record(() => body(a.value, b.value))
        tape.backward([{ loss, dout: floats([1, 10, 100]) }])
      })
      return Promise.all([a, b].map(async parameter => [...(await parameter.gradient.read())]))
    }

    it('adds to the gradients of parameters', async () => {
      expect(await gradients((a, b) => add(a, b), 7)).toEqual(Array(2).fill([8, 17, 107]))
      expect(await gradients((a, b) => add(add(a, a), b))).toEqual([
        [2, 20, 200],
        [1, 10, 100],
      ])
    })

    it('passes gradients on without mixing those of its inputs', async () => {
      const residual = (a: Float, b: Float) => {
        const x = scale(a, 1)
        const once = add(x, scale(x, 2))
        return add(once, add(scale(once, 3), b))
      }
      // 3a · 4 + b
      expect(await gradients(residual)).toEqual([
        [12, 120, 1200],
        [1, 10, 100],
      ])
      const swapped = (a: Float, b: Float) => {
        const x = scale(a, 1)
        const once = add(scale(x, 2), x)
        return add(add(b, scale(once, 3)), once)
      }
      expect(await gradients(swapped)).toEqual([
        [12, 120, 1200],
        [1, 10, 100],
      ])
    })

    it('doubles an activation that is added to itself', async () => {
      const twice = (a: Float) => {
        const x = scale(a, 3)
        return add(add(x, x), x)
      }
      expect((await gradients(twice))[0]).toEqual([9, 90, 900])
    })

    it('gives no gradient to constants', async () => {
      const constant = floats([1, 1, 1])
      expect(await gradients((a, b) => add(add(constant, a), add(scale(b, 2), constant)))).toEqual([
        [1, 10, 100],
        [2, 20, 200],
      ])
    })

    it('gives the same bits for 1, 2 and 3 threads', async () => {
      const [a, b] = [1, 2].map(seed => Float32Array.from(new TestRandom(seed).normals(100_001)))
      await expectSameOnThreads(device, async other => ({
        out: await add(Tensor.from(other, a), Tensor.from(other, b)).read(),
      }))
    })
  })

  it('has a reference whose gradients agree with finite differences', () => {
    const random = new TestRandom(3)
    const [a, b, dout] = [1, 2, 3].map(() => random.normals(5))
    const f = ([a, b]: Float64Array[]) => addForward(a, b)
    checkGradients(f, [a, b], [dout, dout], dout)
    expect(() => checkGradients(f, [a, b], [dout, dout.map(v => v * 1.001)], dout)).toThrow()
  })

  it('refuses other shapes and types', () => {
    const device = openDevice()
    const a = Tensor.zeros(device, 'float32', [2, 3])
    expect(() => add(a, a.view(0, [3, 2]))).toThrow('[add] expected b of shape (2, 3) but received')
    expect(() => add(a, Tensor.zeros(device, 'int32', [2, 3]) as never)).toThrow(TypeError)
  })

  it('takes no elements', async () => {
    const none = Tensor.zeros(openDevice(), 'float32', [0, 3])
    expect((await add(none, none).read()).length).toBe(0)
  })
})
