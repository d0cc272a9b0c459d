// Devices for tests: every kernel variant of this processor and the card, with guard bytes around each buffer.

import { afterAll, it } from 'vitest'
import { cudaStatus, Device, type DeviceOptions, variants } from '../../lib/runtime/device.js'

/** Opens a device that closes when the test file is done. The variant 'cuda' means the card. */
export function openDevice({ variant, ...options }: DeviceOptions = {}): Device {
  const of: DeviceOptions = variant === 'cuda' ? { kind: 'cuda' } : { threads: 2, variant }
  const device = new Device({ guard: true, ...of, ...options })
  afterAll(() => device.close())
  return device
}

/** One [name, device] for each variant that this processor supports. */
export function everyCpuVariant(options: DeviceOptions = {}): [string, Device][] {
  return variants().map(variant => [variant, openDevice({ ...options, variant })])
}

/** The same, and the card. Where there is none, a skipped test says so. */
export function everyVariant(options: DeviceOptions = {}): [string, Device][] {
  const { devices, missing } = cudaStatus()
  if (devices.length > 0) return [...everyCpuVariant(options), ['cuda', openDevice({ ...options, variant: 'cuda' })]]
  it.skip(`cuda: ${missing}`, () => {})
  return everyCpuVariant(options)
}
