// Digests: what stands for the data and options of a run, so that only that very run goes on from what it left.

import { createHash, type Hash } from 'node:crypto'
import { Pace } from '../util/pace.js'
import type { EncodedEvents } from './encode.js'

/** Bytes between two turns of the event loop. */
const BYTES = 1 << 20

/** SHA-256 over plain data, arrays and encoded events, in hexadecimal. */
export async function digestOf(
  plain: unknown,
  arrays: readonly ArrayBufferView[],
  { offsets, inputs }: EncodedEvents,
  signal?: AbortSignal,
): Promise<string> {
  const hash = createHash('sha256')
  const pace = new Pace(signal)
  const add = (values: ArrayBufferView) => addBytes(hash, values, pace)
  await add(Buffer.from(JSON.stringify(plain)))
  for (const values of [...arrays, offsets]) await add(values)
  for (const input of inputs) {
    for (const values of [input.codes, input.fraction, input.offsets]) if (values) await add(values)
  }
  return hash.digest('hex')
}

/** Adds the bytes of an array while the event loop runs. */
export async function addBytes(hash: Hash, values: ArrayBufferView, pace: Pace): Promise<void> {
  const bytes = new Uint8Array(values.buffer, values.byteOffset, values.byteLength)
  for (let at = 0; at < bytes.length; at += BYTES) {
    await pace.turn()
    hash.update(bytes.subarray(at, at + BYTES))
  }
}
