// Packed batches as the padded inputs of an exported encoder.

import type { PackedBatch } from '../events/batch.js'
import type { EventEncoding } from '../events/inputs.js'
import { expectRange, expectType } from '../util/errors.js'
import { emptyRecord } from '../util/record.js'
import { expectOtherName } from './onnx_graph.js'

/** A dense array as ONNX runtimes take them. */
export type OnnxArray =
  | { readonly type: 'int32'; readonly shape: readonly number[]; readonly values: Int32Array }
  | { readonly type: 'float32'; readonly shape: readonly number[]; readonly values: Float32Array }

/**
 * What an exported encoder takes, by input name, for the sequences of a batch: codes and fractions (users, length), texts
 * (users, length, words), and `lengths` (users).
 * @param length events that each sequence is padded to; default: the longest of the batch, at least 1
 * @throws {RangeError} if a sequence is longer, or two of these inputs have one name
 */
export function padInputs(
  encoding: EventEncoding,
  batch: Pick<PackedBatch, 'offsets' | 'inputs'>,
  length?: number,
): Record<string, OnnxArray> {
  const where = 'padInputs'
  const { offsets } = batch
  const users = offsets.length - 1
  const lengths = Int32Array.from({ length: users }, (_, i) => offsets[i + 1] - offsets[i])
  const longest = lengths.reduce((most, n) => Math.max(most, n), 1)
  const size = length ?? longest
  const fits = Number.isInteger(size) && size >= longest
  expectRange(fits, where, `length to be a whole number ≥ ${longest}, the longest sequence`, size)
  expectType(batch.inputs.length === encoding.inputs.length, where, 'a batch of this encoding', 'another')
  const arrays = emptyRecord<OnnxArray>()
  arrays.lengths = { type: 'int32', shape: [users], values: lengths }
  const add = (name: string, array: OnnxArray) => {
    expectOtherName(!Object.hasOwn(arrays, name), where, name)
    arrays[name] = array
  }
  const shape = [users, size]
  batch.inputs.forEach((input, i) => {
    const spec = encoding.inputs[i]
    if (input.offsets) add(spec.name, padTexts(input.codes, input.offsets, offsets, size, spec.size))
    else {
      const values = pad(input.codes, new Int32Array(users * size), offsets, size)
      add(spec.name, { type: 'int32', shape, values })
    }
    if (!input.fraction) return
    const values = pad(input.fraction, new Float32Array(users * size), offsets, size)
    add(`${spec.name}.fraction`, { type: 'float32', shape, values })
  })
  return arrays
}

function pad<A extends Int32Array | Float32Array>(from: A, to: A, offsets: Int32Array, size: number): A {
  for (let i = 0; i + 1 < offsets.length; i++) to.set(from.subarray(offsets[i], offsets[i + 1]), i * size)
  return to
}

/** `filler` stands where there is no word. */
function padTexts(codes: Int32Array, words: Int32Array, offsets: Int32Array, size: number, filler: number): OnnxArray {
  let most = 1
  for (let t = 0; t + 1 < words.length; t++) most = Math.max(most, words[t + 1] - words[t])
  const users = offsets.length - 1
  const values = new Int32Array(users * size * most).fill(filler)
  for (let i = 0; i < users; i++) {
    for (let t = offsets[i]; t < offsets[i + 1]; t++) {
      values.set(codes.subarray(words[t], words[t + 1]), (i * size + t - offsets[i]) * most)
    }
  }
  return { type: 'int32', shape: [users, size, most], values }
}
