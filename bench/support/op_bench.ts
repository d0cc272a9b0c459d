// What a bench of an op declares, and the timing that makes a line of it.

import { MachineProbe } from '../../lib/ops/machine.js'
import type { Device } from '../../lib/runtime/device.js'
import { benchDevice } from './device.js'
import { median } from './median.js'

export interface OpCase {
  /** "f32 (32000, 256) K=5" */
  readonly shape: string
  /** Bytes that must move at least, and operations (a multiply-add is two; additions to memory for `update`). */
  readonly bytes: number
  readonly operations: number
  /** Which limit counts. */
  readonly bound: 'copy' | 'multiply-add' | 'update'
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

/**
 * One line per case: median and deviation, rate, share of the machine's limit. The limit is measured before and after
 * every sample and a share is taken per sample: the clock of a busy processor wanders by 10 % within seconds.
 */
export async function* runOpBench({ op, cases }: OpBench): AsyncGenerator<string> {
  const device = benchDevice()
  const probe = new MachineProbe(device)
  try {
    for await (const one of cases(device)) {
      await one.check()
      const isCopy = one.bound === 'copy'
      const key = ({ copy: 'copyGigabytes', 'multiply-add': 'gigaflops', update: 'gigaupdates' } as const)[one.bound]
      const unit = { copy: 'GB/s', 'multiply-add': 'GFLOP/s', update: 'G additions/s' }[one.bound]
      const work = (isCopy ? one.bytes : one.operations) / 1e6
      const samples = await sample(device, one, () => probe[key]())
      const ms = median(samples.map(({ ms }) => ms))
      const deviation = median(samples.map(sample => Math.abs(sample.ms - ms)))
      const share = median(samples.map(({ ms, limit }) => work / ms / limit))
      const limit = median(samples.map(({ limit }) => limit))
      const target = one.target === undefined ? '' : `  (aim ${(100 * one.target).toFixed(0)} %)`
      yield `${op}  ${one.shape}  median ${ms.toFixed(3)} ms  mad ${((100 * deviation) / ms).toFixed(0)} %  ` +
        `${(work / ms).toFixed(1)} ${unit} = ${(100 * share).toFixed(0)} % of ${one.bound} ${limit.toPrecision(3)}${target}`
      one.dispose()
    }
  } finally {
    probe.dispose()
    device.close()
  }
}

/** Milliseconds of one run and the limit around it; each sample is long enough to be measured. */
async function sample(device: Device, one: OpCase, measureLimit: () => Promise<number>, samples = 15) {
  const time = async (runs: number) => {
    const begun = performance.now()
    for (let i = 0; i < runs; i++) one.run()
    await device.sync()
    return (performance.now() - begun) / runs
  }
  await time(1)
  const runs = Math.max(1, Math.ceil(20 / (await time(1))))
  const taken: { ms: number; limit: number }[] = []
  let before = await measureLimit()
  for (let i = 0; i < samples; i++) {
    const ms = await time(runs)
    const after = await measureLimit()
    taken.push({ ms, limit: (before + after) / 2 })
    before = after
  }
  return taken
}
