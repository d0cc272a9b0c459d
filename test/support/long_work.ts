// Work that keeps a device busy, for tests of what happens meanwhile.

import { linear } from '../../lib/ops/linear.js'
import type { Device } from '../../lib/runtime/device.js'
import { scope, Tensor } from '../../lib/runtime/tensor.js'

/**
 * Queues seconds of work: products of (4000 × 1000) and (1000 × 1000), 8 GFLOP each. They share one result's memory: to
 * find more of it can take a system longer than the products, which is not what the tests ask about.
 */
export function queueLongWork(device: Device, ops = 40): Tensor<'float32'> {
  return scope(() => {
    const x = Tensor.zeros(device, 'float32', [4000, 1000])
    const weight = Tensor.zeros(device, 'float32', [1000, 1000])
    let out = linear(x, weight)
    for (let i = 1; i < ops; i++) {
      out.dispose()
      out = linear(x, weight)
    }
    return out
  })
}
