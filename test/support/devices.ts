// Devices for tests: every kernel variant of this processor, with guard bytes around each buffer.

import { afterAll } from 'vitest'
import { Device, type DeviceOptions, variants } from '../../lib/runtime/device.js'

/** Opens a device that closes when the test file is done. */
export function openDevice(options: DeviceOptions = {}): Device {
  const device = new Device({ threads: 2, guard: true, ...options })
  afterAll(() => device.close())
  return device
}

/** One [name, device] for each variant that this processor supports. */
export function everyVariant(options: DeviceOptions = {}): [string, Device][] {
  return variants().map(variant => [variant, openDevice({ ...options, variant })])
}
