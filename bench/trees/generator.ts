// Rows with latent factors, noise and interactions: features move together, and no single one tells the label.

import { Philox } from '../../lib/util/philox.js'

export interface Generated {
  readonly columns: Float32Array[]
  /** 0 or 1, about a third of them 1. */
  readonly labels: Float32Array
}

const FACTORS = 6

/** Cheap normals: the sum of four uniforms, of variance 1. */
function noise(random: Philox): number {
  const word = random.uint32()
  const sum = (word & 0xff) + ((word >>> 8) & 0xff) + ((word >>> 16) & 0xff) + (word >>> 24)
  return (sum - 510) / 147.8
}

export function generate(rows: number, features: number, seed = 1): Generated {
  const random = new Philox(seed)
  const loadings = Array.from({ length: features }, () => Array.from({ length: FACTORS }, () => random.normal() * 0.6))
  const columns = Array.from({ length: features }, () => new Float32Array(rows))
  const labels = new Float32Array(rows)
  const z = new Float64Array(FACTORS)
  for (let r = 0; r < rows; r++) {
    for (let k = 0; k < FACTORS; k++) z[k] = noise(random)
    for (let f = 0; f < features; f++) {
      let value = noise(random) + random.uint32() / 0x100000000
      for (let k = 0; k < FACTORS; k++) value += loadings[f][k] * z[k]
      columns[f][r] = value
    }
    const score = z[0] * z[1] + Math.sin(2 * z[2]) + 0.6 * z[3] - 0.5 * Math.abs(z[4]) + 1.2 * noise(random)
    labels[r] = score > 0.5 ? 1 : 0
  }
  return { columns, labels }
}
