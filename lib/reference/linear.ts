// Float64 reference of linear: plain loops, as close to the formula as code can be.

export type Activation = 'none' | 'relu' | 'gelu'

export interface LinearSizes {
  readonly rows: number
  readonly inFeatures: number
  readonly outFeatures: number
}

export function linearForward(
  x: Float64Array,
  weight: Float64Array,
  bias: Float64Array | null,
  residual: Float64Array | null,
  { rows, inFeatures, outFeatures }: LinearSizes,
  activation: Activation,
): Float64Array {
  const out = new Float64Array(rows * outFeatures)
  for (let r = 0; r < rows; r++) {
    for (let o = 0; o < outFeatures; o++) {
      let sum = bias ? bias[o] : 0
      for (let i = 0; i < inFeatures; i++) sum += x[r * inFeatures + i] * weight[o * inFeatures + i]
      out[r * outFeatures + o] = value(activation, sum) + (residual ? residual[r * outFeatures + o] : 0)
    }
  }
  return out
}

export function linearBackward(
  x: Float64Array,
  weight: Float64Array,
  bias: Float64Array | null,
  dout: Float64Array,
  sizes: LinearSizes,
  activation: Activation,
): { dx: Float64Array; dweight: Float64Array; dbias: Float64Array; dresidual: Float64Array } {
  const { rows, inFeatures, outFeatures } = sizes
  const sums = linearForward(x, weight, bias, null, sizes, 'none')
  const dx = new Float64Array(rows * inFeatures)
  const dweight = new Float64Array(outFeatures * inFeatures)
  const dbias = new Float64Array(outFeatures)
  for (let r = 0; r < rows; r++) {
    for (let o = 0; o < outFeatures; o++) {
      const g = dout[r * outFeatures + o] * slope(activation, sums[r * outFeatures + o])
      dbias[o] += g
      for (let i = 0; i < inFeatures; i++) {
        dx[r * inFeatures + i] += g * weight[o * inFeatures + i]
        dweight[o * inFeatures + i] += g * x[r * inFeatures + i]
      }
    }
  }
  return { dx, dweight, dbias, dresidual: dout.slice() }
}

function value(activation: Activation, x: number): number {
  if (activation === 'relu') return Math.max(x, 0)
  if (activation === 'gelu') return x * normalCdf(x)
  return x
}

function slope(activation: Activation, x: number): number {
  if (activation === 'relu') return x > 0 ? 1 : 0
  if (activation === 'gelu') return normalCdf(x) + (x * Math.exp((-x * x) / 2)) / Math.sqrt(2 * Math.PI)
  return 1
}

/** Φ(x), by its series near 0 and by the continued fraction of Mills' ratio beyond (Abramowitz & Stegun 26.2.10, .14). */
function normalCdf(x: number): number {
  const density = Math.exp((-x * x) / 2) / Math.sqrt(2 * Math.PI)
  if (Math.abs(x) < 3) {
    let term = x
    let sum = x
    for (let n = 3; Math.abs(term) > 1e-17 * Math.abs(sum); n += 2) {
      term *= (x * x) / n
      sum += term
    }
    return 0.5 + density * sum
  }
  let fraction = 0
  for (let n = 120; n >= 1; n--) fraction = n / (Math.abs(x) + fraction)
  const tail = density / (Math.abs(x) + fraction)
  return x < 0 ? tail : 1 - tail
}
