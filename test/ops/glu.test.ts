import { describe, expect, it } from 'vitest'
import { glu } from '../../lib/ops/glu.js'
import { gluBackward, gluForward } from '../../lib/reference/glu.js'
import { Parameter, Tape } from '../../lib/runtime/tape.js'
import { Tensor } from '../../lib/runtime/tensor.js'
import { expectClose } from '../support/close.js'
import { everyVariant, expectSameOnThreads, openDevice } from '../support/devices.js'
import { checkGradients } from '../support/gradcheck.js'
import { TestRandom } from '../support/random.js'

function problem(rows: number, width: number) {
  const random = new TestRandom(rows + width)
  return { rows, width, x: random.normals(rows * 2 * width, 3), dout: random.normals(rows * width) }
}

async function run(device: ReturnType<typeof openDevice>, { rows, width, x, dout }: ReturnType<typeof problem>) {
  const input = new Parameter('x', Tensor.from(device, Float32Array.from(x), [rows, 2 * width]))
  const tape = new Tape()
  const out = tape.record(() => glu(input.value))
  tape.backward([{ loss: out, dout: Tensor.from(device, Float32Array.from(dout), [rows, width]) }])
  return { out: await out.read(), dx: await input.gradient.read() }
}

describe('glu', () => {
  describe.each(everyVariant())('%s', (_, device) => {
    it.each([
      [1, 1],
      [3, 16],
      [7, 33],
      [600, 20],
    ])('matches the reference at (%i, %i)', async (rows, width) => {
      const p = problem(rows, width)
      const { out, dx } = await run(device, p)
      // The sigmoid errs by a few units in the last place, and each product by half of one.
      const tolerance = { absolute: 2 ** -24, relative: 8 * 2 ** -24 }
      expectClose(out, gluForward(p.x, width), tolerance, 'out')
      expectClose(dx, gluBackward(p.x, p.dout, width), tolerance, 'dx')
    })

    it('is defined far out', async () => {
      const x = Tensor.from(device, Float32Array.of(2, 2, 200, -200), [1, 4])
      expectClose(await glu(x).read(), [2, 0], { absolute: 1e-30 })
    })
  })

  it('gives the same bits for 1, 2 and 3 threads', async () => {
    const p = problem(1000, 24)
    await expectSameOnThreads(openDevice(), device => run(device, p))
  })

  it('has a reference whose gradients agree with finite differences', () => {
    const p = problem(3, 5)
    checkGradients(([x]) => gluForward(x, 5), [p.x], [gluBackward(p.x, p.dout, 5)], p.dout)
  })

  it('refuses rows of odd width', () => {
    expect(() => glu(Tensor.zeros(openDevice(), 'float32', [2, 3]))).toThrow(/even width/)
  })
})
