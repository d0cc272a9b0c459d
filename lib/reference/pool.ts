// Float64 reference of pool: plain loops, as close to the formula as code can be.

export type ReferencePoolMode = 'mean' | 'max' | 'last'

/** The weight of every event of one sequence in one column of its row. */
function weights(column: Float64Array, mode: ReferencePoolMode): number[] {
  const last = column.length - 1
  if (mode === 'mean') return Array.from(column, () => 1 / column.length)
  if (mode === 'last') return Array.from(column, (_, t) => (t === last ? 1 : 0))
  let best = 0
  for (let t = 1; t <= last; t++) if (column[t] > column[best]) best = t
  return Array.from(column, (_, t) => (t === best ? 1 : 0))
}

function columnOf(x: Float64Array, width: number, begin: number, end: number, i: number): Float64Array {
  return Float64Array.from({ length: end - begin }, (_, t) => x[(begin + t) * width + i])
}

export function poolForward(
  x: Float64Array,
  offsets: Int32Array,
  width: number,
  mode: ReferencePoolMode,
): Float64Array {
  const sequences = offsets.length - 1
  const out = new Float64Array(sequences * width)
  for (let s = 0; s < sequences; s++) {
    for (let i = 0; i < width; i++) {
      const column = columnOf(x, width, offsets[s], offsets[s + 1], i)
      const weight = weights(column, mode)
      for (let t = 0; t < column.length; t++) out[s * width + i] += weight[t] * column[t]
    }
  }
  return out
}

export function poolBackward(
  x: Float64Array,
  offsets: Int32Array,
  dout: Float64Array,
  width: number,
  mode: ReferencePoolMode,
): Float64Array {
  const dx = new Float64Array(x.length)
  for (let s = 0; s < offsets.length - 1; s++) {
    for (let i = 0; i < width; i++) {
      const weight = weights(columnOf(x, width, offsets[s], offsets[s + 1], i), mode)
      for (let t = 0; t < weight.length; t++) dx[(offsets[s] + t) * width + i] = weight[t] * dout[s * width + i]
    }
  }
  return dx
}
