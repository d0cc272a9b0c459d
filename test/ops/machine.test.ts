import { describe, expect, it } from 'vitest'
import { binding } from '../../lib/native.js'
import { machineLimits } from '../../lib/ops/machine.js'
import { Tensor } from '../../lib/runtime/tensor.js'
import { expectSameBits } from '../support/close.js'
import { everyVariant, openDevice } from '../support/devices.js'
import { TestRandom } from '../support/random.js'

describe('machine', () => {
  it.each(everyVariant())('%s copies what stood there', async (_, device) => {
    const values = Float32Array.from(new TestRandom(1).normals(70_001))
    const from = Tensor.from(device, values)
    const to = Tensor.empty(device, 'float32', [values.length])
    binding.machine_copy(device.handle, from.handle, to.handle)
    expectSameBits(await to.read(), values)
  })

  it.each(everyVariant())('%s starts every chain of multiply-adds elsewhere', async (_, device) => {
    const sums = Tensor.zeros(device, 'float32', [16])
    const multiplyAdds = Tensor.zeros(device, 'float32', [1])
    binding.machine_peak(device.handle, 1, 1, sums.handle, multiplyAdds.handle)
    // After one round, lane j of chain i holds 0.999·(i + j) + 0.001. Chains that are alike could be left out.
    const [first, second] = await sums.read()
    const [perRound] = await multiplyAdds.read()
    const chains = second === 0 ? perRound : Math.round((second - first) / 0.999)
    expect(perRound % chains).toBe(0)
    expect(first).toBeCloseTo((0.999 * chains * (chains - 1)) / 2 + 0.001 * chains, 3)
  })

  it('measures something between a slow and a fantastic machine', async () => {
    const { gigaflops, copyGigabytes } = await machineLimits(openDevice({ guard: false }), 1)
    expect(gigaflops).toBeGreaterThan(1)
    expect(gigaflops).toBeLessThan(1e5)
    expect(copyGigabytes).toBeGreaterThan(0.1)
    expect(copyGigabytes).toBeLessThan(1e4)
  })

  it('refuses views off the boundary that streaming stores need', () => {
    const device = openDevice({ guard: false })
    const base = Tensor.zeros(device, 'float32', [64])
    const out = base.view(1, [8])
    expect(() => binding.machine_copy(device.handle, base.view(32, [8]).handle, out.handle)).toThrow(/64-byte/)
  })
})
