// What a bench of an op declares, and the timing that makes a line of it.

import { machineLimits } from '../../lib/ops/machine.js'
import { Device } from '../../lib/runtime/device.js'

export interface OpCase {
  /** "f32 (32000, 256) K=5" */
  readonly shape: string
  /** Bytes that must move at least, and operations (a multiply-add is two). */
  readonly bytes: number
  readonly operations: number
  /** Which limit counts. */
  readonly bound: 'copy' | 'multiply-add'
  /** Share of the limit that is aimed at. */
  readonly target?: number
  /** Enqueues the op once. Called in a scope that frees what it makes. */
  run(): void
  /** Throws unless the result is right; called before anything is timed. */
  check(): Promise<void>
  dispose(): void
}

export interface OpBench {
  readonly op: string
  cases(device: Device): AsyncIterable<OpCase> | Iterable<OpCase>
}

/** One line per case: median and deviation, rate, share of the machine's limit measured just before and after. */
export async function* runOpBench({ op, cases }: OpBench): AsyncGenerator<string> {
  const device = new Device()
  try {
    for await (const one of cases(device)) {
      await one.check()
      const before = await machineLimits(device, 2)
      const times = await time(device, one)
      const after = await machineLimits(device, 2)
      const median = times[times.length >> 1]
      const deviation = times.map(value => Math.abs(value - median)).sort((a, b) => a - b)[times.length >> 1]
      const isCopy = one.bound === 'copy'
      const limit = isCopy
        ? Math.max(before.copyGigabytes, after.copyGigabytes)
        : Math.max(before.gigaflops, after.gigaflops)
      const rate = (isCopy ? one.bytes : one.operations) / median / 1e6
      const share = rate / limit
      const target = one.target === undefined ? '' : `  (aim ${(100 * one.target).toFixed(0)} %)`
      yield `${op}  ${one.shape}  median ${median.toFixed(3)} ms  mad ${((100 * deviation) / median).toFixed(0)} %  ` +
        `${rate.toFixed(1)} ${isCopy ? 'GB/s' : 'GFLOP/s'} = ${(100 * share).toFixed(0)} % of ${isCopy ? 'copy' : 'multiply-add'} ${limit.toFixed(0)}${target}`
      one.dispose()
    }
  } finally {
    device.close()
  }
}

/** Milliseconds of one run, sorted; each sample is long enough to be measured. */
async function time(device: Device, one: OpCase, samples = 15): Promise<number[]> {
  const sample = async (runs: number) => {
    const begun = performance.now()
    for (let i = 0; i < runs; i++) one.run()
    await device.sync()
    return (performance.now() - begun) / runs
  }
  await sample(1)
  const runs = Math.max(1, Math.ceil(20 / (await sample(1))))
  const times: number[] = []
  for (let i = 0; i < samples; i++) times.push(await sample(runs))
  return times.sort((a, b) => a - b)
}
