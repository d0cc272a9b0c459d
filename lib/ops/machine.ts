import { binding } from '../native.js'
import type { Device } from '../runtime/device.js'
import { scope, Tensor } from '../runtime/tensor.js'

/** What a machine can do at most, for benches to compare with. */
export interface MachineLimits {
  /** Multiply-adds in registers, all threads: 10⁹ operations a second, a multiply-add counted as two. */
  readonly gigaflops: number
  /** Copy of arrays beyond the cache, read plus written: 10⁹ bytes a second. */
  readonly copyGigabytes: number
}

const CHAINS = 16
const LANES_MAX = 16
const TASKS = 64
const ROUNDS = 200_000
const COPY_FLOATS = 1 << 25

/** Measures the machine: the best of `repeats` runs of each. Takes about a third of a second. */
export async function machineLimits(device: Device, repeats = 3): Promise<MachineLimits> {
  const held = scope(() => ({
    sums: Tensor.zeros(device, 'float32', [TASKS * LANES_MAX]),
    lanes: Tensor.zeros(device, 'float32', [1]),
    from: Tensor.zeros(device, 'float32', [COPY_FLOATS]),
    to: Tensor.zeros(device, 'float32', [COPY_FLOATS]),
  }))
  const { sums, lanes, from, to } = held
  await device.sync()
  const best = { peak: Number.POSITIVE_INFINITY, copy: Number.POSITIVE_INFINITY }
  for (let i = 0; i < repeats; i++) {
    let begun = performance.now()
    binding.machine_peak(device.handle, TASKS, ROUNDS, sums.handle, lanes.handle)
    await device.sync()
    best.peak = Math.min(best.peak, performance.now() - begun)
    begun = performance.now()
    binding.machine_copy(device.handle, from.handle, to.handle)
    await device.sync()
    best.copy = Math.min(best.copy, performance.now() - begun)
  }
  const [floats] = await lanes.read()
  for (const tensor of Object.values(held)) tensor.dispose()
  return {
    gigaflops: (2 * TASKS * ROUNDS * CHAINS * floats) / best.peak / 1e6,
    copyGigabytes: (2 * COPY_FLOATS * 4) / best.copy / 1e6,
  }
}
