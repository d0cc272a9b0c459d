// Products of bfloat16 on the CPU: operands are rounded, everything else is float32.

import { describe, expect, it } from 'vitest'
import { linear, packLinear } from '../../lib/ops/linear.js'
import { linearBackward, linearForward } from '../../lib/reference/linear.js'
import { Device } from '../../lib/runtime/device.js'
import { Tensor } from '../../lib/runtime/tensor.js'
import { expectClose, expectSameBits } from '../support/close.js'
import { cpuWithBfloat16, openDevice } from '../support/devices.js'
import { type LinearProblem, linearProblem, runLinear } from '../support/linear.js'

/** To 8 bits, the nearest, ties to even. */
function rounded(values: Float64Array): Float64Array {
  const bits = new Uint32Array(Float32Array.from(values).buffer)
  for (const [i, word] of bits.entries()) bits[i] = (word + 0x7fff + ((word >>> 16) & 1)) & 0xffff0000
  return Float64Array.from(new Float32Array(bits.buffer))
}

const ulp = 2 ** -24
// A pair of products adds two roundings, so n terms err as n of float32 do; see linear.test.ts. Operands are rounded beforehand.
const tolerance = (terms: number) => ({ absolute: 8 * ulp, relative: (8 + 2 * Math.sqrt(terms)) * ulp })

/** What the device should make of it: bfloat16 in, float32 sums. GELU's gradient is rounded where only the device knows it. */
function reference(p: LinearProblem) {
  const [x, weight] = [rounded(p.x), rounded(p.weight)]
  const out = linearForward(x, weight, p.bias, p.residual, p, p.activation)
  const dout = p.activation === 'gelu' ? p.dout : rounded(p.dout)
  return { out, ...linearBackward(x, weight, p.bias, dout, p, p.activation) }
}

// Null where the processor has no such products: a skipped test says what is missing.
const device = cpuWithBfloat16()

describe.skipIf(device === null)('linear in bfloat16', () => {
  // Around the tile (14 rows, 32 columns), a pair, a vector of pairs (32), a slab (512 deep), and what is summed at a time (256).
  it.each([
    [1, 1, 1, 'none'],
    [1, 2, 1, 'relu'],
    [3, 3, 33, 'none'],
    [13, 31, 17, 'relu'],
    [15, 33, 32, 'none'],
    [29, 257, 15, 'relu'],
    [113, 64, 65, 'none'],
    [255, 9, 31, 'none'],
    [257, 19, 48, 'relu'],
    [601, 67, 53, 'none'],
    [40, 511, 30, 'none'],
    [41, 513, 300, 'relu'],
    [30, 1100, 40, 'none'],
  ] as const)(
    'matches the reference of rounded operands at (%i, %i, %i) with %s',
    async (rows, ins, outs, activation) => {
      const p = linearProblem(rows, ins, outs, activation)
      for (const own of [p, { ...p, bias: null, residual: null }]) {
        const want = reference(own)
        const got = await runLinear(device!, own)
        expectClose(got.out, want.out, tolerance(ins), 'out')
        expectClose(got.dx, want.dx, tolerance(outs), 'dx')
        expectClose(got.dweight, want.dweight, tolerance(rows), 'dweight')
        if (own.bias) expectClose(got.dbias, want.dbias, tolerance(rows), 'dbias')
        if (own.residual) expectClose(got.dresidual, Float32Array.from(p.dout), { absolute: 0 }, 'dresidual')
      }
    },
  )

  it('rounds the gradient behind a GELU', async () => {
    const p = linearProblem(300, 70, 90, 'gelu')
    const want = reference(p)
    const got = await runLinear(device!, p)
    expectClose(got.out, want.out, tolerance(70), 'out')
    // Each term errs by 2⁻⁹ of itself at most, of which the sum of so many is far below.
    for (const key of ['dx', 'dweight', 'dbias'] as const)
      expectClose(got[key], want[key], { absolute: 0, relative: 2 ** -8 }, key)
    const exact = linearForward(p.x, p.weight, p.bias, p.residual, p, 'gelu')
    expect(() => expectClose(got.out, exact, tolerance(70))).toThrow()
  })

  it('gives the same bits for 1, 2 and 3 threads, and twice', async () => {
    for (const p of [
      linearProblem(1200, 41, 36, 'gelu'),
      linearProblem(200, 48, 530),
      linearProblem(31, 21, 99, 'relu'),
    ]) {
      const devices = [1, 2, 3, 3].map(threads =>
        openDevice({ kind: 'cpu', precision: 'bfloat16', variant: '', threads }),
      )
      const [one, ...others] = await Promise.all(devices.map(device => runLinear(device, p)))
      for (const other of others) {
        for (const key of ['out', 'dx', 'dweight', 'dbias'] as const) expectSameBits(other[key], one[key], key)
      }
    }
  })

  it('gives a row the same bits alone and among others', async () => {
    const p = linearProblem(300, 701, 51, 'gelu')
    const all = await runLinear(device!, p)
    for (const row of [0, 13, 14, 150, 299]) {
      const of = (values: Float64Array, width: number) => values.subarray(row * width, (row + 1) * width)
      const alone = await runLinear(device!, {
        ...p,
        rows: 1,
        x: of(p.x, 701),
        residual: of(p.residual!, 51),
        dout: of(p.dout, 51),
      })
      expectSameBits(alone.out, all.out.subarray(row * 51, (row + 1) * 51), 'out')
      expectSameBits(alone.dx, all.dx.subarray(row * 701, (row + 1) * 701), 'dx')
    }
  })

  it('gives the same bits with a packed weight', async () => {
    for (const rows of [5, 300]) {
      const p = linearProblem(rows, 45, 70)
      const x = Tensor.from(device!, Float32Array.from(p.x), [rows, 45])
      const weight = Tensor.from(device!, Float32Array.from(p.weight), [70, 45])
      const plain = await linear(x, weight).read()
      expectSameBits(await linear(x, weight, null, { packed: packLinear(weight) }).read(), plain)
    }
  })

  it('lets NaN and infinities through, each in its own row', async () => {
    const x = Tensor.from(device!, Float32Array.of(1, Number.NaN, 1, 1, Number.NEGATIVE_INFINITY, 1), [3, 2])
    const weight = Tensor.from(device!, Float32Array.of(1, 2), [1, 2])
    expect([...(await linear(x, weight).read())]).toEqual([Number.NaN, 3, Number.NEGATIVE_INFINITY])
  })

  it('says what it is', () => {
    expect(device!.variant).toBe('avx512-bfloat16')
    expect(device!.activations).toBe('float32')
  })
})

it('bfloat16 belongs to one variant of the CPU', () => {
  const open = () => new Device({ kind: 'cpu', precision: 'bfloat16', variant: 'scalar' })
  expect(open).toThrow(/expected the variant avx512 for bfloat16 but received 'scalar'/)
})
