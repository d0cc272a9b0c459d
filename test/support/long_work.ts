// Work that keeps a device busy, for tests of what happens meanwhile.

import { expect } from 'vitest'
import { linear } from '../../lib/ops/linear.js'
import type { Device } from '../../lib/runtime/device.js'
import { scope, Tensor } from '../../lib/runtime/tensor.js'

/** Queues seconds of work: products of (4000 × 1000) and (1000 × 1000), 8 GFLOP each. */
export function queueLongWork(device: Device, ops = 40): Tensor<'float32'> {
  return scope(() => {
    const x = Tensor.zeros(device, 'float32', [4000, 1000])
    const weight = Tensor.zeros(device, 'float32', [1000, 1000])
    let out = x
    for (let i = 0; i < ops; i++) out = linear(x, weight)
    return out
  })
}

/**
 * Expects training to stop at once when it is aborted behind the long work of others, and that work to end as if nothing had been.
 * @param train  starts a training on the device that would not end by itself
 */
export async function expectAbortBehindOthers(
  device: Device,
  train: (options: { signal: AbortSignal; onProgress: (now: { phase: string }) => void }) => Promise<unknown>,
): Promise<void> {
  const controller = new AbortController()
  let others: Promise<unknown> | undefined
  let abortedAt = 0
  const onProgress = ({ phase }: { phase: string }) => {
    if (phase !== 'train' || others) return
    others = queueLongWork(device, 10).read()
    // By then the next step waits behind that work.
    setTimeout(() => {
      abortedAt = performance.now()
      controller.abort(new Error('cancelled'))
    }, 20)
  }
  await expect(train({ signal: controller.signal, onProgress })).rejects.toThrow('cancelled')
  expect(performance.now() - abortedAt).toBeLessThan(100)
  await others
}
