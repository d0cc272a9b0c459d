// Allocations that fail on purpose.

import { expect } from 'vitest'
import { binding } from '../../lib/native.js'
import type { Device } from '../../lib/runtime/device.js'

/**
 * Makes something while its first allocation fails, then its second, and so on until it succeeds. Expects a clear error
 * each time, and no memory left behind. Returns the number of tries.
 * @param make  makes it, and disposes of it
 */
export async function failEveryAllocation(device: Device, make: () => unknown): Promise<number> {
  const before = device.info().liveBytes
  for (let n = 1; ; n++) {
    let failure: unknown
    binding.stream_fail_allocation(device.handle, n)
    try {
      await make()
    } catch (error) {
      failure = error
    }
    binding.stream_fail_allocation(device.handle, 0)
    expect(device.info().liveBytes, `live bytes after failure ${n}`).toBe(before)
    await device.sync()
    if (failure === undefined) return n
    expect(failure).toMatchObject({
      code: 'OUT_OF_MEMORY',
      message: expect.stringMatching(/^\[\w+\] expected to allocate \d+ bytes but the allocation was made to fail/),
    })
  }
}
