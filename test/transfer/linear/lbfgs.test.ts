import { expect, test } from 'vitest'
import { Cholesky } from '../../../lib/transfer/linear/cholesky.js'
import { minimise, type Objective } from '../../../lib/transfer/linear/lbfgs.js'
import { Pace } from '../../../lib/util/pace.js'
import { expectClose } from '../../support/close.js'
import { TestRandom } from '../../support/random.js'

/** A = B·Bᵀ/n + 0.01: condition number of some thousands. */
function positiveDefinite(size: number): Float64Array {
  const random = new TestRandom(size)
  const b = random.normals(size * size)
  return Float64Array.from({ length: size * size }, (_, k) => {
    const i = Math.floor(k / size)
    const j = k % size
    let sum = i === j ? 0.01 : 0
    for (let r = 0; r < size; r++) sum += (b[i * size + r] * b[j * size + r]) / size
    return sum
  })
}

/** ½ wᵀAw − bᵀw, whose minimum solves A·w = b. */
function quadratic(a: Float64Array, b: Float64Array): Objective {
  return async weights => {
    const gradient = b.map((value, i) => weights.reduce((sum, w, j) => sum + a[i * b.length + j] * w, -value))
    const loss = weights.reduce((sum, w, i) => sum + 0.5 * w * (gradient[i] - b[i]), 0)
    return { loss, gradient }
  }
}

const pace = new Pace()
const size = 30
const a = positiveDefinite(size)
const b = new TestRandom(1).normals(size)

test('Cholesky solves, and adds to the ridge only where rounding made the matrix indefinite', async () => {
  const factor = await Cholesky.of(a, size, 0.5, pace)
  expect(factor.ridge).toBe(0.5)
  const x = Float64Array.of(7, ...b)
  factor.solve(x, 1)
  expect(x[0]).toBe(7)
  const product = b.map((_, i) => b.reduce((sum, _, j) => sum + a[i * size + j] * x[1 + j], 0.5 * x[1 + i]))
  expectClose(product, b, { absolute: 1e-12 })
  const indefinite = Float64Array.of(1, 0, 1 + 1e-6, 1)
  expect((await Cholesky.of(indefinite, 2, 1e-9, pace)).ridge).toBeGreaterThan(1e-7)
  for (const value of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]) {
    const broken = Cholesky.of(Float64Array.of(1, 0, value, 1), 2, 1e-9, pace)
    await expect(broken).rejects.toMatchObject({ code: 'NON_FINITE' })
  }
})

test('finds the minimum of a quadratic, faster with a good preconditioner', async () => {
  const plain = await minimise(quadratic(a, b), new Float64Array(size), { tolerance: 1e-6, leastDecrease: 0 })
  const want = Float64Array.from(b)
  const exact = await Cholesky.of(a, size, 1e-15, pace)
  exact.solve(want, 0)
  expect(plain.slope).toBeLessThan(1e-6)
  // The error is at most the slope over the least eigenvalue, 0.01.
  expectClose(plain.weights, want, { absolute: 1e-4 })
  const factor = await Cholesky.of(a, size, 1e-3, pace)
  const helped = await minimise(quadratic(a, b), new Float64Array(size), {
    tolerance: 1e-6,
    leastDecrease: 0,
    precondition: gradient => factor.solve(gradient, 0),
  })
  expectClose(helped.weights, want, { absolute: 1e-4 })
  expect(helped.evaluations).toBeLessThan(plain.evaluations / 2)
})

test('a steep first step is shortened, a flat one is lengthened', async () => {
  for (const scale of [1e-6, 1e6]) {
    const objective: Objective = async ([w]) => ({
      loss: scale * Math.cosh(w - 3),
      gradient: Float64Array.of(scale * Math.sinh(w - 3)),
    })
    const found = await minimise(objective, Float64Array.of(-5), { tolerance: 1e-9 * scale })
    expect(Math.abs(found.weights[0] - 3)).toBeLessThan(1e-6)
    expect(found.iterations).toBeLessThan(40)
  }
})

test('ends at a minimum at once, after the last iteration, and where rounding hides the rest', async () => {
  const flat: Objective = async weights => ({ loss: 1, gradient: new Float64Array(weights.length) })
  expect((await minimise(flat, new Float64Array(3))).evaluations).toBe(1)
  const two = await minimise(quadratic(a, b), new Float64Array(size), { maxIterations: 2, tolerance: 0 })
  expect(two.iterations).toBe(2)
  const rounded: Objective = async weights => {
    const exact = await quadratic(a, b)(weights)
    return { loss: Math.fround(exact.loss), gradient: exact.gradient.map(Math.fround) }
  }
  const found = await minimise(rounded, new Float64Array(size), { tolerance: 0 })
  expect(found.slope).toBeLessThan(1e-2)
})

test('a loss that is not finite, or an abort, ends it', async () => {
  const broken: Objective = async weights => ({ loss: Number.NaN, gradient: weights })
  await expect(minimise(broken, Float64Array.of(1))).rejects.toMatchObject({ code: 'NON_FINITE' })
  const signal = AbortSignal.abort(new Error('enough'))
  await expect(minimise(quadratic(a, b), new Float64Array(size), { signal })).rejects.toThrow('enough')
})
