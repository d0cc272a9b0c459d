// Where commands compute when they are left to choose.

import { describe, expect, it } from 'vitest'
import { fittingDevice, scoringDevice } from '../../lib/cli/table_device.js'
import { cudaStatus, type DeviceKind } from '../../lib/runtime/device.js'

const { devices, missing } = cudaStatus()
const reason = devices.length > 0 ? '' : ` (skipped: ${missing})`
const asked = (device: DeviceKind) => ({ device, threads: 1 })

describe.skipIf(devices.length === 0)(`commands on tables${reason}`, () => {
  it.each([
    ['a fit on 10⁷ values', 'cuda', () => fittingDevice(400_000, 25, asked('auto'))],
    ['a fit on fewer', 'cpu', () => fittingDevice(390_000, 25, asked('auto'))],
    ['scores of an isolation forest', 'cuda', () => scoringDevice('isolation', 2_000_000, 100, asked('auto'))],
    ['scores of fewer rows', 'cpu', () => scoringDevice('isolation', 1_000_000, 100, asked('auto'))],
    ['scores by fewer trees', 'cpu', () => scoringDevice('isolation', 2_000_000, 10, asked('auto'))],
    ['predictions', 'cuda', () => scoringDevice('model', 20_000_000, 100, asked('auto'))],
    [
      'predictions that save less than opening a card takes',
      'cpu',
      () => scoringDevice('model', 2e6, 100, asked('auto')),
    ],
    ['little on a card that is asked for', 'cuda', () => fittingDevice(1, 1, asked('cuda'))],
    ['much on the CPU that is asked for', 'cpu', () => fittingDevice(1e9, 1e3, asked('cpu'))],
  ] as const)('%s: %s', (_, kind, open) => {
    const device = open()
    expect(device.kind).toBe(kind)
    device.close()
  })
})
