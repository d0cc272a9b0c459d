import { binding } from '../native.js'
import type { Device } from '../runtime/device.js'
import { scope, Tensor } from '../runtime/tensor.js'

/** What a machine can do at most, for benches to compare with. */
export interface MachineLimits {
  /** Multiply-adds in registers, all threads: 10⁹ operations a second, a multiply-add counted as two. */
  readonly gigaflops: number
  /** Copy of arrays beyond the cache, read plus written: 10⁹ bytes a second. */
  readonly copyGigabytes: number
  /** Additions of 64-bit integers to scattered places in L1, all threads: 10⁹ a second. */
  readonly gigaupdates: number
}

const LANES_MAX = 16
const TASKS = 64
const ROUNDS = 200_000
const UPDATE_ROUNDS = 200
const UPDATES = 4096
const COPY_FLOATS = 1 << 25
/** A card has more cache, and so much speed that one launch is measured by its start: larger arrays, many runs. */
const CARD = { copyFloats: 1 << 28, repeats: 20 }

/** Measures one limit at a time, so that a bench can do it between its own samples. */
export class MachineProbe {
  readonly #device: Device
  readonly #copyFloats: number
  readonly #repeats: number
  readonly #held: {
    readonly sums: Tensor<'float32'>
    readonly multiplyAdds: Tensor<'float32'>
    readonly from: Tensor<'float32'>
    readonly to: Tensor<'float32'>
    readonly totals: Tensor<'int32'>
  }

  constructor(device: Device) {
    this.#device = device
    this.#copyFloats = device.kind === 'cuda' ? CARD.copyFloats : COPY_FLOATS
    this.#repeats = device.kind === 'cuda' ? CARD.repeats : 1
    this.#held = scope(() => ({
      sums: Tensor.zeros(device, 'float32', [TASKS * LANES_MAX]),
      multiplyAdds: Tensor.zeros(device, 'float32', [1]),
      from: Tensor.zeros(device, 'float32', [this.#copyFloats]),
      to: Tensor.zeros(device, 'float32', [this.#copyFloats]),
      totals: Tensor.zeros(device, 'int32', [TASKS]),
    }))
  }

  /** 10⁹ operations a second, from about 15 ms of multiply-adds in registers. */
  async gigaflops(): Promise<number> {
    const { sums, multiplyAdds } = this.#held
    const handle = this.#device.handle
    const ms = await this.#time(() => binding.machine_peak(handle, TASKS, ROUNDS, sums.handle, multiplyAdds.handle))
    const [perRound] = await multiplyAdds.read()
    return (2 * TASKS * ROUNDS * perRound) / ms / 1e6
  }

  /** 10⁹ bytes a second, read plus written. */
  async copyGigabytes(): Promise<number> {
    const { from, to } = this.#held
    const ms = await this.#time(() => binding.machine_copy(this.#device.handle, from.handle, to.handle))
    return (2 * this.#copyFloats * 4) / ms / 1e6
  }

  /** 10⁹ additions a second to places in L1 that no one foresees. */
  async gigaupdates(): Promise<number> {
    const { totals } = this.#held
    const ms = await this.#time(() => binding.machine_update(this.#device.handle, TASKS, UPDATE_ROUNDS, totals.handle))
    return (TASKS * UPDATE_ROUNDS * UPDATES) / ms / 1e6
  }

  dispose(): void {
    for (const tensor of Object.values(this.#held)) tensor.dispose()
  }

  async #time(run: () => void): Promise<number> {
    await this.#device.sync()
    const begun = performance.now()
    for (let i = 0; i < this.#repeats; i++) run()
    await this.#device.sync()
    return (performance.now() - begun) / this.#repeats
  }
}

/** Measures the machine: the best of `repeats` runs of each. Takes about a third of a second. */
export async function machineLimits(device: Device, repeats = 3): Promise<MachineLimits> {
  const probe = new MachineProbe(device)
  const best = { gigaflops: 0, copyGigabytes: 0, gigaupdates: 0 }
  for (let i = 0; i < repeats; i++) {
    best.gigaflops = Math.max(best.gigaflops, await probe.gigaflops())
    best.copyGigabytes = Math.max(best.copyGigabytes, await probe.copyGigabytes())
    best.gigaupdates = Math.max(best.gigaupdates, await probe.gigaupdates())
  }
  probe.dispose()
  return best
}
