// Float64 reference of gated_dwconv: plain loops, as close to the formula as code can be.

export interface GatedDwconvProblem {
  readonly x: Float64Array
  readonly weight: Float64Array
  readonly bias: Float64Array
  readonly gateWeight: Float64Array
  readonly gateBias: Float64Array
  readonly offsets: ArrayLike<number>
  readonly channels: number
  readonly dilation: number
  readonly causal: boolean
}

export function gatedDwconvForward(p: GatedDwconvProblem): Float64Array {
  const out = new Float64Array(p.x.length)
  forEachElement(p, (i, value, gate) => {
    out[i] = value / (1 + Math.exp(-gate))
  })
  return out
}

export function gatedDwconvBackward(p: GatedDwconvProblem, dout: Float64Array) {
  const dx = new Float64Array(p.x.length)
  const dweight = new Float64Array(p.weight.length)
  const dbias = new Float64Array(p.bias.length)
  const dgateWeight = new Float64Array(p.gateWeight.length)
  const dgateBias = new Float64Array(p.gateBias.length)
  forEachElement(p, (i, value, gate, taps) => {
    const sigma = 1 / (1 + Math.exp(-gate))
    const dvalue = dout[i] * sigma
    const dgate = dout[i] * value * sigma * (1 - sigma)
    const c = i % p.channels
    dbias[c] += dvalue
    dgateBias[c] += dgate
    for (const [w, from] of taps) {
      dweight[w] += dvalue * p.x[from]
      dgateWeight[w] += dgate * p.x[from]
      dx[from] += dvalue * p.weight[w] + dgate * p.gateWeight[w]
    }
  })
  return { dx, dweight, dbias, dgateWeight, dgateBias }
}

/** Calls f(element of out, both sums, [element of weight, element of x] of every tap inside the sequence). */
function forEachElement(
  p: GatedDwconvProblem,
  f: (i: number, value: number, gate: number, taps: [number, number][]) => void,
): void {
  const width = p.weight.length / p.channels
  const origin = p.causal ? width - 1 : (width - 1) / 2
  for (let s = 0; s + 1 < p.offsets.length; s++) {
    for (let t = p.offsets[s]; t < p.offsets[s + 1]; t++) {
      for (let c = 0; c < p.channels; c++) {
        const taps: [number, number][] = []
        let value = p.bias[c]
        let gate = p.gateBias[c]
        for (let k = 0; k < width; k++) {
          const from = t + p.dilation * (k - origin)
          if (from < p.offsets[s] || from >= p.offsets[s + 1]) continue
          value += p.weight[k * p.channels + c] * p.x[from * p.channels + c]
          gate += p.gateWeight[k * p.channels + c] * p.x[from * p.channels + c]
          taps.push([k * p.channels + c, from * p.channels + c])
        }
        f(t * p.channels + c, value, gate, taps)
      }
    }
  }
}
