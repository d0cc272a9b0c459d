import { describe, expect, it } from 'vitest'
import { layerNorm } from '../../lib/ops/layer_norm.js'
import { layerNormBackward, layerNormForward } from '../../lib/reference/layer_norm.js'
import type { Device } from '../../lib/runtime/device.js'
import { Parameter, Tape } from '../../lib/runtime/tape.js'
import { keep, scope, Tensor } from '../../lib/runtime/tensor.js'
import { expectClose, expectSameBits } from '../support/close.js'
import { everyVariant, expectSameOnThreads, openDevice } from '../support/devices.js'
import { checkGradients } from '../support/gradcheck.js'
import { TestRandom } from '../support/random.js'

const eps = 1e-5
// A float32 sum of n terms errs by up to n·2⁻²⁴ of its size; rows here have up to 257 elements of size 1, and the
// result divides by a deviation near 1.
const tolerance = { absolute: 257 * 2 ** -24, relative: 4 * 2 ** -24 }

function problem(rows: number, width: number) {
  const random = new TestRandom(rows * 1000 + width)
  return {
    rows,
    width,
    x: random.normals(rows * width),
    weight: random.normals(width),
    bias: random.normals(width),
    dout: random.normals(rows * width),
  }
}

/** Forward and backward on a device: out, dx, dweight, dbias. */
async function run(device: Device, p: ReturnType<typeof problem>) {
  const tensor = (values: Float64Array, shape: number[]) => Tensor.from(device, Float32Array.from(values), shape)
  const x = new Parameter('x', tensor(p.x, [p.rows, p.width]))
  const weight = new Parameter('weight', tensor(p.weight, [p.width]))
  const bias = new Parameter('bias', tensor(p.bias, [p.width]))
  const tape = new Tape()
  const out = scope(() => {
    const out = keep(tape.record(() => layerNorm(x.value, weight.value, bias.value, eps)))
    tape.backward([{ loss: out, dout: tensor(p.dout, [p.rows, p.width]) }])
    return out
  })
  const read = await Promise.all([out, x.gradient, weight.gradient, bias.gradient].map(t => t.read()))
  for (const item of [out, x, weight, bias]) item.dispose()
  await device.sync()
  return { out: read[0], dx: read[1], dweight: read[2], dbias: read[3] }
}

describe('layer_norm', () => {
  const shapes = [
    [1, 1],
    [1, 16],
    [3, 7],
    [5, 64],
    [2, 257],
    [700, 33],
  ]

  describe.each(everyVariant())('%s', (_, device) => {
    it.each(shapes)('matches the reference at (%i, %i)', async (rows, width) => {
      const p = problem(rows, width)
      const got = await run(device, p)
      const back = layerNormBackward(p.x, p.weight, p.dout, rows, width, eps)
      // A width of 1 or 2 makes the deviation tiny and the gradient large.
      expectClose(got.out, layerNormForward(p.x, p.weight, p.bias, rows, width, eps), tolerance, 'out')
      expectClose(got.dx, back.dx, tolerance, 'dx')
      expectClose(got.dweight, back.dweight, { absolute: 2 ** -24, relative: (rows + 8) * 2 ** -24 }, 'dweight')
      expectClose(got.dbias, back.dbias, { absolute: 2 ** -24, relative: (rows + 8) * 2 ** -24 }, 'dbias')
    })

    it('gives the same bits for 1, 2 and 3 threads', async () => {
      const p = problem(1100, 48)
      await expectSameOnThreads(device, other => run(other, p))
    })

    it('gives a row the same bits alone and among others', async () => {
      const p = problem(9, 50)
      const all = await run(device, p)
      for (const row of [0, 4, 8]) {
        const slice = (values: Float64Array) => values.subarray(row * 50, (row + 1) * 50)
        const alone = await run(device, { ...p, rows: 1, x: slice(p.x), dout: slice(p.dout) })
        expectSameBits(alone.out, all.out.subarray(row * 50, (row + 1) * 50), 'out')
        expectSameBits(alone.dx, all.dx.subarray(row * 50, (row + 1) * 50), 'dx')
      }
    })
  })

  it('has a reference whose gradients agree with finite differences', () => {
    const { x, weight, bias, dout, rows, width } = problem(4, 9)
    const { dx, dweight, dbias } = layerNormBackward(x, weight, dout, rows, width, eps)
    const f = ([x, weight, bias]: Float64Array[]) => layerNormForward(x, weight, bias, rows, width, eps)
    checkGradients(f, [x, weight, bias], [dx, dweight, dbias], dout)
    expect(() => checkGradients(f, [x, weight, bias], [dx.map(v => v * 1.001), dweight, dbias], dout)).toThrow()
  })

  it('refuses wrong shapes, types and memory', () => {
    const device = openDevice()
    const x = Tensor.zeros(device, 'float32', [2, 3])
    const good = Tensor.zeros(device, 'float32', [3])
    const bad = Tensor.zeros(device, 'float32', [4])
    const ids = Tensor.zeros(device, 'int32', [3])
    expect(() => layerNorm(x, bad, good)).toThrow(
      /\[layer_norm_forward\] expected weight of shape \(3\) but received \(4\)/,
    )
    expect(() => layerNorm(x, good, ids as never)).toThrow(TypeError)
    expect(() => layerNorm(x, good, good, -1)).toThrow(RangeError)
    const other = Tensor.zeros(openDevice(), 'float32', [3])
    expect(() => layerNorm(x, other, good)).toThrow(/another/)
    good.dispose()
    expect(() => layerNorm(x, good, good)).toThrow(/freed/)
  })

  it('takes no rows', async () => {
    const device = openDevice()
    const out = layerNorm(
      Tensor.zeros(device, 'float32', [0, 3]),
      Tensor.zeros(device, 'float32', [3]),
      Tensor.zeros(device, 'float32', [3]),
    )
    expect((await out.read()).length).toBe(0)
  })
})
