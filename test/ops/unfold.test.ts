import { describe, expect, it } from 'vitest'
import { unfold } from '../../lib/ops/unfold.js'
import { unfoldBackward, unfoldForward } from '../../lib/reference/unfold.js'
import type { Device } from '../../lib/runtime/device.js'
import { Parameter, Tape } from '../../lib/runtime/tape.js'
import { Offsets, Tensor } from '../../lib/runtime/tensor.js'
import { expectClose } from '../support/close.js'
import { everyVariant, expectSameOnThreads, openDevice } from '../support/devices.js'
import { checkGradients } from '../support/gradcheck.js'
import { TestRandom } from '../support/random.js'

interface Problem {
  readonly lengths: readonly number[]
  readonly channels: number
  readonly width: number
  readonly dilation: number
  readonly causal: boolean
}

const problems: Problem[] = [
  { lengths: [1], channels: 1, width: 1, dilation: 1, causal: false },
  { lengths: [5, 0, 3], channels: 17, width: 3, dilation: 1, causal: false },
  { lengths: [1, 2, 300, 0, 4], channels: 16, width: 5, dilation: 2, causal: false },
  { lengths: [40, 7], channels: 33, width: 7, dilation: 3, causal: true },
  { lengths: [9], channels: 4, width: 255, dilation: 1, causal: false },
]

function windowOf(p: Problem) {
  const offsets = Int32Array.from([0, ...p.lengths.map((_, i) => p.lengths.slice(0, i + 1).reduce((a, b) => a + b, 0))])
  const events = offsets[p.lengths.length]
  const random = new TestRandom(events + p.width)
  const x = random.normals(events * p.channels)
  const dout = random.normals(events * p.channels * p.width)
  return { ...p, offsets, events, x, dout }
}

async function run(device: Device, w: ReturnType<typeof windowOf>) {
  const x = new Parameter('x', Tensor.from(device, Float32Array.from(w.x), [w.events, w.channels]))
  const offsets = new Offsets(device, w.offsets)
  const tape = new Tape()
  const out = tape.record(() => unfold(x.value, offsets, w))
  const dout = Tensor.from(device, Float32Array.from(w.dout), [w.events, w.width * w.channels])
  tape.backward([{ loss: out, dout }])
  return { out: await out.read(), dx: await x.gradient.read() }
}

describe('unfold', () => {
  describe.each(everyVariant())('%s', (_, device) => {
    it.each(problems)('matches the reference: $lengths × $channels, width $width', async p => {
      const w = windowOf(p)
      const { out, dx } = await run(device, w)
      expectClose(out, unfoldForward(w.x, w), { absolute: 0 }, 'out')
      // A sum of at most `width` normal terms.
      expectClose(dx, unfoldBackward(w.dout, w), { absolute: w.width * 2 ** -22 }, 'dx')
    })

    it('matches the reference on a sequence of 64 000 events', async () => {
      const w = windowOf({ lengths: [64_000], channels: 2, width: 5, dilation: 3, causal: false })
      const { out, dx } = await run(device, w)
      expectClose(out, unfoldForward(w.x, w), { absolute: 0 }, 'out')
      expectClose(dx, unfoldBackward(w.dout, w), { absolute: w.width * 2 ** -22 }, 'dx')
    })
  })

  it('gives the same bits for 1, 2 and 3 threads', async () => {
    const w = windowOf({ lengths: [700, 3, 900], channels: 20, width: 5, dilation: 1, causal: false })
    await expectSameOnThreads(openDevice(), device => run(device, w))
  })

  it('has a reference whose gradients agree with finite differences', () => {
    const w = windowOf(problems[1])
    checkGradients(([x]) => unfoldForward(x, w), [w.x], [unfoldBackward(w.dout, w)], w.dout)
  })

  it('refuses even widths and offsets of other events', () => {
    const device = openDevice()
    const x = Tensor.zeros(device, 'float32', [4, 2])
    const offsets = new Offsets(device, Int32Array.of(0, 4))
    expect(() => unfold(x, offsets, { width: 2 })).toThrow(/odd width/)
    expect(() => unfold(x, offsets, { width: 3, dilation: 0 })).toThrow(RangeError)
    expect(() => unfold(x, new Offsets(device, Int32Array.of(0, 5)), { width: 3 })).toThrow(RangeError)
  })
})
