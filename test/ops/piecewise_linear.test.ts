import { describe, expect, it } from 'vitest'
import { add } from '../../lib/ops/add.js'
import { piecewiseLinear } from '../../lib/ops/piecewise_linear.js'
import { piecewiseLinearBackward, piecewiseLinearForward } from '../../lib/reference/piecewise_linear.js'
import type { Device } from '../../lib/runtime/device.js'
import { Parameter, Tape } from '../../lib/runtime/tape.js'
import { keep, scope, Tensor } from '../../lib/runtime/tensor.js'
import { expectClose, expectSameBits } from '../support/close.js'
import { everyVariant, openDevice } from '../support/devices.js'
import { checkGradients } from '../support/gradcheck.js'
import { TestRandom } from '../support/random.js'

/** Values that float32 has: a value and a knot are in the same order there and in the reference. */
function problem(rows: number, width: number, count: number) {
  const random = new TestRandom(rows * 1000 + width * 10 + count)
  const floats = (values: Float64Array) => Float64Array.from(Float32Array.from(values))
  const knots = new Float64Array(count * width)
  for (let c = 0; c < width; c++) {
    const own = floats(random.normals(count, 2)).sort()
    // Some columns have less knots: the last one is repeated.
    if (c % 3 === 1) own.fill(own[count >> 1], count >> 1)
    for (let k = 0; k < count; k++) knots[k * width + c] = own[k]
  }
  const x = floats(random.normals(rows * width, 3))
  // Some values are knots.
  for (let i = 0; i < x.length; i += 5) x[i] = knots[((i * 7) % count) * width + (i % width)]
  const [slopes, offset] = [(count + 1) * width, width].map(size => floats(random.normals(size)))
  return { rows, width, count, x, knots, slopes, offset, dout: floats(random.normals(rows * width)) }
}

type Problem = ReturnType<typeof problem>

function curvesOf(device: Device, { width, count, knots, slopes, offset }: Problem) {
  const tensor = (values: Float64Array, shape: number[]) => Tensor.from(device, Float32Array.from(values), shape)
  return {
    knots: tensor(knots, [count, width]),
    slopes: tensor(slopes, [count + 1, width]),
    offset: tensor(offset, [width]),
  }
}

async function run(device: Device, p: Problem) {
  const tensor = (values: Float64Array) => Tensor.from(device, Float32Array.from(values), [p.rows, p.width])
  const x = new Parameter('x', tensor(p.x))
  const tape = new Tape()
  const out = scope(() => {
    const curves = curvesOf(device, p)
    const out = keep(tape.record(() => piecewiseLinear(x.value, curves)))
    tape.backward([{ loss: out, dout: tensor(p.dout) }])
    return out
  })
  return { out: await out.read(), dx: await x.gradient.read() }
}

describe('piecewise_linear', () => {
  describe.each(everyVariant())('%s', (_, device) => {
    it.each([
      [1, 1, 1],
      [1, 16, 2],
      [3, 7, 5],
      [64, 15, 33],
      [65, 17, 33],
      [130, 40, 9],
    ])('matches the reference for %i rows, %i columns and %i knots', async (rows, width, count) => {
      const p = problem(rows, width, count)
      const got = await run(device, p)
      // Each of count + 1 terms is rounded three times: as a difference, a product and a sum. Slopes and distances are at most 4 and 15.
      expectClose(got.out, piecewiseLinearForward(p.x, p), { absolute: 3 * (count + 1) * 60 * 2 ** -24 }, 'out')
      // One product, rounded once.
      expectClose(got.dx, piecewiseLinearBackward(p.x, p, p.dout), { absolute: 0, relative: 2 ** -24 }, 'dx')
    })

    it('leaves a column as it is where knots are 0 and slopes 1, and stays at its ends where outer slopes are 0', async () => {
      const p = problem(40, 2, 3)
      for (let k = 0; k < 3; k++) p.knots[2 * k] = 0
      for (let k = 0; k < 4; k++) p.slopes[2 * k] = 1
      p.offset[0] = 0
      p.knots.set([-1, 0, 2], 0)
      for (const [k, knot] of [-1, 0, 2].entries()) {
        p.knots[2 * k] = 0
        p.knots[2 * k + 1] = knot
      }
      for (const [k, slope] of [0, 2, 0.5, 0].entries()) p.slopes[2 * k + 1] = slope
      p.offset[1] = -2
      for (let row = 0; row < 40; row++) p.x[2 * row + 1] = row < 20 ? -1 - row * 1e30 : 2 + row * 1e30
      const { out, dx } = await run(device, p)
      for (let row = 0; row < 40; row++) {
        expect(out[2 * row]).toBe(Math.fround(p.x[2 * row]))
        expect(dx[2 * row]).toBe(Math.fround(p.dout[2 * row]))
        expect(out[2 * row + 1]).toBe(row < 20 ? -2 : 1)
        // The first one is on a knot: it belongs to the piece above.
        expect(dx[2 * row + 1] + 0).toBe(row === 0 ? Math.fround(2 * p.dout[1]) : 0)
      }
    })

    it('gives the same bits for 1 and 3 threads, and a row the same alone and among others', async () => {
      const p = problem(300, 21, 9)
      const [one, three] = await Promise.all(
        [1, 3].map(threads => run(openDevice({ variant: device.variant, threads }), p)),
      )
      for (const key of ['out', 'dx'] as const) expectSameBits(three[key], one[key], key)
      for (const row of [0, 63, 299]) {
        const slice = (values: Float64Array<ArrayBuffer>) => values.subarray(row * 21, (row + 1) * 21)
        const alone = await run(device, { ...p, rows: 1, x: slice(p.x), dout: slice(p.dout) })
        for (const key of ['out', 'dx'] as const) {
          expectSameBits(alone[key], one[key].subarray(row * 21, (row + 1) * 21), key)
        }
      }
    })

    it('keeps what is not finite from looking like a number', async () => {
      const p = problem(3, 1, 4)
      p.x.set([Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY])
      p.slopes[0] = 0
      p.slopes[4] = 0
      const { out } = await run(device, p)
      expect([...out].some(Number.isFinite)).toBe(false)
    })

    it('adds to a gradient that is there already', async () => {
      const p = problem(5, 6, 3)
      const x = new Parameter('x', Tensor.from(device, Float32Array.from(p.x), [5, 6]))
      const tape = new Tape()
      scope(() => {
        const curves = curvesOf(device, p)
        const out = tape.record(() => add(piecewiseLinear(x.value, curves), piecewiseLinear(x.value, curves)))
        tape.backward([{ loss: out, dout: Tensor.from(device, Float32Array.from(p.dout), [5, 6]) }])
      })
      const twice = piecewiseLinearBackward(p.x, p, p.dout).map(value => 2 * value)
      expectClose(await x.gradient.read(), twice, { absolute: 0, relative: 2 ** -24 })
    })
  })

  it('has a reference whose gradients agree with finite differences, and that ascends where slopes do', () => {
    const p = problem(6, 5, 4)
    // Away from the knots, where the curve has a corner.
    const x = p.x.map((value, i) => value + 0.01 * (1 + (i % 3)))
    const gradient = piecewiseLinearBackward(x, p, p.dout)
    checkGradients(([x]) => piecewiseLinearForward(x, p), [x], [gradient], p.dout)
    expect(() => checkGradients(([x]) => piecewiseLinearForward(x, p), [x], [p.dout], p.dout)).toThrow()
    const rising = { ...p, slopes: p.slopes.map(Math.abs) }
    const values = Float64Array.from({ length: 5 * 400 }, (_, i) => Math.floor(i / 5) / 20 - 10)
    const out = piecewiseLinearForward(values, rising)
    for (let i = 5; i < out.length; i++) expect(out[i]).toBeGreaterThanOrEqual(out[i - 5])
  })

  it('refuses wrong shapes and types, and takes no rows', async () => {
    const device = openDevice()
    const good = curvesOf(device, problem(1, 3, 4))
    const x = Tensor.zeros(device, 'float32', [2, 3])
    const wrong = Tensor.zeros(device, 'float32', [4, 4])
    expect(() => piecewiseLinear(x, { ...good, knots: wrong })).toThrow(
      /\[piecewise_linear_forward\] expected knots of shape \(4, 3\) but received \(4, 4\)/,
    )
    expect(() => piecewiseLinear(x, { ...good, slopes: good.knots })).toThrow(RangeError)
    expect(() => piecewiseLinear(x, { ...good, knots: Tensor.zeros(device, 'float32', [0, 3]) })).toThrow(/num_knots/)
    expect(() => piecewiseLinear(x, { ...good, offset: Tensor.zeros(device, 'int32', [3]) as never })).toThrow(
      TypeError,
    )
    expect((await piecewiseLinear(Tensor.zeros(device, 'float32', [0, 3]), good).read()).length).toBe(0)
  })
})
