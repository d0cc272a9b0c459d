// Comparators that cannot go blind: NaN fails, an empty or short array fails, and every element counts.

export interface Tolerance {
  /** Largest allowed |got − want| where want is 0. */
  readonly absolute: number
  /** Allowed error as a share of the largest |want| in the array. */
  readonly relative?: number
}

type Numbers = ArrayLike<number>

/** Throws unless `got` has the length of `want`, at least one element, and every element is within the tolerance. */
export function expectClose(got: Numbers, want: Numbers, tolerance: Tolerance, what = 'values'): void {
  if (want.length === 0) throw new Error(`${what}: nothing to compare`)
  if (got.length !== want.length) throw new Error(`${what}: ${got.length} values instead of ${want.length}`)
  let scale = 0
  for (let i = 0; i < want.length; i++) scale = Math.max(scale, Number.isFinite(want[i]) ? Math.abs(want[i]) : 0)
  const allowed = tolerance.absolute + (tolerance.relative ?? 0) * scale
  for (let i = 0; i < want.length; i++) {
    // Infinities that belong to the result are compared as they are.
    if (!Number.isFinite(want[i]) && Object.is(got[i], want[i]) && !Number.isNaN(want[i])) continue
    if (!(Math.abs(got[i] - want[i]) <= allowed)) {
      throw new Error(`${what}: got ${got[i]} instead of ${want[i]} at index ${i} (allowed ${allowed})`)
    }
  }
}

/** Throws unless both arrays have the same length, at least one element, and the same bits. */
export function expectSameBits(got: Float32Array | Int32Array, want: Float32Array | Int32Array, what = 'values'): void {
  if (want.length === 0) throw new Error(`${what}: nothing to compare`)
  if (got.length !== want.length) throw new Error(`${what}: ${got.length} values instead of ${want.length}`)
  const a = new Uint32Array(got.buffer, got.byteOffset, got.length)
  const b = new Uint32Array(want.buffer, want.byteOffset, want.length)
  for (let i = 0; i < a.length; i++) {
    if (a[i] !== b[i]) throw new Error(`${what}: got ${got[i]} instead of ${want[i]} at index ${i}`)
  }
}
