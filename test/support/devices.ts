// Devices for tests: every kernel variant of this processor and the card, with guard bytes around each buffer.

import { afterAll, it } from 'vitest'
import { cudaStatus, Device, type DeviceOptions, variants } from '../../lib/runtime/device.js'
import { SeqriskError } from '../../lib/util/errors.js'
import { expectSameBits } from './close.js'

const opened: Device[] = []
// Not where a device is opened: a hook that is added within a test never runs.
afterAll(() => {
  for (const device of opened) device.close()
})

/** Opens a device that closes when the test file is done. The variant 'cuda' means the card. */
export function openDevice({ variant, ...options }: DeviceOptions = {}): Device {
  const of: DeviceOptions = variant === 'cuda' ? { kind: 'cuda' } : { threads: 2, variant }
  const device = new Device({ guard: true, ...of, ...options })
  opened.push(device)
  return device
}

/** One [name, device] for each variant that this processor supports. */
export function everyCpuVariant(options: DeviceOptions = {}): [string, Device][] {
  return variants().map(variant => [variant, openDevice({ ...options, variant })])
}

/** Every variant with one, two and three threads, and the card. Not within a test. */
export function everywhere(): [string, Device][] {
  const more = [1, 3].flatMap(threads => everyCpuVariant({ threads }))
  return [...everyVariant(), ...more]
}

/**
 * Every variant, and the card; the card alone where $SEQRISK_TEST_VARIANTS is cuda. Where there is none, a skipped test says
 * so: not within a test.
 */
export function everyVariant(options: DeviceOptions = {}): [string, Device][] {
  const { devices, missing } = cudaStatus()
  if (devices.length > 0) {
    const others = process.env.SEQRISK_TEST_VARIANTS === 'cuda' ? [] : everyCpuVariant(options)
    return [...others, ['cuda', openDevice({ ...options, variant: 'cuda' })]]
  }
  it.skip(`cuda: ${missing}`, () => {})
  return everyCpuVariant(options)
}

/** Whether the card is one that a processor plays: kernels run thousands of times slower there. */
export function isEmulated(): boolean {
  return cudaStatus().devices.some(({ name }) => name.startsWith('an emulated card'))
}

/** The CPU with products of bfloat16. Where it has none, null, and a skipped test says so: not within a test. */
export function cpuWithBfloat16(): Device | null {
  try {
    return openDevice({ kind: 'cpu', precision: 'bfloat16', variant: '' })
  } catch (error) {
    if (!(error instanceof SeqriskError) || error.code !== 'NO_BFLOAT16') throw error
    it.skip(error.message, () => {})
    return null
  }
}

/**
 * Runs something on one, two and three threads of a device's variant, and expects the same bits of each array that it
 * returns. Returns those of one thread.
 */
export async function expectSameOnThreads<T extends Readonly<Record<string, Float32Array>>>(
  { variant }: Device,
  run: (device: Device) => Promise<T>,
): Promise<T> {
  const [one, ...more] = await Promise.all([1, 2, 3].map(threads => run(openDevice({ variant, threads }))))
  const arrays = Object.entries(one)
  if (arrays.length === 0) throw new Error('nothing to compare')
  for (const other of more) for (const [name, values] of arrays) expectSameBits(other[name], values, name)
  return one
}
