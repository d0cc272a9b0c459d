// Float64 reference of scale; the gradient of x is scale(dout).

export function scaleForward(x: Float64Array, factor: number): Float64Array {
  return x.map(value => factor * value)
}
