// What the benches compute on, as the caller asked. In the environment, since some benches run in processes of their own.

import { Device, type DeviceKind } from '../../lib/runtime/device.js'

const KIND = 'SEQRISK_BENCH_DEVICE'
const THREADS = 'SEQRISK_BENCH_THREADS'

/** For all benches that are loaded from now on. */
export function chooseDevice(kind?: DeviceKind, threads?: number): void {
  if (kind !== undefined) process.env[KIND] = kind
  if (threads !== undefined) process.env[THREADS] = String(threads)
}

/** The threads that were asked for. */
export function benchThreads(): number | undefined {
  return process.env[THREADS] === undefined ? undefined : Number(process.env[THREADS])
}

export function benchDevice(threads = benchThreads()): Device {
  return new Device({ kind: process.env[KIND] as DeviceKind | undefined, threads })
}
