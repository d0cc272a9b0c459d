// What the benches compute on and compare with, as the caller asked. In the environment, since some benches run in processes of their own.

import { Device, type DeviceKind, type Precision } from '../../lib/runtime/device.js'

const KIND = 'SEQRISK_BENCH_DEVICE'
const THREADS = 'SEQRISK_BENCH_THREADS'
const PRECISION = 'SEQRISK_BENCH_PRECISION'
const INSTALL_PEERS = 'SEQRISK_BENCH_INSTALL_PEERS'

/** For all benches that are loaded from now on. */
export function chooseDevice(kind?: DeviceKind, threads?: number, precision?: Precision): void {
  if (kind !== undefined) process.env[KIND] = kind
  if (threads !== undefined) process.env[THREADS] = String(threads)
  if (precision !== undefined) process.env[PRECISION] = precision
}

/** Lets all benches that are loaded from now on fetch from the npm registry what they compare with. */
export function allowInstalls(): void {
  process.env[INSTALL_PEERS] = '1'
}

export function mayInstall(): boolean {
  return process.env[INSTALL_PEERS] === '1'
}

/** The threads that were asked for. */
export function benchThreads(): number | undefined {
  return process.env[THREADS] === undefined ? undefined : Number(process.env[THREADS])
}

export function benchPrecision(): Precision {
  return (process.env[PRECISION] as Precision | undefined) ?? 'float32'
}

export function benchDevice(threads = benchThreads()): Device {
  return new Device({ kind: process.env[KIND] as DeviceKind | undefined, threads, precision: benchPrecision() })
}
