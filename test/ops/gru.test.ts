import { describe, expect, it } from 'vitest'
import { gru } from '../../lib/ops/gru.js'
import { gruBackward, gruForward } from '../../lib/reference/gru.js'
import type { Device } from '../../lib/runtime/device.js'
import { Parameter, Tape } from '../../lib/runtime/tape.js'
import { keep, Offsets, scope, Tensor } from '../../lib/runtime/tensor.js'
import { expectClose, expectSameBits } from '../support/close.js'
import { everyVariant, expectSameOnThreads, openDevice } from '../support/devices.js'
import { checkGradients } from '../support/gradcheck.js'
import { offsetsOf, randomLengths } from '../support/packed.js'
import { TestRandom } from '../support/random.js'

function problem(lengths: readonly number[], width: number) {
  const offsets = offsetsOf(lengths)
  const events = offsets[lengths.length]
  const random = new TestRandom(events * 100 + width)
  return {
    x: random.normals(events * 3 * width),
    // Sums over the width of about size 1, so that the gates are not saturated.
    weight: random.normals(3 * width * width, 1 / Math.sqrt(width)),
    bias: random.normals(3 * width, 0.5),
    dout: random.normals(events * width),
    offsets,
    events,
    width,
  }
}

type Problem = ReturnType<typeof problem>

const tensorOf = (device: Device, values: Float64Array, shape: number[]) =>
  Tensor.from(device, Float32Array.from(values), shape)

/** Forward and backward on a device. */
async function run(device: Device, p: Problem) {
  const { events, width } = p
  const parameters = {
    x: new Parameter('x', tensorOf(device, p.x, [events, 3 * width])),
    weight: new Parameter('weight', tensorOf(device, p.weight, [3 * width, width])),
    bias: new Parameter('bias', tensorOf(device, p.bias, [3 * width])),
  }
  const { x, weight, bias } = parameters
  const offsets = new Offsets(device, p.offsets)
  const tape = new Tape()
  const out = scope(() => {
    const out = keep(tape.record(() => gru(x.value, weight.value, bias.value, offsets)))
    tape.backward([{ loss: out, dout: tensorOf(device, p.dout, [events, width]) }])
    return out
  })
  const result = {
    out: await out.read(),
    dx: await x.gradient.read(),
    dweight: await weight.gradient.read(),
    dbias: await bias.gradient.read(),
  }
  for (const item of [out, offsets, ...Object.values(parameters)]) item.dispose()
  await device.sync()
  return result
}

/** The problem of one sequence alone. */
function alone(p: Problem, s: number): Problem {
  const [begin, end] = [p.offsets[s], p.offsets[s + 1]]
  const rows = (values: Float64Array, columns: number) => values.subarray(begin * columns, end * columns)
  return {
    ...p,
    x: rows(p.x, 3 * p.width),
    dout: rows(p.dout, p.width),
    events: end - begin,
    offsets: offsetsOf([end - begin]),
  }
}

/**
 * One step errs by some units of 2⁻²⁴: sums of `width` terms of size 1/√width, a dozen roundings for the gates. A gate
 * passes on less than it gets, so that the errors of earlier steps fade; 4 for what is left of them.
 */
const tolerance = (width: number) => ({ absolute: 4 * (12 + Math.sqrt(width)) * 2 ** -24 })

async function expectReference(device: Device, p: Problem) {
  const got = await run(device, p)
  const want = gruBackward(p, p.dout)
  expectClose(got.out, gruForward(p), tolerance(p.width), 'out')
  // Gradients are sums over later steps, larger than what one step adds; those of weights are sums over events.
  const relative = 32 * (12 + Math.sqrt(p.width)) * 2 ** -24
  for (const name of ['dx', 'dweight', 'dbias'] as const) {
    expectClose(got[name], want[name], { absolute: 1e-6, relative }, name)
  }
}

const uneven = [5, 0, 1, 40, 2, 3, 0, 0, 1, 70, 8, 9]

describe('gru', () => {
  describe.each(everyVariant())('%s', (_, device) => {
    it.each([1, 2, 3, 7, 15, 16, 17, 33, 64, 100, 130])('matches the reference with width %i', async width => {
      await expectReference(device, problem(uneven, width))
    })

    it('matches the reference where products are cut in depth', async () => {
      await expectReference(device, problem([3, 2, 6], 300))
    })

    it('matches the reference for many groups of sequences', async () => {
      await expectReference(device, problem(randomLengths(new TestRandom(4), 400, 30), 20))
    })

    it('matches the reference on a long sequence, and on lengths of more than one byte', async () => {
      await expectReference(device, problem([700, 3, 260, 513, 255, 256, 257], 9))
    })

    it('matches the reference on a sequence of 64 000 events', async () => {
      await expectReference(device, problem([64_000], 2))
    })

    it.each([[[]], [[0]], [[0, 0, 0]]])('takes %j', async lengths => {
      const p = problem(lengths, 5)
      const out = gru(
        Tensor.zeros(device, 'float32', [0, 15]),
        tensorOf(device, p.weight, [15, 5]),
        tensorOf(device, p.bias, [15]),
        new Offsets(device, p.offsets),
      )
      expect(out.shape).toEqual([0, 5])
      expect((await out.read()).length).toBe(0)
    })

    it('gives the same bits for 1, 2 and 3 threads', async () => {
      const p = problem(randomLengths(new TestRandom(9), 150, 60), 40)
      await expectSameOnThreads(device, other => run(other, p))
    })

    it('gives a sequence the same bits alone and among others', async () => {
      for (const width of [19, 32]) {
        const p = problem([3, 301, 2, 1, 4, 8, 17, 5, 120, 8, 8, 8, 3, 2, 40, 41, 42, 39, 8, 1], width)
        const all = await run(device, p)
        for (let s = 0; s + 1 < p.offsets.length; s++) {
          const rows = (values: Float32Array, columns: number) =>
            values.subarray(p.offsets[s] * columns, p.offsets[s + 1] * columns)
          const one = await run(device, alone(p, s))
          expectSameBits(one.out, rows(all.out, width), `out of sequence ${s}`)
          expectSameBits(one.dx, rows(all.dx, 3 * width), `dx of sequence ${s}`)
        }
      }
    })

    it('never lets a later event change an earlier one', async () => {
      const p = problem([90], 6)
      const before = await run(device, p)
      for (const t of [1, 50, 89]) {
        const x = p.x.map((value, i) => (i >= t * 18 ? value + 1 : value))
        const after = await run(device, { ...p, x })
        expectSameBits(after.out.subarray(0, t * 6), before.out.subarray(0, t * 6))
        expect(after.out.subarray(t * 6)).not.toEqual(before.out.subarray(t * 6))
      }
    })

    it('is tanh of an input where the gates are shut', async () => {
      // z = σ(−200) = 0 and a weight of 0: h = tanh(x_n), within 1.5 units in the last place.
      const values = Float32Array.from({ length: 2000 }, (_, i) => (i - 1000) / 97 + (i % 2) * 2 ** -12)
      const x = Float32Array.from(values).reduce((rows, value, i) => {
        rows.set([0, -200, value], 3 * i)
        return rows
      }, new Float32Array(6000))
      const zeros = (...shape: number[]) => Tensor.zeros(device, 'float32', shape)
      const out = gru(Tensor.from(device, x, [2000, 3]), zeros(3, 1), zeros(3), new Offsets(device, offsetsOf([2000])))
      const got = await out.read()
      values.forEach((value, i) => {
        const want = Math.tanh(value)
        expect(Math.abs(got[i] - want) <= 3 * 2 ** -24 * Math.abs(want)).toBe(true)
      })
    })

    it('adds to gradients that stand there', async () => {
      const p = problem(uneven, 12)
      const twice = await run(device, { ...p, dout: p.dout.map(value => 2 * value) })
      const x = new Parameter('x', tensorOf(device, p.x, [p.events, 36]))
      const weight = new Parameter('weight', tensorOf(device, p.weight, [36, 12]))
      const bias = tensorOf(device, p.bias, [36])
      const tape = new Tape()
      const loss = () => {
        const out = gru(x.value, weight.value, bias, new Offsets(device, p.offsets))
        return { loss: out, dout: tensorOf(device, p.dout, [p.events, 12]) }
      }
      tape.backward(tape.record(() => [loss(), loss()]))
      expectClose(await x.gradient.read(), twice.dx, { absolute: 0, relative: 2 ** -22 })
      expectClose(await weight.gradient.read(), twice.dweight, { absolute: 0, relative: 2 ** -22 })
    })

    it('keeps NaN in its own sequence, from its event on', async () => {
      const p = problem([4, 6, 5], 3)
      const x = p.x.map((value, i) => (i === 6 * 9 + 7 ? Number.NaN : value))
      const { out } = await run(device, { ...p, x })
      const bad = Array.from({ length: 15 }, (_, t) => out.subarray(t * 3, t * 3 + 3).some(Number.isNaN))
      expect(bad).toEqual(Array.from({ length: 15 }, (_, t) => t >= 6 && t < 10))
    })
  })

  it('has the gradients of its reference', () => {
    const p = problem([4, 0, 1, 6], 3)
    const { dx, dweight, dbias } = gruBackward(p, p.dout)
    checkGradients(
      ([x, weight, bias]) => gruForward({ ...p, x, weight, bias }),
      [p.x, p.weight, p.bias],
      [dx, dweight, dbias],
      p.dout,
    )
  })

  it('refuses wrong shapes and offsets', () => {
    const device = openDevice()
    const zeros = (...shape: number[]) => Tensor.zeros(device, 'float32', shape)
    const offsets = new Offsets(device, Int32Array.of(0, 2))
    expect(gru(zeros(2, 12), zeros(12, 4), zeros(12), offsets).shape).toEqual([2, 4])
    expect(() => gru(zeros(2, 11), zeros(12, 4), zeros(12), offsets)).toThrow(
      /\[gru_forward\] expected x of shape \(2, 12\) but received \(2, 11\)/,
    )
    expect(() => gru(zeros(2, 12), zeros(8, 4), zeros(12), offsets)).toThrow(/expected weight of shape \(12, 4\)/)
    expect(() => gru(zeros(2, 12), zeros(12, 4), zeros(4), offsets)).toThrow(/expected bias of shape \(12\)/)
    expect(() => gru(zeros(2, 0), zeros(0, 0), zeros(0), offsets)).toThrow(/at least one column/)
    expect(() => gru(zeros(3, 12), zeros(12, 4), zeros(12), offsets)).toThrow(/over 3 events/)
  })
})
