// L-BFGS for smooth convex functions whose value arrives as a Promise.

import { SeqriskError, sentence } from '../../util/errors.js'
import { dot as partDot } from './products.js'

/** Loss and gradient at some weights; the gradient belongs to the caller afterwards. */
export type Objective = (weights: Float64Array) => Promise<{ loss: number; gradient: Float64Array }>

export interface MinimiseOptions {
  /** Stop when no component of the gradient exceeds this. Default 1e-5. */
  readonly tolerance?: number
  /** Stop when a step lowers the loss by less than this share of it, twice in a row. Default 1e-8. */
  readonly leastDecrease?: number
  /** Overwrites a gradient with an approximate inverse Hessian times it. Default: nothing. */
  readonly precondition?: (gradient: Float64Array) => void
  /** Default 500. */
  readonly maxIterations?: number
  readonly signal?: AbortSignal
}

export interface Minimum {
  readonly weights: Float64Array
  readonly loss: number
  /** Largest component of the gradient. */
  readonly slope: number
  readonly iterations: number
  readonly evaluations: number
}

const history = 5
/** Weak Wolfe conditions: sufficient decrease and curvature. */
const decrease = 1e-4
const curvature = 0.9
/** Differences of the loss below this share of it are rounding (float32 sums); then the slopes decide. */
const noise = 1e-7

/**
 * Minimises `objective` from `start` on.
 * @throws {SeqriskError} code `NON_FINITE` when the loss at the start is not finite
 * Sources: Liu & Nocedal 1989 (two-loop recursion); Hager & Zhang 2005 (approximate Wolfe conditions near the minimum).
 */
export async function minimise(
  objective: Objective,
  start: Float64Array,
  options: MinimiseOptions = {},
): Promise<Minimum> {
  const { tolerance = 1e-5, leastDecrease = 1e-8, maxIterations = 500, precondition, signal } = options
  const pairs: Pair[] = []
  let weights = start
  const preconditioned = (values: Float64Array) => {
    const copy = Float64Array.from(values)
    precondition?.(copy)
    return copy
  }
  let { loss, gradient } = await objective(weights)
  if (!Number.isFinite(loss)) {
    throw new SeqriskError('NON_FINITE', sentence('minimise', 'a finite loss at the start', loss, 'check the inputs'))
  }
  let evaluations = 1
  let iterations = 0
  let smallSteps = 0
  // H₀ is linear: one product with it for each gradient gives those with all differences of gradients.
  let natural = preconditioned(gradient)
  while (iterations < maxIterations && largest(gradient) > tolerance && smallSteps < 2) {
    signal?.throwIfAborted()
    const direction = newDirection(gradient, natural, pairs)
    let slope = dot(direction, gradient)
    if (!(slope < 0)) {
      // The history lies (rounding): start again from steepest descent.
      pairs.length = 0
      direction.set(newDirection(gradient, natural, pairs))
      slope = dot(direction, gradient)
    }
    const first = pairs.length > 0 || precondition ? 1 : Math.min(1, 1 / Math.sqrt(-slope))
    const step = await lineSearch(objective, weights, direction, loss, slope, first)
    evaluations += step.evaluations
    if (!step.found) {
      if (pairs.length === 0) break
      pairs.length = 0
      continue
    }
    iterations++
    const s = subtract(step.weights, weights)
    const y = subtract(step.gradient, gradient)
    const next = preconditioned(step.gradient)
    const sy = dot(s, y)
    if (sy > 1e-12 * dot(y, y)) {
      const hy = subtract(next, natural)
      pairs.push({ s, y, hy, rho: 1 / sy, scale: sy / dot(y, hy) })
      if (pairs.length > history) pairs.shift()
    }
    smallSteps = loss - step.loss <= leastDecrease * Math.abs(step.loss) ? smallSteps + 1 : 0
    weights = step.weights
    loss = step.loss
    gradient = step.gradient
    natural = next
  }
  return { weights, loss, slope: largest(gradient), iterations, evaluations }
}

/** A step, the change of the gradient over it, H₀ times that, 1/(s·y), and s·y/(y·H₀y). */
interface Pair {
  readonly s: Float64Array
  readonly y: Float64Array
  readonly hy: Float64Array
  readonly rho: number
  readonly scale: number
}

/** −H·gradient by the two-loop recursion; `natural` is H₀·gradient. */
function newDirection(gradient: Float64Array, natural: Float64Array, pairs: readonly Pair[]): Float64Array {
  const q = Float64Array.from(gradient)
  const r = Float64Array.from(natural)
  const alphas = new Float64Array(pairs.length)
  for (let k = pairs.length - 1; k >= 0; k--) {
    const { s, y, hy, rho } = pairs[k]
    alphas[k] = rho * dot(s, q)
    addScaled(q, y, -alphas[k])
    addScaled(r, hy, -alphas[k])
  }
  const scale = pairs.at(-1)?.scale ?? 1
  for (let i = 0; i < r.length; i++) r[i] *= scale
  for (let k = 0; k < pairs.length; k++) {
    const { s, y, rho } = pairs[k]
    addScaled(r, s, alphas[k] - rho * dot(y, r))
  }
  for (let i = 0; i < r.length; i++) r[i] = -r[i]
  return r
}

/** Brackets a step with weak Wolfe conditions: doubles until one end is too far, then interpolates between the ends. */
async function lineSearch(
  objective: Objective,
  from: Float64Array,
  direction: Float64Array,
  loss0: number,
  slope0: number,
  first: number,
) {
  let low = 0
  let lowLoss = loss0
  let lowSlope = slope0
  let high = Number.POSITIVE_INFINITY
  let t = first
  let evaluations = 0
  let weights = from
  let gradient = from
  let loss = loss0
  while (evaluations < 30) {
    weights = Float64Array.from(from)
    addScaled(weights, direction, t)
    const at = await objective(weights)
    gradient = at.gradient
    loss = at.loss
    evaluations++
    const slope = dot(direction, gradient)
    const isLower = loss <= loss0 + decrease * t * slope0
    const isFlat = loss <= loss0 + noise * Math.abs(loss0) && slope <= (2 * decrease - 1) * slope0
    if (!(isLower || isFlat)) {
      high = t
      // The parabola through the low end's value and slope and the high end's value, kept off both ends.
      const width = high - low
      const bend = loss - lowLoss - lowSlope * width
      const vertex = bend > 0 ? (-lowSlope * width * width) / (2 * bend) : Number.NaN
      t = low + (vertex > 0.1 * width && vertex < 0.9 * width ? vertex : width / 2)
    } else if (slope < curvature * slope0) {
      low = t
      lowLoss = loss
      lowSlope = slope
      t = high === Number.POSITIVE_INFINITY ? 2 * t : (low + high) / 2
    } else {
      return { found: true, weights, gradient, loss, evaluations }
    }
  }
  return { found: false, weights, gradient, loss, evaluations }
}

function dot(a: Float64Array, b: Float64Array): number {
  return partDot(a, 0, b, 0, a.length)
}

function addScaled(to: Float64Array, from: Float64Array, scale: number): void {
  for (let i = 0; i < to.length; i++) to[i] += scale * from[i]
}

function subtract(a: Float64Array, b: Float64Array): Float64Array {
  const out = new Float64Array(a.length)
  for (let i = 0; i < out.length; i++) out[i] = a[i] - b[i]
  return out
}

function largest(values: Float64Array): number {
  let most = 0
  for (let i = 0; i < values.length; i++) most = Math.max(most, Math.abs(values[i]))
  return most
}
