// What commands share that run a trained model over events.

import { workOf } from '../encoder/config.js'
import { ENCODE_BATCH_EVENTS } from '../encoder/encoder.js'
import { Device } from '../runtime/device.js'
import { AS_OF } from './as_of.js'
import type { Context } from './command.js'
import { EVENTS } from './events.js'
import { PRECISION, precisionOf } from './precision.js'

export const INFERENCE = {
  ...EVENTS,
  'as-of': AS_OF,
  precision: PRECISION,
} as const

/** A card where one is asked for, or, left to choose, where batches are large enough to keep it busy. */
export function inferenceDevice(precision: string | undefined, { threads, device }: Context): Device {
  return new Device({
    kind: device,
    threads,
    precision: precisionOf(precision),
    work: workOf(ENCODE_BATCH_EVENTS.cuda),
  })
}
