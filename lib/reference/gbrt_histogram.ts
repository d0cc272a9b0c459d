// Reference of gbrt_histogram in integers without bound.

/**
 * Σ g and Σ h by feature and bin.
 * @param bins  (rows, features)
 * @param g     (rows)
 * @param h     (rows)
 * @param rows  of the node
 * @returns     (features, 2, cells)
 */
export function gbrtHistogram(
  bins: Uint8Array,
  features: number,
  g: BigInt64Array,
  h: BigInt64Array,
  rows: Iterable<number>,
  cells: number,
): BigInt64Array {
  const out = new BigInt64Array(features * 2 * cells)
  for (const row of rows) {
    for (let f = 0; f < features; f++) {
      const bin = bins[row * features + f]
      out[f * 2 * cells + bin] += g[row]
      out[f * 2 * cells + cells + bin] += h[row]
    }
  }
  return out
}
