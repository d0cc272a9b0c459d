// Float64 reference of field_embedding: plain loops, as close to the formula as code can be.

export interface ReferenceField {
  readonly kind: 'categorical' | 'numeric' | 'text' | 'dense'
  readonly dim: number
  /** (ids, dim), or (events, dim) for dense */
  readonly table: Float64Array
  readonly codes?: Int32Array
  readonly fraction?: Float64Array
  readonly wordOffsets?: Int32Array
}

/** The rows of the field's table that make up event t, and their weights. */
function termsOf(field: ReferenceField, t: number): { row: number; weight: number }[] {
  const { kind, codes, fraction, wordOffsets } = field
  const ids = field.table.length / field.dim
  const known = (code: number, limit: number) => (code >= 0 && code < limit ? code : 0)
  if (kind === 'dense') return [{ row: t, weight: 1 }]
  if (kind === 'categorical') return [{ row: known(codes![t], ids), weight: 1 }]
  if (kind === 'text') {
    const words = codes!.subarray(wordOffsets![t], wordOffsets![t + 1])
    return [...words].map(code => ({ row: known(code, ids), weight: 1 / words.length }))
  }
  const row = known(codes![t], ids - 1)
  if (row < 2) return [{ row, weight: 1 }]
  const bias = { row: ids - 1, weight: 1 }
  const below = Array.from({ length: row - 2 }, (_, i) => ({ row: 2 + i, weight: 1 }))
  return [bias, ...below, { row, weight: fraction![t] }]
}

export function fieldEmbeddingForward(
  fields: readonly ReferenceField[],
  events: number,
  width: number,
  concat: boolean,
): Float64Array {
  const out = new Float64Array(events * width)
  let column = 0
  for (const field of fields) {
    for (let t = 0; t < events; t++) {
      for (const { row, weight } of termsOf(field, t)) {
        for (let i = 0; i < field.dim; i++) out[t * width + column + i] += weight * field.table[row * field.dim + i]
      }
    }
    if (concat) column += field.dim
  }
  return out
}

/** The gradients of the tables, in the order of the fields. */
export function fieldEmbeddingBackward(
  fields: readonly ReferenceField[],
  dout: Float64Array,
  events: number,
  width: number,
  concat: boolean,
): Float64Array[] {
  let column = 0
  return fields.map(field => {
    const dtable = new Float64Array(field.table.length)
    for (let t = 0; t < events; t++) {
      for (const { row, weight } of termsOf(field, t)) {
        for (let i = 0; i < field.dim; i++) dtable[row * field.dim + i] += weight * dout[t * width + column + i]
      }
    }
    if (concat) column += field.dim
    return dtable
  })
}
