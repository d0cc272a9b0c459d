// How time grows with the length of sequences, for the three kinds of attention; and the memory of a training step.

import { fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import type { AttentionKind } from '../../lib/encoder/config.js'
import { Device } from '../../lib/runtime/device.js'
import { benchEncoder, evenEvents, inTurns, THREADS } from './contenders.js'
import type { MemoryReport } from './memory_step.js'

export const LENGTHS = [250, 1000, 4000, 16_000, 64_000]
const EVENTS = 64_000
const TURNS = 2
/** Beyond this length, full attention over all the events takes too long to be worth waiting for. */
const FULL_UP_TO = 4000
/** Time per event may grow this much from the shortest to the longest sequences and still count as linear. */
const LINEAR_WITHIN = 1.3

export interface ScalingRow {
  readonly attention: AttentionKind
  readonly length: number
  /** Microseconds per event. */
  readonly microseconds: number
}

export default async function* lines(): AsyncGenerator<string> {
  const rows: ScalingRow[] = []
  for await (const row of scalingBench()) {
    rows.push(row)
    const { attention, length, microseconds } = row
    yield `encoder/scaling  ${attention.padEnd(6)} N=${String(length).padEnd(6)} ${microseconds.toFixed(2)} µs an event`
  }
  for (const kind of ['block', 'fixed'] as const) {
    const own = rows.filter(({ attention }) => attention === kind)
    yield `encoder/scaling  ${kind}: time per event ${isLinear(own) ? 'stays within' : 'GROWS beyond'} ${LINEAR_WITHIN}× of the shortest`
  }
  const { deviceBytes, residentBytes } = await memoryBench()
  const gigabytes = (bytes: number) => `${(bytes / 1e9).toFixed(2)} GB`
  yield `encoder/memory   step at N=4000, D=256, 3 blocks, batch 8: ${gigabytes(deviceBytes)} of tensors, ${gigabytes(residentBytes)} process (target 3 GB)`
}

/** Inference, the same number of events at every length. */
export async function* scalingBench(): AsyncGenerator<ScalingRow> {
  const device = new Device({ threads: THREADS })
  try {
    for (const attention of ['block', 'fixed', 'full'] as const) {
      const encoder = benchEncoder(device, { attention })
      for (const length of LENGTHS) {
        if (attention === 'full' && length > FULL_UP_TO) break
        const events = evenEvents(EVENTS / length, length)
        const [{ median }] = await inTurns([{ name: attention, run: () => encoder.encodeBlock(events) }], TURNS)
        yield { attention, length, microseconds: (1e6 * median) / EVENTS }
      }
      encoder.dispose()
    }
  } finally {
    device.close()
  }
}

/** Whether time per event stays what it is at the shortest length. */
export function isLinear(rows: readonly ScalingRow[]): boolean {
  return rows.every(({ microseconds }) => microseconds <= LINEAR_WITHIN * rows[0].microseconds)
}

/** Memory of pre-training steps at N = 4000, D = 256, 3 blocks, batch 8, in a process of its own. */
export function memoryBench(): Promise<MemoryReport> {
  return new Promise((resolve, reject) => {
    const child = fork(fileURLToPath(new URL('memory_step.ts', import.meta.url)))
    child.once('message', message => resolve(message as MemoryReport))
    child.once('error', reject)
    child.once('exit', code => reject(new Error(`memory_step ended with ${code} and no report`)))
  })
}
