// Curves for the heavy-tailed columns of vectors, as the probe bends them: a linear head would see little but the few values far out.

import { expectFinite, type NamedArrays } from '../../encoder/parameters.js'
import { SeqriskError } from '../../util/errors.js'
import type { Steps } from '../../util/pace.js'
import { heavyTailed } from '../linear/scaling.js'

/** Of each column. In steps of normal scores, so that tails have as many as the middle: from 1000 rows every 0.2. */
const KNOTS = 33
/** Deviations between knots at least: what comes back through a piece is steep times what went in, and pieces are to stay tame. */
const LEAST_GAP = 1e-3
/** Deviations within which neighbours count as one value: sums of the same terms in another order differ by 1e-7. */
const TIE = 1e-5

/** Curves of all columns, for `piecewiseLinear`; a column without a bend stays as it is. */
export interface BendValues {
  /** (knots, width) */
  readonly knots: Float32Array
  /** (knots + 1, width) */
  readonly slopes: Float32Array
  /** (width) */
  readonly offset: Float32Array
}

/**
 * Heavy-tailed columns of vectors (rows, width) get the normal scores of their ranks, times their deviation: they keep about the
 * size that they had. Beyond the values that were seen a curve is flat, as the probe's: no event can push a score to any length.
 * @returns null where no column is heavy-tailed
 */
export function* bendSteps(vectors: Float32Array, width: number): Steps<BendValues | null> {
  const rows = vectors.length / width
  const knots = new Float32Array(KNOTS * width)
  const slopes = new Float32Array((KNOTS + 1) * width).fill(1)
  const offset = new Float32Array(width)
  const values = new Float64Array(rows)
  let isBent = false
  for (let c = 0; c < width; c++) {
    for (let row = 0; row < rows; row++) values[row] = vectors[row * width + c]
    const curve = heavyTailed(values, TIE)
    yield
    if (!curve) continue
    isBent = true
    const { mean, deviation, scores } = curve
    const chosen = chooseKnots(curve.knots, scores, LEAST_GAP * deviation)
    for (let k = 0; k < KNOTS; k++) {
      // Pieces that are not needed have no length, at the last knot.
      const [at, before] = [k, k - 1].map(i => chosen[Math.min(Math.max(i, 0), chosen.length - 1)])
      const run = curve.knots[at] - curve.knots[before]
      knots[k * width + c] = curve.knots[at]
      slopes[k * width + c] = run > 0 ? (deviation * (scores[at] - scores[before])) / run : 0
    }
    slopes[KNOTS * width + c] = 0
    offset[c] = mean + deviation * scores[0]
  }
  return isBent ? { knots, slopes, offset } : null
}

/** Some of the knots, by number: the first, the last, and between them scores a step apart, none nearer to another than `gap`. */
function chooseKnots(knots: readonly number[], scores: readonly number[], gap: number): number[] {
  const last = knots.length - 1
  const step = (scores[last] - scores[0]) / (KNOTS - 1)
  const chosen = [0]
  for (let i = 1; i < last; i++) {
    const before = chosen[chosen.length - 1]
    const isDue = scores[i] >= scores[before] + step && chosen.length < KNOTS - 1
    if (isDue && knots[i] - knots[before] >= gap && knots[last] - knots[i] >= gap) chosen.push(i)
  }
  chosen.push(last)
  return chosen
}

/** The curves among stored tensors, null where there are none. @throws {SeqriskError} code `MODEL_INVALID` where they cannot be */
export function storedBends(stored: NamedArrays, width: number): BendValues | null {
  if (!stored.has('head.knots')) return null
  const rows = stored.get('head.knots')!.values.length / width
  const read = (name: string, size: number): Float32Array => {
    const found = stored.get(name)
    if (found?.values.length !== size || !(Number.isInteger(rows) && rows > 0)) {
      const received = found ? `${found.values.length} numbers` : 'none'
      const text = `[model] expected '${name}' of ${size} numbers but received ${received}; save the model again`
      throw new SeqriskError('MODEL_INVALID', text)
    }
    expectFinite('model', name, found.values)
    return found.values
  }
  const knots = read('head.knots', rows * width)
  return { knots, slopes: read('head.slopes', (rows + 1) * width), offset: read('head.offset', width) }
}
