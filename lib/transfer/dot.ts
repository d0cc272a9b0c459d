// Σ a·b over parts of two arrays.

/** Four sums side by side: one would wait for its own last addition. */
export function dot(a: Float64Array, at: number, b: Float64Array, bt: number, n: number): number {
  let s0 = 0
  let s1 = 0
  let s2 = 0
  let s3 = 0
  let k = 0
  for (; k + 3 < n; k += 4) {
    s0 += a[at + k] * b[bt + k]
    s1 += a[at + k + 1] * b[bt + k + 1]
    s2 += a[at + k + 2] * b[bt + k + 2]
    s3 += a[at + k + 3] * b[bt + k + 3]
  }
  for (; k < n; k++) s0 += a[at + k] * b[bt + k]
  return s0 + s1 + (s2 + s3)
}
