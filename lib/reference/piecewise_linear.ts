// Float64 reference of piecewise_linear: looks up the piece that a value is in, where the kernels sum up all of them.

/** Curves of `width` columns: knots (n, width), slopes (n + 1, width), offset (width). */
export interface CurveValues {
  readonly knots: Float64Array
  readonly slopes: Float64Array
  readonly offset: Float64Array
}

/** Knots of column c that are at or below x. */
function pieceOf(x: number, c: number, knots: Float64Array, width: number): number {
  let piece = 0
  for (let at = c; at < knots.length && knots[at] <= x; at += width) piece++
  return piece
}

export function piecewiseLinearForward(x: Float64Array, { knots, slopes, offset }: CurveValues): Float64Array {
  const width = offset.length
  return x.map((value, i) => {
    const c = i % width
    const piece = pieceOf(value, c, knots, width)
    if (piece === 0) return offset[c] + slopes[c] * (value - knots[c])
    let height = offset[c]
    for (let k = 1; k < piece; k++)
      height += slopes[k * width + c] * (knots[k * width + c] - knots[(k - 1) * width + c])
    return height + slopes[piece * width + c] * (value - knots[(piece - 1) * width + c])
  })
}

export function piecewiseLinearBackward(
  x: Float64Array,
  { knots, slopes, offset }: CurveValues,
  dout: Float64Array,
): Float64Array {
  const width = offset.length
  return x.map((value, i) => slopes[pieceOf(value, i % width, knots, width) * width + (i % width)] * dout[i])
}
