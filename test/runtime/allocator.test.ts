import { describe, expect, it } from 'vitest'
import { Device } from '../../lib/runtime/device.js'
import { scope, Tensor } from '../../lib/runtime/tensor.js'
import { SeqriskError } from '../../lib/util/errors.js'
import { expectSameBits } from '../support/close.js'
import { everyVariant, openDevice } from '../support/devices.js'
import { failEveryAllocation } from '../support/failing.js'
import { queueLongWork } from '../support/long_work.js'
import { smallModel } from '../support/model.js'

const MB = 1 << 20

/** What `body` throws; fails when it does not. */
function thrown(body: () => unknown): unknown {
  try {
    body()
  } catch (error) {
    return error
  }
  throw new Error('nothing was thrown')
}

describe('allocator', () => {
  it('hands a freed block to the next tensor of about its size', async () => {
    const device = openDevice({ guard: false })
    for (let i = 0; i < 200; i++) {
      // Work that still uses the block is ordered before its next owner's.
      Tensor.zeros(device, 'float32', [MB / 4 - (i % 5)]).dispose()
    }
    await device.sync()
    const { liveBytes, peakBytes, allocations } = device.info()
    expect(liveBytes).toBe(0)
    expect(peakBytes).toBeLessThanOrEqual(2 * MB)
    expect(allocations).toBe(200)
  })

  it('keeps what is read intact when its memory gets a new owner at once', async () => {
    const device = openDevice({ guard: false })
    const first = Tensor.from(device, Float32Array.of(1, 2, 3))
    const read = first.read()
    first.dispose()
    const second = Tensor.from(device, Float32Array.of(4, 5, 6))
    expect([...(await read), ...(await second.read())]).toEqual([1, 2, 3, 4, 5, 6])
  })

  it('keeps the memory of a view alive', async () => {
    const device = openDevice()
    const base = Tensor.from(device, Float32Array.of(1, 2, 3, 4))
    const view = base.view(1, [2])
    base.dispose()
    expect([...(await view.read())]).toEqual([2, 3])
    expect(device.info().liveBytes).toBeGreaterThan(0)
    view.dispose()
    expect(device.info().liveBytes).toBe(0)
  })

  it('returns odd sizes to the system instead of piling them up', async () => {
    const device = openDevice({ guard: false })
    for (let i = 0; i < 60; i++) {
      Tensor.zeros(device, 'float32', [MB * (1 + (i % 12))]).dispose()
      await device.sync()
    }
    expect(device.info().cachedBytes).toBeLessThanOrEqual(64 * MB + 48 * MB)
  })

  it('refuses what is over the limit with OUT_OF_MEMORY, and works on', async () => {
    const device = openDevice({ memoryLimit: 8 * MB, guard: false })
    const error = thrown(() => Tensor.zeros(device, 'float32', [3 * MB]))
    expect(error).toBeInstanceOf(SeqriskError)
    expect((error as SeqriskError).code).toBe('OUT_OF_MEMORY')
    expect((error as SeqriskError).message).toMatch(
      /^\[tensor_create\] expected to allocate \d+ bytes but the limit is 8388608 \(0 bytes in use, 0 cached\); use smaller/,
    )
    // Cached blocks count, but make room when the queue is done with them.
    Tensor.zeros(device, 'float32', [MB]).dispose()
    await device.sync()
    const large = Tensor.zeros(device, 'float32', [(3 * MB) / 2])
    expect((await large.read()).length).toBe((3 * MB) / 2)
  })

  it('says to wait where the limit is met by memory that queued work still uses', async () => {
    const device = openDevice({ memoryLimit: 160 * MB, guard: false })
    // Takes 100 MB of memory in all, and holds 16 MB.
    const out = scope(() => Array.from({ length: 5 }, () => queueLongWork(device, 1))[4] as Tensor<'float32'>)
    const large = () => Tensor.empty(device, 'float32', [25 * MB])
    expect(thrown(large)).toMatchObject({ code: 'OUT_OF_MEMORY', message: expect.stringContaining('device.sync()') })
    await device.sync()
    large().dispose()
    out.dispose()
  })

  it('refuses more than the machine has, whatever was asked for', () => {
    const device = new Device({ threads: 1 })
    for (const shape of [[2 ** 40], [2 ** 20, 2 ** 20], [2 ** 36]]) {
      expect(thrown(() => Tensor.empty(device, 'float32', shape))).toMatchObject({ code: 'OUT_OF_MEMORY' })
    }
    for (const shape of [[2 ** 41], [2 ** 32, 2 ** 32], [2 ** 53, 0], [2 ** 21, 0], [-1], [1.5], [Number.NaN], []]) {
      expect(() => Tensor.empty(device, 'float32', shape), String(shape)).toThrow(RangeError)
    }
    expect(device.info().liveBytes).toBe(0)
    device.close()
  })

  it.each(everyVariant())('survives every failed allocation of a training step, %s', async (_, device) => {
    const want = await run(device)
    let losses: Float32Array = new Float32Array()
    const tries = await failEveryAllocation(device, async () => {
      losses = await run(device)
    })
    expectSameBits(losses, want, 'losses')
    // Making the model and two steps take dozens of allocations: all of them failed once.
    expect(tries).toBeGreaterThan(40)
    expectSameBits(await run(device), want, 'losses afterwards')
  })
})

/** Two steps of a fresh model: both losses. */
async function run(device: Device): Promise<Float32Array> {
  const model = smallModel(device)
  const losses: Tensor<'float32'>[] = []
  try {
    for (let i = 0; i < 2; i++) losses.push(model.step())
    const values = await Promise.all(losses.map(loss => loss.read()))
    return Float32Array.from(values, ([value]) => value)
  } finally {
    for (const loss of losses) loss.dispose()
    model.dispose()
  }
}
