// Runs benches by name.

import { readdirSync } from 'node:fs'
import { cpus } from 'node:os'
import { fileURLToPath } from 'node:url'
import { machineLimits } from '../lib/ops/machine.js'
import type { DeviceKind, Precision } from '../lib/runtime/device.js'
import { allowInstalls, benchDevice, chooseDevice } from './support/device.js'

export interface BenchOptions {
  /** Parts of names; none for all benches. */
  readonly names: readonly string[]
  readonly device?: DeviceKind
  readonly threads?: number
  readonly precision?: Precision
  /** Whether a peer that is not there may be fetched from the npm registry. Default false. */
  readonly installPeers?: boolean
  readonly signal?: AbortSignal
}

export interface BenchLine {
  /** `machine` for the line that opens the report. */
  readonly bench: string
  readonly line: string
}

const ENDING = /\.bench\.[jt]s$/

/** Names of all benches: folder and file. */
export function benchNames(): string[] {
  return benchFiles().map(file => file.replace(ENDING, ''))
}

function benchFiles(): string[] {
  return readdirSync(fileURLToPath(new URL('.', import.meta.url)), { recursive: true, encoding: 'utf8' })
    .filter(name => ENDING.test(name) && !name.includes('node_modules'))
    .map(name => name.replaceAll('\\', '/'))
    .sort()
}

/** The lines of the report as they come. @throws {RangeError} when no bench has such a name */
export async function* runBenches(options: BenchOptions): AsyncGenerator<BenchLine> {
  const { names, device: kind, threads, precision, installPeers = false, signal } = options
  const files = benchFiles()
  const unknown = names.find(name => !files.some(file => file.includes(name)))
  if (unknown !== undefined) {
    const advice = `use a part of one of ${benchNames().join(', ')}`
    throw new RangeError(`[bench] expected the name of a bench but received '${unknown}'; ${advice}`)
  }
  chooseDevice(kind, threads, precision)
  if (installPeers) allowInstalls()
  const device = benchDevice()
  const { gigaflops, copyGigabytes } = await machineLimits(device)
  const limits = `multiply-add ${gigaflops.toFixed(0)} GFLOP/s, copy ${copyGigabytes.toFixed(1)} GB/s`
  const machine = `${cpus()[0].model}, ${device.threads} threads, ${device.variant}: ${limits}`
  device.close()
  yield { bench: 'machine', line: `${machine}, ${new Date().toISOString().slice(0, 10)}` }
  for (const file of files.filter(file => names.length === 0 || names.some(name => file.includes(name)))) {
    const { default: bench } = (await import(new URL(file, import.meta.url).href)) as {
      default: () => AsyncIterable<string>
    }
    for await (const line of bench()) {
      yield { bench: file.replace(ENDING, ''), line }
      signal?.throwIfAborted()
    }
  }
}
