// Work that keeps a device busy, for tests of what happens meanwhile.

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
