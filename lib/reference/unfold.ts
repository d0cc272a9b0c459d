// Float64 reference of unfold.

interface Window {
  readonly offsets: ArrayLike<number>
  readonly channels: number
  readonly width: number
  readonly dilation: number
  readonly causal: boolean
}

/** Calls f(t, k, from) for every event t and tap k whose event `from` lies in the same sequence. */
function overTaps(w: Window, f: (t: number, k: number, from: number) => void): void {
  const origin = w.causal ? w.width - 1 : Math.floor(w.width / 2)
  for (let s = 0; s + 1 < w.offsets.length; s++) {
    for (let t = w.offsets[s]; t < w.offsets[s + 1]; t++) {
      for (let k = 0; k < w.width; k++) {
        const from = t + w.dilation * (k - origin)
        if (from >= w.offsets[s] && from < w.offsets[s + 1]) f(t, k, from)
      }
    }
  }
}

export function unfoldForward(x: Float64Array, w: Window): Float64Array {
  const out = new Float64Array(x.length * w.width)
  overTaps(w, (t, k, from) => {
    for (let c = 0; c < w.channels; c++) out[(t * w.width + k) * w.channels + c] = x[from * w.channels + c]
  })
  return out
}

export function unfoldBackward(dout: Float64Array, w: Window): Float64Array {
  const dx = new Float64Array(dout.length / w.width)
  overTaps(w, (t, k, from) => {
    for (let c = 0; c < w.channels; c++) dx[from * w.channels + c] += dout[(t * w.width + k) * w.channels + c]
  })
  return dx
}
