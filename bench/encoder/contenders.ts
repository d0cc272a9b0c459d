// The encoder that the benches compare, its synthetic events, and timing in turns.

import type { EncoderConfig } from '../../lib/encoder/config.js'
import { Encoder } from '../../lib/encoder/encoder.js'
import type { EncodedEvents } from '../../lib/events/encode.js'
import type { EventEncoding } from '../../lib/events/inputs.js'
import { FIRST_VALUE } from '../../lib/events/inputs.js'
import type { Device } from '../../lib/runtime/device.js'
import { Philox } from '../../lib/util/philox.js'
import { benchThreads } from '../support/device.js'

export const THREADS = benchThreads() ?? 2
export const CLASSES = 1000

/** One field, the event's type: what remains is the encoder. Blocks are not shifted, which only costs the rivals time. */
export const CONFIG: Partial<EncoderConfig> = {
  width: 128,
  blocks: 3,
  kernel: 5,
  heads: 4,
  attention: 'block',
  attentionSize: 64,
  shift: false,
}

export const ENCODING: EventEncoding = {
  version: 1,
  time: 'number',
  inputs: [
    { name: 'type', field: 'type', part: 'field', kind: 'categorical', size: CLASSES, values: [], hash: CLASSES - 3 },
  ],
  newest: 0,
  lastEvents: 64_000,
  entities: 1,
  events: 1,
}

export function benchEncoder(device: Device, config: Partial<EncoderConfig> = {}): Encoder {
  return new Encoder(ENCODING, { ...CONFIG, ...config }, { device, seed: 1 })
}

/** So many users with so many events each. */
export function evenEvents(users: number, length: number): EncodedEvents {
  const random = new Philox(7)
  const codes = Int32Array.from({ length: users * length }, () => FIRST_VALUE + random.below(CLASSES - FIRST_VALUE))
  return {
    ids: Array.from({ length: users }, (_, i) => `user ${i}`),
    offsets: Int32Array.from({ length: users + 1 }, (_, i) => i * length),
    time: new Float64Array(users * length),
    inputs: [{ name: 'type', field: 'type', kind: 'categorical', codes }],
  }
}

export interface Contender {
  readonly name: string
  /** One unit of work, of which there are `repeats` in a turn. A number that it returns is its own measure of its seconds. */
  run(): Promise<unknown>
  readonly repeats?: number
}

export interface Timing {
  readonly name: string
  readonly median: number
  readonly p99: number
  /** Median distance from the median, as a share of it. */
  readonly spread: number
}

/** Idle time before a turn: threads of the one before that wait for work in a loop have gone to sleep by then. */
const PAUSE_MS = 100

/** Times contenders in turns; the first turn warms up and does not count. Seconds per unit of work. */
export async function inTurns(contenders: readonly Contender[], turns: number): Promise<Timing[]> {
  const samples = contenders.map((): number[] => [])
  for (let turn = 0; turn <= turns; turn++) {
    for (const [i, { run, repeats = 1 }] of contenders.entries()) {
      await new Promise(resolve => setTimeout(resolve, PAUSE_MS))
      for (let k = 0; k < repeats; k++) {
        const begun = performance.now()
        const own = await run()
        const seconds = (performance.now() - begun) / 1000
        if (turn > 0) samples[i].push(typeof own === 'number' ? own : seconds)
      }
    }
  }
  return contenders.map(({ name }, i) => timing(name, samples[i]))
}

function timing(name: string, samples: number[]): Timing {
  const sorted = samples.toSorted((a, b) => a - b)
  const median = quantile(sorted, 0.5)
  const distances = sorted.map(value => Math.abs(value - median)).sort((a, b) => a - b)
  return { name, median, p99: quantile(sorted, 0.99), spread: quantile(distances, 0.5) / median }
}

function quantile(sorted: readonly number[], q: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))]
}

/** @throws when any value differs by more than `tolerance`, or is none */
export function expectSame(got: ArrayLike<number>, want: ArrayLike<number>, tolerance: number, what: string): void {
  if (want.length === 0 || got.length !== want.length)
    throw new Error(`${what}: ${got.length} values, not ${want.length}`)
  for (let i = 0; i < want.length; i++) {
    if (Math.abs(got[i] - want[i]) <= tolerance) continue
    throw new Error(`${what}: ${got[i]} instead of ${want[i]} at ${i}`)
  }
}
