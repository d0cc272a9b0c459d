import type { EmbeddingFieldPart } from '../../binding.js'
import { binding } from '../native.js'
import { currentTape, type Tape } from '../runtime/tape.js'
import type { Offsets } from '../runtime/tensor.js'
import { Tensor } from '../runtime/tensor.js'
import { expectOptions, expectRange } from '../util/errors.js'
import { convert } from './convert.js'
import { parameterGradient } from './gradients.js'

/** Codes 0 = unknown, 1 = mask, from 2 on the values. */
export interface CategoricalField {
  /** (events) int32; a code outside the table counts as 0 */
  readonly codes: Tensor<'int32'>
  /** (ids, dim) float32 */
  readonly table: Tensor<'float32'>
}

/** Codes 0 = missing, 1 = mask, 2 + b = a value in bin b; the value is `fraction` of the way through its bin. */
export interface NumericField {
  /** (events) int32 */
  readonly codes: Tensor<'int32'>
  /** (events) float32 */
  readonly fraction: Tensor<'float32'>
  /** (2 + bins + 1, dim) float32; the last row is the bias of all values that are neither missing nor masked */
  readonly table: Tensor<'float32'>
}

/** The mean over the words of an event; zeros for an event without words. */
export interface TextField {
  /** (words) int32; a code outside the table counts as 0 */
  readonly codes: Tensor<'int32'>
  /** Where the words of each event start: one "sequence" per event. */
  readonly wordOffsets: Offsets
  /** (ids, dim) float32 */
  readonly table: Tensor<'float32'>
}

/** A vector per event that was computed elsewhere; its gradient goes back there. */
export interface DenseField {
  /** (events, dim) float32 */
  readonly values: Tensor<'float32'>
}

export type EmbeddingField = CategoricalField | NumericField | TextField | DenseField

export interface FieldEmbeddingOptions {
  readonly width: number
  /** `add`: every field is `width` wide, and they are summed. `concat`: side by side, `width` wide together. */
  readonly merge: 'add' | 'concat'
}

/**
 * Embeds all fields of every event in one pass: `out[t] = Σ_f e_f(t)` (add) or `(e_1(t), …, e_F(t))` (concat), with
 *   categorical  e(t) = table[code]
 *   numeric      e(t) = bias + Σ_{i<b} table[2 + i] + fraction · table[2 + b]
 *   text         e(t) = mean of table[code] over the words of t
 *   dense        e(t) = values[t]
 * No two fields may share a table.
 * @returns (events, width) float32
 * @throws {TypeError} for an unknown part of a field
 * @throws {RangeError} if a shape differs, or a table has too few rows.  Deterministic.
 * Source: piecewise-linear encoding, Gorishniy et al. 2022, eq. 1; here followed by a linear map.
 */
export function fieldEmbedding(fields: readonly EmbeddingField[], options: FieldEmbeddingOptions): Tensor<'float32'> {
  const where = 'field_embedding'
  expectOptions(where, options, ['width', 'merge'])
  const { width, merge } = options
  expectRange(merge === 'add' || merge === 'concat', where, "merge 'add' or 'concat'", merge)
  expectRange(fields.length > 0, where, 'at least one field', 'none')
  for (const field of fields) expectOptions(where, field, ['codes', 'fraction', 'wordOffsets', 'table', 'values'])
  const sources = fields.map(sourceOf)
  const distinct = new Set(fields.filter(field => !('values' in field)).map(sourceOf)).size
  const tables = fields.filter(field => !('values' in field)).length
  expectRange(distinct === tables, where, 'a table of its own for every field', 'a shared one')

  const { device } = sources[0]
  const concat = merge === 'concat'
  const out = Tensor.empty(device, 'float32', [eventsOf(fields[0]), width])
  const parts = fields.flatMap((field, i) => partsOf(field, sources[i].handle))
  binding.field_embedding_forward(device.handle, concat, out.handle, fields.length, parts)

  const tape = currentTape()
  tape?.add(out, sources, dout => {
    const gradients = fields.flatMap(field => gradientPartsOf(field, tape))
    const exact = convert(dout, 'float32')
    binding.field_embedding_backward(device.handle, concat, exact.handle, fields.length, gradients)
  })
  return out
}

const KIND = { categorical: 0, numeric: 1, text: 2, dense: 3 } as const

function sourceOf(field: EmbeddingField): Tensor<'float32'> {
  return 'values' in field ? field.values : field.table
}

function eventsOf(field: EmbeddingField): number {
  if ('values' in field) return field.values.shape[0]
  return 'wordOffsets' in field ? field.wordOffsets.sequences : field.codes.shape[0]
}

/** One field as the binding takes it; `table` is its table or values, or their gradient. */
function partsOf(field: EmbeddingField, table: EmbeddingFieldPart): EmbeddingFieldPart[] {
  const dim = sourceOf(field).shape[1] ?? 0
  if ('values' in field) return [KIND.dense, dim, table]
  const codes = field.codes.handle
  if ('wordOffsets' in field) return [KIND.text, dim, codes, field.wordOffsets.handle, table]
  if ('fraction' in field) return [KIND.numeric, dim, codes, field.fraction.handle, table]
  return [KIND.categorical, dim, codes, table]
}

function gradientPartsOf(field: EmbeddingField, tape: Tape): EmbeddingFieldPart[] {
  if ('values' in field) {
    const slot = tape.slot(field.values)
    return [...partsOf(field, slot?.tensor.handle ?? null), slot?.accumulate ?? false]
  }
  return partsOf(field, tape.wants(field.table) ? parameterGradient(tape, field.table).handle : null)
}
