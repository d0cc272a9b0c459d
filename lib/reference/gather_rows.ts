// Float64 reference of gather_rows: plain loops, as close to the formula as code can be.

export function gatherRowsForward(x: Float64Array, index: Int32Array, width: number): Float64Array {
  const out = new Float64Array(index.length * width)
  for (let i = 0; i < index.length; i++) {
    for (let column = 0; column < width; column++) out[i * width + column] = x[index[i] * width + column]
  }
  return out
}

export function gatherRowsBackward(dout: Float64Array, index: Int32Array, rows: number, width: number): Float64Array {
  const dx = new Float64Array(rows * width)
  for (let i = 0; i < index.length; i++) {
    for (let column = 0; column < width; column++) dx[index[i] * width + column] += dout[i * width + column]
  }
  return dx
}
