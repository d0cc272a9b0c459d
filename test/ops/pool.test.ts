import { describe, expect, it } from 'vitest'
import { type PoolMode, pool } from '../../lib/ops/pool.js'
import { poolBackward, poolForward } from '../../lib/reference/pool.js'
import type { Device } from '../../lib/runtime/device.js'
import { Parameter, Tape } from '../../lib/runtime/tape.js'
import { keep, Offsets, scope, Tensor } from '../../lib/runtime/tensor.js'
import { expectClose, expectSameBits } from '../support/close.js'
import { everyVariant, expectSameOnThreads, openDevice } from '../support/devices.js'
import { checkGradients } from '../support/gradcheck.js'
import { TestRandom } from '../support/random.js'

const modes: PoolMode[] = ['mean', 'max', 'last']

function problem(lengths: readonly number[], width: number) {
  const random = new TestRandom(lengths.length * 1000 + width)
  const offsets = new Int32Array(lengths.length + 1)
  for (const [s, length] of lengths.entries()) offsets[s + 1] = offsets[s] + length
  const x = random.normals(offsets[lengths.length] * width)
  return { lengths, width, offsets, x, dout: random.normals(lengths.length * width) }
}
type Problem = ReturnType<typeof problem>

async function run(device: Device, p: Problem, mode: PoolMode) {
  const floats = (values: Float64Array, rows: number) => Tensor.from(device, Float32Array.from(values), [rows, p.width])
  const x = new Parameter('x', floats(p.x, p.x.length / p.width))
  const tape = new Tape()
  const out = scope(() => {
    const out = keep(tape.record(() => pool(x.value, new Offsets(device, p.offsets), { mode })))
    tape.backward([{ loss: out, dout: floats(p.dout, p.lengths.length) }])
    return out
  })
  const [value, dx] = await Promise.all([out.read(), x.gradient.read()])
  for (const item of [out, x]) item.dispose()
  await device.sync()
  return { out: value, dx }
}

const batches: [number[], number][] = [
  [[1], 1],
  [[5], 17],
  [[3, 0, 1, 9, 0], 16],
  [[0, 0, 70, 2], 130],
  [[3000, 1, 2000], 37],
  [Array.from({ length: 3000 }, (_, i) => i % 3), 8],
]

describe('pool', () => {
  describe.each(everyVariant())('%s', (_, device) => {
    it.each(modes.flatMap(mode => batches.map(([lengths, width]) => ({ mode, lengths, width }))))(
      'matches the reference: $mode, $lengths.length sequences, width $width',
      async ({ mode, lengths, width }) => {
        const p = problem(lengths, width)
        const got = await run(device, p, mode)
        // A mean of n terms of size 1 errs by up to (256 + n/256)·2⁻²⁴, and its division; the other modes not at all.
        const tolerance = { absolute: mode === 'mean' ? 300 * 2 ** -24 : 0 }
        expectClose(got.out, poolForward(p.x, p.offsets, width, mode), tolerance, 'out')
        const want = poolBackward(p.x, p.offsets, p.dout, width, mode)
        expectClose(got.dx, want, { absolute: mode === 'mean' ? 8 * 2 ** -24 : 0 }, 'dx')
      },
    )

    it.each(modes)('matches the reference on a sequence of 64 000 events: %s', async mode => {
      const p = problem([64_000], 2)
      const got = await run(device, p, mode)
      // As above; the gradient of a mean is a number divided by 64 000.
      const isMean = mode === 'mean'
      const absolute = isMean ? (256 + 64_000 / 256) * 2 ** -24 : 0
      expectClose(got.out, poolForward(p.x, p.offsets, 2, mode), { absolute }, 'out')
      const want = poolBackward(p.x, p.offsets, p.dout, 2, mode)
      expectClose(got.dx, want, { absolute: 0, relative: isMean ? 4 * 2 ** -24 : 0 }, 'dx')
    })

    it.each(modes)('gives the same bits for 1, 2 and 3 threads, and alone: %s', async mode => {
      const p = problem([1500, 0, 7, 1100, 3], 70)
      const one = await expectSameOnThreads(device, other => run(other, p, mode))
      for (const s of [0, 2, 3]) {
        const rows = (values: Float64Array, begin: number, end: number) => values.subarray(begin * 70, end * 70)
        const [begin, end] = p.offsets.subarray(s, s + 2)
        const single = {
          ...p,
          lengths: [end - begin],
          offsets: Int32Array.of(0, end - begin),
          x: rows(p.x, begin, end),
          dout: rows(p.dout, s, s + 1),
        }
        const alone = await run(device, single, mode)
        expectSameBits(alone.out, one.out.subarray(s * 70, (s + 1) * 70), 'out alone')
        expectSameBits(alone.dx, one.dx.subarray(begin * 70, end * 70), 'dx alone')
      }
    })

    it.each(modes)('assigns the gradient of an activation once and adds to it then: %s', async mode => {
      const p = problem([2, 0, 3], 5)
      const x = new Parameter('x', Tensor.from(device, Float32Array.from(p.x), [5, 5]))
      const tape = new Tape()
      scope(() => {
        const offsets = new Offsets(device, p.offsets)
        const each = new Offsets(device, Int32Array.of(0, 1, 2, 3, 4, 5))
        const dout = Tensor.from(device, Float32Array.from(p.dout), [3, 5])
        const losses = tape.record(() => {
          const copy = pool(x.value, each, { mode: 'last' })
          return [pool(copy, offsets, { mode }), pool(copy, offsets, { mode })]
        })
        tape.backward(losses.map(loss => ({ loss, dout })))
      })
      const want = poolBackward(p.x, p.offsets, p.dout, 5, mode).map(v => 2 * v)
      expectClose(await x.gradient.read(), want, { absolute: 8 * 2 ** -24 })
    })

    it('takes the first of equal maxima, and lets NaN through', async () => {
      const x = new Parameter('x', Tensor.from(device, Float32Array.of(1, 3, 3, Number.NaN, 3, 9), [3, 2]))
      const tape = new Tape()
      const out = scope(() => {
        const out = tape.record(() => pool(x.value, new Offsets(device, Int32Array.of(0, 3)), { mode: 'max' }))
        tape.backward([{ loss: out }])
        return keep(out)
      })
      expect([...(await out.read())]).toEqual([3, Number.NaN])
      expect([...(await x.gradient.read())]).toEqual([0, 0, 1, 1, 0, 0])
    })
  })

  it.each(modes)('has a reference whose gradients agree with finite differences: %s', mode => {
    const p = problem([4, 0, 1, 6], 3)
    const dx = poolBackward(p.x, p.offsets, p.dout, 3, mode)
    const f = ([x]: Float64Array[]) => poolForward(x, p.offsets, 3, mode)
    checkGradients(f, [p.x], [dx], p.dout)
    expect(() => checkGradients(f, [p.x], [dx.map(v => v * 1.001)], p.dout)).toThrow()
  })

  it('refuses offsets over other events and unknown modes', () => {
    const device = openDevice()
    const x = Tensor.zeros(device, 'float32', [4, 3])
    expect(() => pool(x, new Offsets(device, Int32Array.of(0, 5)))).toThrow(/\[pool_forward\] expected offsets over 4/)
    expect(() => pool(x, new Offsets(device, Int32Array.of(0, 4)), { mode: 'sum' as never })).toThrow(/'mean'/)
    expect(() => pool(x, new Offsets(device, Int32Array.of(0, 4)), { mod: 'max' } as never)).toThrow(TypeError)
  })

  it('takes no sequences and no events', async () => {
    const device = openDevice()
    const none = Tensor.zeros(device, 'float32', [0, 3])
    expect((await pool(none, new Offsets(device, Int32Array.of(0))).read()).length).toBe(0)
    expect([...(await pool(none, new Offsets(device, Int32Array.of(0, 0))).read())]).toEqual([0, 0, 0])
  })
})
