// Uploads to a card: what is large comes beside kernels, and yet in its order.

import { describe, expect, it } from 'vitest'
import { cudaStatus, type DeviceOptions, Tensor } from '../../lib/index.js'
import { linear, packLinear } from '../../lib/ops/linear.js'
import { scale } from '../../lib/ops/scale.js'
import { softmaxCrossEntropy } from '../../lib/ops/softmax_cross_entropy.js'
import { scope } from '../../lib/runtime/tensor.js'
import { openDevice } from '../support/devices.js'

const { devices, missing } = cudaStatus()
const reason = devices.length > 0 ? '' : ` (skipped: ${missing})`
/** Less than 64 KB, more, and more than a segment of pinned memory; all rounds together go through the ring of them. */
const SIZES = [3, 16_383, 16_384, 200_001, 700_001]
const ROUNDS = 6

// What runs there needs a card; the name says why there is none.
describe.skipIf(devices.length === 0)(`uploads${reason}`, () => {
  it.each([{}, { graphs: true }, { guard: false }] as DeviceOptions[])(
    'are what ops before and after them read (%o)',
    async options => {
      const device = openDevice({ kind: 'cuda', ...options })
      const targets = SIZES.map(size => Tensor.empty(device, 'float32', [size]))
      const seen: { round: number; size: number; copy: Tensor<'float32'> }[] = []
      for (let round = 0; round < ROUNDS; round++) {
        for (const [i, target] of targets.entries()) {
          const size = SIZES[i]
          target.write(Float32Array.from({ length: size }, (_, k) => round * 1e6 + k))
          // Before the next round writes over it.
          seen.push({ round, size, copy: scale(target, 1) })
        }
      }
      for (const { round, size, copy } of seen) {
        const values = await copy.read()
        const wrong = values.findIndex((value, k) => value !== Math.fround(round * 1e6 + k))
        expect(wrong, `round ${round} of ${size}`).toBe(-1)
      }
      scope(() => {
        for (const { copy } of seen) copy.dispose()
      })
    },
  )
  it('wait for room where many come at once', async () => {
    // More than the pinned memory that they go through, and nothing among them that would wait for it.
    const device = openDevice({ kind: 'cuda', guard: false })
    const size = 262_144
    const tensors = Array.from({ length: 80 }, () => Tensor.empty(device, 'float32', [size]))
    for (const [i, tensor] of tensors.entries()) tensor.write(new Float32Array(size).fill(i))
    for (const [i, tensor] of tensors.entries()) {
      const values = await tensor.read()
      expect(values.findIndex(value => value !== i)).toBe(-1)
      tensor.dispose()
    }
  })
  it.each(['an error', 'a cancel'])('of a weight are packed, for later calls, behind %s', async what => {
    const device = openDevice({ kind: 'cuda', guard: false, precision: 'bfloat16' })
    const weight = Tensor.from(device, Float32Array.of(1, 2, 3, 4), [2, 2])
    if (what === 'an error') {
      scope(() => softmaxCrossEntropy(Tensor.zeros(device, 'float32', [1, 3]), Tensor.from(device, Int32Array.of(7))))
    } else {
      const long = Tensor.empty(device, 'float32', [1 << 24])
      for (let i = 0; i < 8; i++) long.fill(i)
    }
    const packed = packLinear(weight)
    if (what === 'a cancel') device.cancel()
    await device.sync().catch(() => {})
    const x = Tensor.from(device, Float32Array.of(10, 1), [1, 2])
    expect([...(await linear(x, weight, null, { packed }).read())]).toEqual([12, 34])
  })
})
