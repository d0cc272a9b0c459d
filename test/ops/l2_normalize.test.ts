import { describe, expect, it } from 'vitest'
import { l2Normalize } from '../../lib/ops/l2_normalize.js'
import { l2NormalizeBackward, l2NormalizeForward } from '../../lib/reference/l2_normalize.js'
import type { Device } from '../../lib/runtime/device.js'
import { Parameter, Tape } from '../../lib/runtime/tape.js'
import { keep, scope, Tensor } from '../../lib/runtime/tensor.js'
import { expectClose } from '../support/close.js'
import { everyVariant, expectSameOnThreads, openDevice } from '../support/devices.js'
import { checkGradients } from '../support/gradcheck.js'
import { TestRandom } from '../support/random.js'

const eps = 1e-12
// Two roundings an element, the sums are in double.
const tolerance = { absolute: 0, relative: 4 * 2 ** -24 }

function problem(rows: number, width: number, scale = 1) {
  const random = new TestRandom(rows * 1000 + width)
  return { rows, width, x: random.normals(rows * width, scale), dout: random.normals(rows * width) }
}

async function run(device: Device, p: ReturnType<typeof problem>, start?: Float64Array) {
  const shape = [p.rows, p.width]
  const x = new Parameter('x', Tensor.from(device, Float32Array.from(p.x), shape))
  if (start) x.gradient.write(Float32Array.from(start))
  const tape = new Tape()
  const out = scope(() => {
    const result = keep(tape.record(() => l2Normalize(x.value, eps)))
    tape.backward([{ loss: result, dout: Tensor.from(device, Float32Array.from(p.dout), shape) }])
    return result
  })
  const [values, dx] = await Promise.all([out.read(), x.gradient.read()])
  for (const item of [out, x]) item.dispose()
  await device.sync()
  return { out: values, dx }
}

describe('l2_normalize', () => {
  describe.each(everyVariant())('%s', (_, device) => {
    it.each([
      [1, 1],
      [3, 7],
      [2, 16],
      [5, 64],
      [2, 257],
      [600, 33],
    ])('matches the reference at (%i, %i)', async (rows, width) => {
      const p = problem(rows, width)
      const got = await run(device, p)
      expectClose(got.out, l2NormalizeForward(p.x, rows, width, eps), tolerance, 'out')
      // At width 1 the gradient is 0 but for the rounding of 1/‖x‖ · x, hence the floor.
      const floor = { absolute: Math.max(...p.x.map(x => 4 * 2 ** -24 * Math.abs(1 / x))), relative: 8 * 2 ** -24 }
      expectClose(got.dx, l2NormalizeBackward(p.x, p.dout, rows, width, eps), floor, 'dx')
    })

    it.each([1e-18, 1e19])('neither overflows nor vanishes at size %f', async size => {
      const p = problem(2, 40, size)
      const got = await run(device, p)
      expectClose(got.out, l2NormalizeForward(p.x, 2, 40, eps), tolerance, 'out')
      expectClose(got.dx, l2NormalizeBackward(p.x, p.dout, 2, 40, eps), { absolute: 0, relative: 8 * 2 ** -24 }, 'dx')
    })

    it('gives the same bits for 1, 2 and 3 threads', async () => {
      const p = problem(1100, 20)
      await expectSameOnThreads(device, other => run(other, p))
    })
  })

  it('keeps a row of zeros, with gradient dout / eps', async () => {
    const got = await run(openDevice(), {
      rows: 1,
      width: 2,
      x: new Float64Array(2),
      dout: Float64Array.of(1e-9, 2e-9),
    })
    expectClose(got.out, [0, 0], { absolute: 0 })
    expectClose(got.dx, [1e3, 2e3], { absolute: 0, relative: 2 ** -22 })
  })

  it('adds to a gradient that is already there', async () => {
    const p = problem(3, 9)
    const start = new TestRandom(1).normals(27)
    const got = await run(openDevice(), p, start)
    const want = l2NormalizeBackward(p.x, p.dout, 3, 9, eps).map((value, i) => value + start[i])
    expectClose(got.dx, want, { absolute: 0, relative: 8 * 2 ** -24 })
  })

  it('has a reference whose gradient agrees with finite differences', () => {
    const { x, dout } = problem(4, 5)
    const dx = l2NormalizeBackward(x, dout, 4, 5, eps)
    checkGradients(([x]) => l2NormalizeForward(x, 4, 5, eps), [x], [dx], dout)
  })

  it('takes no rows, refuses wrong axes and eps', async () => {
    const device = openDevice()
    expect((await l2Normalize(Tensor.zeros(device, 'float32', [0, 3])).read()).length).toBe(0)
    expect(() => l2Normalize(Tensor.zeros(device, 'float32', [3]))).toThrow(RangeError)
    expect(() => l2Normalize(Tensor.zeros(device, 'float32', [3, 1]), 0)).toThrow(/eps/)
  })
})
