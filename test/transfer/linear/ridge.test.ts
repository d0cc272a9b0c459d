import { describe, expect, it } from 'vitest'
import { fitRidge } from '../../../lib/transfer/linear/ridge.js'
import { openDevice } from '../../support/devices.js'
import { TestRandom } from '../../support/random.js'

const device = openDevice()

/** Rows of `width` numbers whose first ones add up to the target, with noise; the last column is constant. */
function problem(rows: number, width: number, noise: number) {
  const random = new TestRandom(rows)
  const vectors = Float32Array.from({ length: rows * width }, (_, i) => (i % width === width - 1 ? 3 : random.normal()))
  const targets = Float64Array.from({ length: rows }, (_, r) => {
    return 5 + 2 * vectors[r * width] - vectors[r * width + 1] + noise * random.normal()
  })
  return { vectors, targets }
}

function parts(rows: number): Int32Array[] {
  return Array.from({ length: 5 }, (_, p) => Int32Array.from({ length: rows / 5 }, (_, i) => 5 * i + p))
}

/** Gradient of the penalised squares in every weight, in standardised columns: 0 at the minimum. */
function gradient(vectors: Float32Array, targets: Float64Array, fit: Awaited<ReturnType<typeof fitRidge>>) {
  const rows = targets.length
  const width = fit.weight.length
  const residuals = targets.map((target, r) => {
    let value = fit.bias
    for (let c = 0; c < width; c++) value += fit.weight[c] * vectors[r * width + c]
    return value - target
  })
  const slopes = Array.from({ length: width }, (_, c) => {
    let [mean, square, slope] = [0, 0, 0]
    for (let r = 0; r < rows; r++) mean += vectors[r * width + c] / rows
    for (let r = 0; r < rows; r++) square += (vectors[r * width + c] - mean) ** 2 / rows
    for (let r = 0; r < rows; r++) slope += (vectors[r * width + c] - mean) * residuals[r]
    // A weight w of a column is w·sd of the standardised one.
    return slope + fit.strength * fit.weight[c] * square
  })
  return [...slopes, residuals.reduce((sum, value) => sum + value, 0)]
}

describe('ridge regression', () => {
  it('stands at the minimum, with the intercept free and constant columns unused', async () => {
    const { vectors, targets } = problem(1200, 7, 0.5)
    const fit = await fitRidge(device, vectors, 7, targets, parts(1200))
    expect(fit.weight[6]).toBe(0)
    // Sums of 1200 products near 1 in float32: 1200 · 2⁻²⁴ each, times the size of a weight.
    for (const slope of gradient(vectors, targets, fit)) expect(Math.abs(slope)).toBeLessThan(1e-2)
    expect(fit.weight[0]).toBeCloseTo(2, 1)
    expect(fit.weight[1]).toBeCloseTo(-1, 1)
  })

  it('chooses a weak penalty where there is a signal, and a strong one where there is noise', async () => {
    const clear = problem(200, 20, 0.1)
    expect((await fitRidge(device, clear.vectors, 20, clear.targets, parts(200))).strength).toBe(2)
    const noise = problem(200, 20, 300)
    expect((await fitRidge(device, noise.vectors, 20, noise.targets, parts(200))).strength).toBeGreaterThan(200)
  })

  it('has the strength of the width where nothing can be validated, and fits fewer rows than columns', async () => {
    const { vectors, targets } = problem(5, 20, 0.1)
    const fit = await fitRidge(device, vectors, 20, targets, [])
    expect(fit.strength).toBe(20)
    expect(fit.weight.every(Number.isFinite)).toBe(true)
  })
})
