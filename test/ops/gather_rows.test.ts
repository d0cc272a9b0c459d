import { describe, expect, it } from 'vitest'
import { gatherRows } from '../../lib/ops/gather_rows.js'
import { gatherRowsBackward, gatherRowsForward } from '../../lib/reference/gather_rows.js'
import type { Device } from '../../lib/runtime/device.js'
import { Parameter, Tape } from '../../lib/runtime/tape.js'
import { keep, scope, Tensor } from '../../lib/runtime/tensor.js'
import { expectClose } from '../support/close.js'
import { everyVariant, expectSameOnThreads, openDevice } from '../support/devices.js'
import { checkGradients } from '../support/gradcheck.js'
import { TestRandom } from '../support/random.js'

function problem(rows: number, count: number, width: number) {
  const random = new TestRandom(rows * 1000 + count + width)
  // The last row is never picked, unless it is the only one.
  const index = Int32Array.from({ length: count }, () => random.integer(0, Math.max(0, rows - 2)))
  return { rows, count, width, index, x: random.normals(rows * width), dout: random.normals(count * width) }
}
type Problem = ReturnType<typeof problem>

async function run(device: Device, p: Problem) {
  const floats = (values: Float64Array, rows: number) => Tensor.from(device, Float32Array.from(values), [rows, p.width])
  const x = new Parameter('x', floats(p.x, p.rows))
  const tape = new Tape()
  const out = scope(() => {
    const out = keep(tape.record(() => gatherRows(x.value, Tensor.from(device, p.index))))
    tape.backward([{ loss: out, dout: floats(p.dout, p.count) }])
    return out
  })
  const [value, dx] = await Promise.all([out.read(), x.gradient.read()])
  for (const item of [out, x]) item.dispose()
  await device.sync()
  return { out: value, dx }
}

const shapes = [
  [1, 1, 1],
  [3, 10, 7],
  [2, 500, 65],
  [40, 9, 64],
  [5000, 900, 20],
  [30_000, 100, 3],
]

describe('gather_rows', () => {
  describe.each(everyVariant())('%s', (_, device) => {
    it.each(shapes)('matches the reference: %i rows, %i picked, width %i', async (rows, count, width) => {
      const p = problem(rows, count, width)
      const got = await run(device, p)
      expectClose(got.out, gatherRowsForward(p.x, p.index, width), { absolute: 0 }, 'out')
      // A row sums up to `count` terms.
      const want = gatherRowsBackward(p.dout, p.index, rows, width)
      expectClose(got.dx, want, { absolute: 2 ** -24, relative: count * 2 ** -24 }, 'dx')
    })

    it('gives the same bits for 1, 2 and 3 threads', async () => {
      const p = problem(2500, 9000, 70)
      await expectSameOnThreads(device, other => run(other, p))
    })

    it('assigns zeros where nothing was picked, and adds when there is a gradient already', async () => {
      const x = new Parameter('x', Tensor.zeros(device, 'float32', [3, 2]))
      const tape = new Tape()
      scope(() => {
        const ids = (...values: number[]) => Tensor.from(device, Int32Array.from(values))
        const losses = tape.record(() => {
          const copy = gatherRows(x.value, ids(0, 1, 2))
          return [gatherRows(copy, ids(2, 2)), gatherRows(copy, ids(0, 2))]
        })
        tape.backward(losses.map(loss => ({ loss })))
      })
      expect([...(await x.gradient.read())]).toEqual([1, 1, 0, 0, 3, 3])
    })

    it('takes indices that ascend, and makes sure of it', async () => {
      const rows = 700
      const width = 36
      const random = new TestRandom(8)
      const index = Int32Array.from({ length: rows }, (_, row) => row).filter(() => random.integer(0, 3) === 0)
      const dout = random.normals(index.length * width)
      const gradient = async (ids: Int32Array, ascending: boolean) => {
        const before = Float32Array.from(random.normals(rows * width))
        const x = new Parameter('x', Tensor.zeros(device, 'float32', [rows, width]))
        x.gradient.write(before)
        const tape = new Tape()
        const loss = tape.record(() => gatherRows(x.value, Tensor.from(device, ids), { ascending }))
        tape.backward([{ loss, dout: Tensor.from(device, Float32Array.from(dout), [ids.length, width]) }])
        return (await x.gradient.read()).map((value, i) => value - before[i])
      }
      const want = gatherRowsBackward(dout, index, rows, width)
      // Two roundings of a sum that is below 16.
      expectClose(await gradient(index, true), want, { absolute: 2 ** -19 }, 'dx')
      const swapped = index.slice()
      ;[swapped[5], swapped[6]] = [swapped[6], swapped[5]]
      await expect(gradient(swapped, true)).rejects.toThrow(
        `[gather_rows_backward] expected indices that ascend but received ${swapped[6]} at index 6`,
      )
      expectClose(await gradient(swapped, false), gatherRowsBackward(dout, swapped, rows, width), {
        absolute: 2 ** -19,
      })
    })

    it.each([-1, 3, 2 ** 31 - 1, -(2 ** 31)])('reports index %i at the next read', async bad => {
      const x = Tensor.zeros(device, 'float32', [3, 2])
      const out = gatherRows(x, Tensor.from(device, Int32Array.of(0, bad)))
      await expect(out.read()).rejects.toThrow(
        `[gather_rows_forward] expected an index of a row of x but received ${bad} at index 1`,
      )
      expect([...(await gatherRows(x, Tensor.from(device, Int32Array.of(2))).read())]).toEqual([0, 0])
    })
  })

  it('has a reference whose gradients agree with finite differences', () => {
    const p = problem(4, 7, 3)
    const dx = gatherRowsBackward(p.dout, p.index, 4, 3)
    const f = ([x]: Float64Array[]) => gatherRowsForward(x, p.index, 3)
    checkGradients(f, [p.x], [dx], p.dout)
    expect(() => checkGradients(f, [p.x], [dx.map(v => v * 1.001)], p.dout)).toThrow()
  })

  it('refuses wrong shapes and types', () => {
    const device = openDevice()
    const x = Tensor.zeros(device, 'float32', [4, 3])
    const index = Tensor.zeros(device, 'int32', [2, 1])
    expect(() => gatherRows(x, index)).toThrow(/\[gather_rows_forward\] expected index of shape \(any\)/)
    expect(() => gatherRows(x, Tensor.zeros(device, 'float32', [2]) as never)).toThrow(TypeError)
  })

  it('takes no rows', async () => {
    const device = openDevice()
    const none = Tensor.zeros(device, 'int32', [0])
    expect((await gatherRows(Tensor.zeros(device, 'float32', [0, 3]), none).read()).length).toBe(0)
  })
})
