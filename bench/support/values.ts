// Values for benches.

import { TestRandom } from '../../test/support/random.js'

/** Normal values; a period of 65 537 keeps making them cheap and never lines up with rows. */
export function normals(count: number, scale = 1): Float32Array {
  const period = Float32Array.from(new TestRandom(5).normals(Math.min(count, 65_537), scale))
  return Float32Array.from({ length: count }, (_, i) => period[i % period.length])
}
