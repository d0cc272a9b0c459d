// Float64 reference of gru: plain loops, as close to the formula as code can be.

export interface GruProblem {
  readonly x: Float64Array
  readonly weight: Float64Array
  readonly bias: Float64Array
  readonly offsets: ArrayLike<number>
  readonly width: number
}

interface Step {
  readonly r: Float64Array
  readonly z: Float64Array
  readonly n: Float64Array
  /** weight · h[t − 1] + bias */
  readonly u: Float64Array
  readonly previous: Float64Array
}

export function gruForward(p: GruProblem): Float64Array {
  return run(p).out
}

export function gruBackward(p: GruProblem, dout: Float64Array) {
  const { width, weight } = p
  const { steps } = run(p)
  const dx = new Float64Array(p.x.length)
  const dweight = new Float64Array(weight.length)
  const dbias = new Float64Array(p.bias.length)
  for (let s = 0; s + 1 < p.offsets.length; s++) {
    let later = new Float64Array(width)
    for (let t = p.offsets[s + 1] - 1; t >= p.offsets[s]; t--) {
      const { r, z, n, u, previous } = steps[t]
      const du = new Float64Array(3 * width)
      const dprevious = new Float64Array(width)
      for (let i = 0; i < width; i++) {
        const g = dout[t * width + i] + later[i]
        const dn = g * (1 - z[i]) * (1 - n[i] ** 2)
        const dz = g * (previous[i] - n[i]) * z[i] * (1 - z[i])
        const dr = dn * u[2 * width + i] * r[i] * (1 - r[i])
        dx[t * 3 * width + i] = du[i] = dr
        dx[t * 3 * width + width + i] = du[width + i] = dz
        dx[t * 3 * width + 2 * width + i] = dn
        du[2 * width + i] = dn * r[i]
        dprevious[i] = g * z[i]
      }
      for (let j = 0; j < 3 * width; j++) {
        dbias[j] += du[j]
        for (let i = 0; i < width; i++) {
          dweight[j * width + i] += du[j] * previous[i]
          dprevious[i] += du[j] * weight[j * width + i]
        }
      }
      later = dprevious
    }
  }
  return { dx, dweight, dbias }
}

function run({ x, weight, bias, offsets, width }: GruProblem): { out: Float64Array; steps: Step[] } {
  const out = new Float64Array(x.length / 3)
  const steps: Step[] = []
  const sigmoid = (value: number) => 1 / (1 + Math.exp(-value))
  for (let s = 0; s + 1 < offsets.length; s++) {
    let previous = new Float64Array(width)
    for (let t = offsets[s]; t < offsets[s + 1]; t++) {
      const u = new Float64Array(3 * width)
      for (let j = 0; j < 3 * width; j++) {
        u[j] = bias[j]
        for (let i = 0; i < width; i++) u[j] += weight[j * width + i] * previous[i]
      }
      const own = (gate: number, i: number) => x[t * 3 * width + gate * width + i]
      const r = Float64Array.from({ length: width }, (_, i) => sigmoid(own(0, i) + u[i]))
      const z = Float64Array.from({ length: width }, (_, i) => sigmoid(own(1, i) + u[width + i]))
      const n = Float64Array.from({ length: width }, (_, i) => Math.tanh(own(2, i) + r[i] * u[2 * width + i]))
      const h = Float64Array.from({ length: width }, (_, i) => (1 - z[i]) * n[i] + z[i] * previous[i])
      out.set(h, t * width)
      steps.push({ r, z, n, u, previous })
      previous = h
    }
  }
  return { out, steps }
}
