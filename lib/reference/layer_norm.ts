// Float64 reference of layer_norm: plain loops, as close to the formula as code can be.

export function layerNormForward(
  x: Float64Array,
  weight: Float64Array,
  bias: Float64Array,
  rows: number,
  width: number,
  eps: number,
): Float64Array {
  const out = new Float64Array(rows * width)
  for (let r = 0; r < rows; r++) {
    const row = x.subarray(r * width, (r + 1) * width)
    const { mean, rstd } = moments(row, eps)
    for (let i = 0; i < width; i++) out[r * width + i] = (row[i] - mean) * rstd * weight[i] + bias[i]
  }
  return out
}

export function layerNormBackward(
  x: Float64Array,
  weight: Float64Array,
  dout: Float64Array,
  rows: number,
  width: number,
  eps: number,
): { dx: Float64Array; dweight: Float64Array; dbias: Float64Array } {
  const dx = new Float64Array(rows * width)
  const dweight = new Float64Array(width)
  const dbias = new Float64Array(width)
  for (let r = 0; r < rows; r++) {
    const row = x.subarray(r * width, (r + 1) * width)
    const { mean, rstd } = moments(row, eps)
    let averageG = 0
    let averageGN = 0
    for (let i = 0; i < width; i++) {
      const normal = (row[i] - mean) * rstd
      const dy = dout[r * width + i]
      dweight[i] += dy * normal
      dbias[i] += dy
      averageG += (dy * weight[i]) / width
      averageGN += (dy * weight[i] * normal) / width
    }
    for (let i = 0; i < width; i++) {
      const normal = (row[i] - mean) * rstd
      dx[r * width + i] = rstd * (dout[r * width + i] * weight[i] - averageG - normal * averageGN)
    }
  }
  return { dx, dweight, dbias }
}

function moments(row: Float64Array, eps: number): { mean: number; rstd: number } {
  let mean = 0
  for (const value of row) mean += value / row.length
  let variance = 0
  for (const value of row) variance += (value - mean) ** 2 / row.length
  return { mean, rstd: 1 / Math.sqrt(variance + eps) }
}
