// Launches that go to the card in graphs: the same bits as one by one, errors with the op's name, memory that is given back
// meanwhile.

import { describe, expect, it } from 'vitest'
import { cudaStatus, type Device, type DeviceOptions, pretrain, Tensor } from '../../lib/index.js'
import { gatherRows } from '../../lib/ops/gather_rows.js'
import { gru } from '../../lib/ops/gru.js'
import { Offsets, scope } from '../../lib/runtime/tensor.js'
import { expectSameBits } from '../support/close.js'
import { openDevice } from '../support/devices.js'
import { smallSource } from '../support/small_source.js'

const { devices, missing } = cudaStatus()
const reason = devices.length > 0 ? '' : ` (skipped: ${missing})`
const source = smallSource()

/** Work of about a tenth of a second, step by step through time: what is enqueued meanwhile waits, as graphs want it. */
function keepBusy(device: Device): void {
  const steps = devices[0].name.startsWith('an emulated card') ? 100 : 10_000
  scope(() => {
    const zeros = (...shape: number[]) => Tensor.zeros(device, 'float32', shape)
    gru(zeros(steps, 96), zeros(96, 32), zeros(96), new Offsets(device, Int32Array.of(0, steps)))
  })
}

async function train(options: DeviceOptions) {
  const device = openDevice({ kind: 'cuda', ...options })
  keepBusy(device)
  const sizes = { width: 16, blocks: 2, heads: 2, attentionSize: 8, batchEvents: 256, epochs: 3, seed: 1 }
  const { encoder } = await pretrain(source, { ...sizes, device })
  const values = await Promise.all(encoder.parameters.map(parameter => parameter.value.read()))
  encoder.dispose()
  return { weights: Float32Array.from(values.flatMap(array => [...array])), graphs: device.info().graphs }
}

// What runs there needs a card; the name says why there is none.
describe.skipIf(devices.length === 0)(`graphs${reason}`, () => {
  it.each([
    { precision: 'float32', guard: false },
    { precision: 'bfloat16', guard: false },
    { precision: 'float32', guard: true },
  ] as const)('give the same bits as launches one by one (%o)', async options => {
    const alone = await train({ ...options, graphs: false })
    const together = await train({ ...options, graphs: true })
    expect(alone.graphs).toBe(0)
    expect(together.graphs).toBeGreaterThan(0)
    expectSameBits(together.weights, alone.weights, 'weights')
  })

  it('report what a kernel could not use, with its name', async () => {
    const device = openDevice({ kind: 'cuda', graphs: true })
    keepBusy(device)
    const x = Tensor.zeros(device, 'float32', [4, 2])
    for (let i = 0; i < 100; i++) x.fill(i)
    const wrong = gatherRows(x, Tensor.from(device, Int32Array.of(0, 7)))
    for (let i = 0; i < 100; i++) x.fill(i)
    await expect(wrong.read()).rejects.toThrow(/\[gather_rows\w*\].*received 7/)
    expect([...(await x.read())]).toEqual(Array(8).fill(99))
    expect(device.info().graphs).toBeGreaterThan(0)
  })

  it('have run before memory that they work on is given back', async () => {
    const device = openDevice({ kind: 'cuda', graphs: true, guard: false })
    keepBusy(device)
    const size = 1 << 22
    let sum = Tensor.zeros(device, 'float32', [size])
    for (let i = 1; i <= 40; i++) {
      // Of another size each time, so that the cache has none and gives some back to the card.
      const next = Tensor.zeros(device, 'float32', [size + 64 * i])
      next.fill(i)
      next.view(0, [size]).copyFrom(sum.view(0, [size]))
      for (let k = 0; k < 20; k++) next.view(k, [1]).fill(i)
      sum.dispose()
      sum = next
    }
    const values = await sum.read()
    expect(device.info().graphs).toBeGreaterThan(0)
    expect([values[0], values[19], values[20], values[size - 1]]).toEqual([40, 40, 0, 0])
    sum.dispose()
  })
})
