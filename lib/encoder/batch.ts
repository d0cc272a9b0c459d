// A packed batch in device memory.

import type { PackedBatch } from '../events/batch.js'
import type { Device } from '../runtime/device.js'
import { Offsets, Tensor } from '../runtime/tensor.js'
import { unlessAborted } from '../util/abort.js'

/** Batches that wait to be read: a few keep the device busy, more would only hold memory. */
const IN_FLIGHT = 4

export interface DeviceInput {
  readonly codes: Tensor<'int32'>
  readonly fraction?: Tensor<'float32'>
  /** Text: where the words of each event start. */
  readonly wordOffsets?: Offsets
}

export interface DeviceBatch {
  readonly offsets: Offsets
  readonly inputs: readonly DeviceInput[]
}

/** Copies a batch to the device, in the scope that is open. */
export function toDevice(device: Device, batch: Pick<PackedBatch, 'offsets' | 'inputs'>): DeviceBatch {
  return {
    offsets: new Offsets(device, batch.offsets),
    inputs: batch.inputs.map(({ codes, fraction, offsets }) => ({
      codes: Tensor.from(device, codes),
      fraction: fraction && Tensor.from(device, fraction),
      wordOffsets: offsets && new Offsets(device, offsets),
    })),
  }
}

/**
 * Sequences in their order, as many at a time as fit into so many events (at least one). Packed batches have no padding,
 * so that lengths need not be alike.
 */
export function* consecutiveBatches(offsets: Int32Array, events: number): Generator<{ begin: number; end: number }> {
  const sequences = offsets.length - 1
  for (let begin = 0; begin < sequences; ) {
    let end = begin + 1
    while (end < sequences && offsets[end + 1] - offsets[begin] <= events) end++
    yield { begin, end }
    begin = end
  }
}

/** What a batch becomes, and where its first number belongs. */
export interface BatchRows {
  readonly rows: Tensor<'float32'>
  readonly at: number
}

/**
 * Fills `result` with what batches become, and frees their tensors.
 * @param batches  submits the next one when it is asked for it
 */
export async function readBatches(
  batches: AsyncIterable<BatchRows>,
  result: Float32Array,
  signal?: AbortSignal,
): Promise<void> {
  const waiting: Promise<void>[] = []
  for await (const { rows, at } of batches) {
    const reading = rows.read().then(values => {
      result.set(values, at)
    })
    // It may fail while the next batch is prepared, and nobody looks at it when that one fails.
    reading.catch(() => {})
    waiting.push(reading)
    rows.dispose()
    if (waiting.length >= IN_FLIGHT) await unlessAborted(waiting.shift()!, signal)
  }
  await unlessAborted(Promise.all(waiting), signal)
}
