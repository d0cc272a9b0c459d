// Float64 reference of glu.

export function gluForward(x: Float64Array, width: number): Float64Array {
  return Float64Array.from({ length: x.length / 2 }, (_, i) => {
    const row = Math.floor(i / width) * 2 * width
    return x[row + (i % width)] / (1 + Math.exp(-x[row + width + (i % width)]))
  })
}

export function gluBackward(x: Float64Array, dout: Float64Array, width: number): Float64Array {
  const dx = new Float64Array(x.length)
  dout.forEach((dy, i) => {
    const at = Math.floor(i / width) * 2 * width + (i % width)
    const s = 1 / (1 + Math.exp(-x[at + width]))
    dx[at] = dy * s
    dx[at + width] = dy * x[at] * s * (1 - s)
  })
  return dx
}
