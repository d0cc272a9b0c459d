// Float64 reference of add; both gradients are dout itself.

export function addForward(a: Float64Array, b: Float64Array): Float64Array {
  return a.map((value, i) => value + b[i])
}
