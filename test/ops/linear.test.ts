import { describe, expect, it } from 'vitest'
import { type Activation, linear, packLinear } from '../../lib/ops/linear.js'
import { linearBackward, linearForward } from '../../lib/reference/linear.js'
import { Parameter, Tape } from '../../lib/runtime/tape.js'
import { Tensor } from '../../lib/runtime/tensor.js'
import { expectClose, expectSameBits } from '../support/close.js'
import { everyVariant, expectSameOnThreads, openDevice } from '../support/devices.js'
import { checkGradients } from '../support/gradcheck.js'
import { type LinearProblem, linearProblem, runLinear } from '../support/linear.js'

const ulp = 2 ** -24

const reference = (p: LinearProblem) => ({
  out: linearForward(p.x, p.weight, p.bias, p.residual, p, p.activation),
  ...linearBackward(p.x, p.weight, p.bias, p.dout, p, p.activation),
})

// A float32 sum of n products errs by at most n·2⁻²⁴ of the sum of their sizes; that of n normal ones is below n, and
// the largest result is at least near √n. GELU and its slope err by up to 4 ulp of the largest input besides.
const tolerance = (terms: number) => ({ absolute: 8 * ulp, relative: (8 + 2 * Math.sqrt(terms)) * ulp })

function expectReference(got: Awaited<ReturnType<typeof runLinear>>, p: LinearProblem) {
  const want = reference(p)
  expectClose(got.out, want.out, tolerance(p.inFeatures), 'out')
  expectClose(got.dx, want.dx, tolerance(p.outFeatures), 'dx')
  expectClose(got.dweight, want.dweight, tolerance(p.rows), 'dweight')
  if (p.bias) expectClose(got.dbias, want.dbias, tolerance(p.rows), 'dbias')
  if (p.residual) expectClose(got.dresidual, want.dresidual, { absolute: 0 }, 'dresidual')
}

describe('linear', () => {
  // Around the tile (14 or 6 rows, 32 or 16 columns, 256 deep), the task (112 rows) and the rows that still count as few.
  const shapes: [number, number, number, Activation][] = [
    [1, 1, 1, 'none'],
    [1, 16, 16, 'gelu'],
    [2, 3, 7, 'relu'],
    [13, 31, 17, 'gelu'],
    [15, 64, 33, 'none'],
    [29, 257, 15, 'relu'],
    [113, 32, 65, 'gelu'],
    [256, 8, 31, 'none'],
    [257, 19, 48, 'relu'],
    [601, 67, 53, 'gelu'],
    [40, 523, 300, 'none'],
  ]

  describe.each(everyVariant())('%s', (_, device) => {
    it.each(shapes)('matches the reference at (%i, %i, %i) with %s', async (rows, inFeatures, outFeatures, act) => {
      const p = linearProblem(rows, inFeatures, outFeatures, act)
      expectReference(await runLinear(device, p), p)
      const bare = { ...p, bias: null, residual: null }
      expectReference(await runLinear(device, bare), bare)
    })

    it('gives the same bits for 1, 2 and 3 threads', async () => {
      for (const p of [
        linearProblem(1200, 40, 36, 'gelu'),
        linearProblem(200, 48, 530),
        linearProblem(30, 20, 100, 'relu'),
      ]) {
        await expectSameOnThreads(device, other => runLinear(other, p))
      }
    })

    it('gives a row the same bits alone and among others', async () => {
      const p = linearProblem(300, 270, 50, 'gelu')
      const all = await runLinear(device, p)
      for (const row of [0, 13, 14, 150, 299]) {
        const of = (values: Float64Array, width: number) => values.subarray(row * width, (row + 1) * width)
        const residual = of(p.residual!, 50)
        const alone = await runLinear(device, { ...p, rows: 1, x: of(p.x, 270), residual, dout: of(p.dout, 50) })
        expectSameBits(alone.out, all.out.subarray(row * 50, (row + 1) * 50), 'out')
        expectSameBits(alone.dx, all.dx.subarray(row * 270, (row + 1) * 270), 'dx')
      }
    })

    it('gives the same bits with a packed weight', async () => {
      for (const rows of [5, 300]) {
        const p = linearProblem(rows, 45, 70)
        const x = Tensor.from(device, Float32Array.from(p.x), [rows, 45])
        const weight = Tensor.from(device, Float32Array.from(p.weight), [70, 45])
        const plain = await linear(x, weight).read()
        expectSameBits(await linear(x, weight, null, { packed: packLinear(weight) }).read(), plain)
      }
    })

    it('adds up gradients', async () => {
      const p = linearProblem(700, 30, 20)
      const x = new Parameter('x', Tensor.from(device, Float32Array.from(p.x), [700, 30]))
      const weight = new Parameter('weight', Tensor.from(device, Float32Array.from(p.weight), [20, 30]))
      const dout = Tensor.from(device, Float32Array.from(p.dout), [700, 20])
      const once = await runLinear(device, { ...p, bias: null, residual: null })
      for (let i = 0; i < 2; i++) {
        const tape = new Tape()
        const out = tape.record(() => linear(x.value, weight.value))
        tape.backward([{ loss: out, dout }])
      }
      const twice = (values: Float32Array) => values.map(value => 2 * value)
      // dx continues the chain of additions from what stood there, so its bits may differ from twice the first.
      expectClose(await x.gradient.read(), twice(once.dx), tolerance(20), 'dx')
      expectClose(await weight.gradient.read(), twice(once.dweight), tolerance(700), 'dweight')
    })

    it('takes its own input as the residual', async () => {
      const p = { ...linearProblem(50, 33, 33, 'relu'), bias: null }
      const want = reference({ ...p, residual: p.x })
      for (const uses of [1, 2]) {
        const weight = new Parameter('weight', Tensor.from(device, Float32Array.from(p.weight), [33, 33]))
        const start = new Parameter('start', Tensor.from(device, Float32Array.from(p.x), [50, 33]))
        const identity = Float32Array.from({ length: 33 * 33 }, (_, i) => (i % 34 === 0 ? 1 : 0))
        const dout = Tensor.from(device, Float32Array.from(p.dout), [50, 33])
        const tape = new Tape()
        const outs = tape.record(() => {
          const x = linear(start.value, Tensor.from(device, identity, [33, 33]))
          const use = () => linear(x, weight.value, null, { activation: 'relu', residual: x })
          return Array.from({ length: uses }, use)
        })
        tape.backward(outs.map(loss => ({ loss, dout })))
        for (const out of outs) expectClose(await out.read(), want.out, tolerance(33), 'out')
        const dx = want.dx.map((value, i) => uses * (value + p.dout[i]))
        expectClose(await start.gradient.read(), dx, tolerance(33), 'dx')
      }
    })

    it('lets NaN through', async () => {
      const x = Tensor.from(device, Float32Array.of(1, Number.NaN, 1, 1), [2, 2])
      const weight = Tensor.from(device, Float32Array.of(1, 2), [1, 2])
      for (const activation of ['none', 'relu', 'gelu'] as const) {
        const [bad, good] = await linear(x, weight, null, { activation }).read()
        expect(bad).toBeNaN()
        expect(good).toBeCloseTo(activation === 'gelu' ? 2.99595 : 3, 5)
      }
    })

    it('takes no rows', async () => {
      const p = { ...linearProblem(0, 3, 4, 'gelu') }
      const got = await runLinear(device, p)
      expect(got.out.length).toBe(0)
      expect([...got.dweight, ...got.dbias]).toEqual(new Array(16).fill(0))
    })
  })

  it.each(['none', 'relu', 'gelu'] as const)(
    'has a reference whose gradients agree with differences, %s',
    activation => {
      const p = linearProblem(5, 7, 6, activation)
      const { dx, dweight, dbias, dresidual } = linearBackward(p.x, p.weight, p.bias, p.dout, p, activation)
      const inputs = [p.x, p.weight, p.bias!, p.residual!]
      const f = ([x, weight, bias, residual]: Float64Array[]) => linearForward(x, weight, bias, residual, p, activation)
      checkGradients(f, inputs, [dx, dweight, dbias, dresidual], p.dout)
      const wrong = [dx, dweight.map(v => v * 1.001), dbias, dresidual]
      expect(() => checkGradients(f, inputs, wrong, p.dout)).toThrow()
    },
  )

  it.each(everyVariant())('%s: follows the exact GELU over its whole range', async (_, device) => {
    const values = Float32Array.from({ length: 4001 }, (_, i) => (i - 2000) / 200)
    const exact = linearForward(Float64Array.from(values), Float64Array.of(1), null, null, sizes(4001), 'gelu')
    const dout = new Float64Array(4001).fill(1)
    const slope = linearBackward(Float64Array.from(values), Float64Array.of(1), null, dout, sizes(4001), 'gelu').dx
    const p = { ...linearProblem(4001, 1, 1, 'gelu'), x: Float64Array.from(values), weight: Float64Array.of(1) }
    const got = await runLinear(device, { ...p, bias: null, residual: null, dout })
    // Φ is below 1e-7 off, times at most 5.5; beyond that the result is exact.
    expectClose(got.out, exact, { absolute: 6e-7 }, 'gelu')
    expectClose(got.dx, slope, { absolute: 3e-7 }, 'slope')
  })

  it('refuses wrong shapes, types, options and memory', () => {
    const device = openDevice()
    const x = Tensor.zeros(device, 'float32', [2, 3])
    const weight = Tensor.zeros(device, 'float32', [4, 3])
    const bias = Tensor.zeros(device, 'float32', [4])
    const wrong = /\[linear_forward\] expected weight of shape \(4, 3\) but received \(4, 2\)/
    expect(() => linear(x, Tensor.zeros(device, 'float32', [4, 2]))).toThrow(wrong)
    expect(() => linear(x, weight, x)).toThrow(/expected bias of shape \(4\) but received \(2, 3\)/)
    expect(() => linear(x, weight, bias, { residual: x })).toThrow(/expected residual of shape \(2, 4\)/)
    expect(() => linear(x, weight, bias, { packed: weight })).toThrow(/expected packed of shape \(32, 3\)/)
    expect(() => linear(x, Tensor.zeros(device, 'float32', [0, 3]))).toThrow(RangeError)
    expect(() => linear(x, Tensor.zeros(device, 'int32', [4, 3]) as never)).toThrow(TypeError)
    expect(() => linear(x, weight, bias, { activation: 'tanh' as never })).toThrow(/one of none, relu, gelu/)
    expect(() => linear(x, weight, bias, { activaton: 'relu' } as never)).toThrow(/did you mean 'activation'/)
    bias.dispose()
    expect(() => linear(x, weight, bias)).toThrow(/freed/)
  })
})

const sizes = (rows: number) => ({ rows, inFeatures: 1, outFeatures: 1 })
