import { describe, expect, it } from 'vitest'
import { DesignMatrix } from '../../../lib/transfer/linear/design.js'
import { TridiagonalSolver, tridiagonalise } from '../../../lib/transfer/linear/tridiagonal.js'
import { TridiagonalBasis } from '../../../lib/transfer/linear/tridiagonal_basis.js'
import { Pace } from '../../../lib/util/pace.js'
import { Philox } from '../../../lib/util/philox.js'
import { openDevice } from '../../support/devices.js'

const device = openDevice()
const random = new Philox(3, 0)
const normal = () => random.normal()

/** X·Xᵀ of (size, rank) normal numbers. */
function gramOf(size: number, rank: number): Float64Array {
  const x = Float64Array.from({ length: size * rank }, normal)
  const gram = new Float64Array(size * size)
  for (let i = 0; i < size; i++) {
    for (let j = 0; j < size; j++)
      for (let r = 0; r < rank; r++) gram[i * size + j] += x[i * rank + r] * x[j * rank + r]
  }
  return gram
}

/** Q·T·Qᵀ and Qᵀ·Q */
function products(basis: Float64Array, diagonal: Float64Array, beside: Float64Array) {
  const size = diagonal.length
  const whole = new Float64Array(size * size)
  const unit = new Float64Array(size * size)
  const t = (a: number, b: number) => (a === b ? diagonal[a] : Math.abs(a - b) === 1 ? beside[Math.min(a, b)] : 0)
  for (let i = 0; i < size; i++) {
    for (let j = 0; j < size; j++) {
      for (let a = 0; a < size; a++) {
        unit[i * size + j] += basis[i * size + a] * basis[j * size + a]
        for (let b = Math.max(0, a - 1); b < Math.min(size, a + 2); b++) {
          whole[i * size + j] += basis[a * size + i] * t(a, b) * basis[b * size + j]
        }
      }
    }
  }
  return { whole, unit }
}

describe('tridiagonalise', () => {
  it.each([
    [1, 1],
    [2, 2],
    [3, 1],
    [17, 17],
    [40, 7],
  ])('gives back %i rows of rank %i, with an orthonormal basis', async (size, rank) => {
    const gram = gramOf(size, rank)
    const { basis, diagonal, beside } = await tridiagonalise(gram.slice(), size, new Pace())
    const { whole, unit } = products(basis, diagonal, beside)
    // Backward stable: a few roundings for each of `size` reflections, of numbers as large as the trace.
    const off = size * 2 ** -50
    const trace = diagonal.reduce((sum, value) => sum + value, 0)
    for (let i = 0; i < gram.length; i++) {
      expect(Math.abs(whole[i] - gram[i])).toBeLessThan(off * trace)
      expect(Math.abs(unit[i] - Number(i % (size + 1) === 0))).toBeLessThan(off)
    }
  })

  it('leaves diagonal and tridiagonal matrices as they are', async () => {
    const given = Float64Array.of(2, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 1, 0, 0, 1, 4)
    const { basis, diagonal, beside } = await tridiagonalise(given, 4, new Pace())
    expect([...diagonal]).toEqual([2, 5, 0, 4])
    expect([...beside]).toEqual([0, 0, 1])
    expect([...basis]).toEqual([1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1])
  })

  it.each([Number.NaN, Number.POSITIVE_INFINITY])('refuses %d', async value => {
    const given = Float64Array.of(1, 0, value, 1)
    await expect(tridiagonalise(given, 2, new Pace())).rejects.toMatchObject({ code: 'NON_FINITE' })
  })

  it('lets the event loop run', async () => {
    const gram = gramOf(600, 5)
    let turns = 0
    const timer = setInterval(() => turns++, 1)
    await tridiagonalise(gram, 600, new Pace())
    clearInterval(timer)
    expect(turns).toBeGreaterThan(3)
  })
})

it('solves multiples of it with a ridge', async () => {
  const size = 30
  const gram = gramOf(size, 12)
  const { basis, ...t } = await tridiagonalise(gram.slice(), size, new Pace())
  const solver = new TridiagonalSolver(t, 0.25, 0.01)
  expect(solver.ridge).toBe(0.01)
  const b = Float64Array.from({ length: size + 4 }, normal)
  const y = b.slice()
  solver.solve(y, 2)
  const at = (i: number) => (i < 0 || i >= size ? 0 : y[2 + i])
  for (let i = 0; i < size; i++) {
    const [left, right] = [t.beside[i - 1] ?? 0, t.beside[i] ?? 0]
    const sum = 0.25 * (left * at(i - 1) + t.diagonal[i] * at(i) + right * at(i + 1)) + 0.01 * at(i)
    expect(sum).toBeCloseTo(b[2 + i], 9)
  }
  expect([y[0], y[1], y[size + 2], y[size + 3]]).toEqual([b[0], b[1], b[size + 2], b[size + 3]])
})

it('a design in that basis scores alike, and is preconditioned alike', async () => {
  const rows = 90
  const count = 21
  const values = Float32Array.from({ length: rows * count }, normal)
  // The last columns are nearly sums of others: what a weak ridge is for.
  for (let r = 0; r < rows; r++) values[r * count + count - 1] = values[r * count] + 1e-3 * normal()
  const columns = Array.from({ length: count }, (_, c) => ({ name: `c${c}`, values, start: c, stride: count }))
  const own = Int32Array.from({ length: rows }, (_, r) => r)
  const matrix = await DesignMatrix.build(device, [{ columns, rows: own }], { bend: 'plain' })
  const basis = await TridiagonalBasis.of(matrix)
  try {
    const width = matrix.x.shape[1]
    const u = Float64Array.from({ length: width }, (_, i) => (i <= count ? normal() : 0))
    const w = await basis.onColumns(u, 1)
    const x = await basis.x.read()
    const [scores] = await matrix.scores([w], 1)
    for (let r = 0; r < rows; r++) {
      let score = 0
      for (let c = 0; c < width; c++) score += x[r * width + c] * u[c]
      // Two float32 products of a row with the basis and the weights: lengths of about 5 times 5, 21 terms.
      expect(Math.abs(score - scores[r])).toBeLessThan(25 * 21 * 2 ** -24)
    }
    const [plain, rotated] = [await matrix.preconditioner(0.2, 1e-3), await basis.preconditioner(0.2, 1e-3)]
    // Qᵀ·b of the same gradient b.
    const b = Float64Array.from({ length: width }, (_, i) => (i <= count ? normal() : 0))
    const inBasis = new Float64Array(width)
    for (let c = 0; c < count; c++) {
      const unit = new Float64Array(width)
      unit[c] = 1
      const q = await basis.onColumns(unit, 1)
      for (let i = 0; i < count; i++) inBasis[c] += q[i] * b[i]
    }
    inBasis[count] = b[count]
    plain(b, 0)
    rotated(inBasis, 0)
    const back = await basis.onColumns(inBasis, 1)
    const largest = Math.max(...b.map(Math.abs))
    for (let i = 0; i <= count; i++) expect(Math.abs(back[i] - b[i])).toBeLessThan(1e-9 * largest)
  } finally {
    basis.dispose()
    matrix.dispose()
  }
})
