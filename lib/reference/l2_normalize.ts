// Float64 reference of l2_normalize: plain loops, as close to the formula as code can be.

export function l2NormalizeForward(x: Float64Array, rows: number, width: number, eps: number): Float64Array {
  const out = new Float64Array(rows * width)
  for (let r = 0; r < rows; r++) {
    const norm = Math.max(Math.hypot(...x.subarray(r * width, (r + 1) * width)), eps)
    for (let i = r * width; i < (r + 1) * width; i++) out[i] = x[i] / norm
  }
  return out
}

export function l2NormalizeBackward(
  x: Float64Array,
  dout: Float64Array,
  rows: number,
  width: number,
  eps: number,
): Float64Array {
  const dx = new Float64Array(rows * width)
  for (let r = 0; r < rows; r++) {
    const norm = Math.hypot(...x.subarray(r * width, (r + 1) * width))
    let along = 0
    for (let i = r * width; i < (r + 1) * width; i++) along += (x[i] * dout[i]) / norm
    for (let i = r * width; i < (r + 1) * width; i++) {
      dx[i] = norm > eps ? (dout[i] - (x[i] / norm) * along) / norm : dout[i] / eps
    }
  }
  return dx
}
