import { describe, expect, it } from 'vitest'
import { BinnedMatrix } from '../../lib/runtime/binned_matrix.js'
import { GbrtTrainer } from '../../lib/trees/gbrt.js'
import { openDevice } from '../support/devices.js'
import { TestRandom } from '../support/random.js'

describe('gradients in fixed point', () => {
  const [rows, features] = [4000, 4]
  const random = new TestRandom(5)
  const columns = Array.from({ length: features }, () => Float32Array.from({ length: rows }, () => random.next()))
  // One split finds the first row.
  columns[2].fill(0, 1)
  columns[2][0] = 1
  const clean = Float32Array.from(columns[0], (x, r) => 0.3 * Math.sin(6 * x) + 0.2 * columns[1][r])

  /** Root of the mean of squared errors over some rows. */
  async function error(targets: Float32Array, weights: Float32Array, of: (row: number) => boolean): Promise<number> {
    const matrix = await BinnedMatrix.from(openDevice({ threads: 2 }), { columns })
    const options = { objective: 'squared', numIterations: 40, minDataInLeaf: 1, boostFromAverage: false } as const
    const { model } = await new GbrtTrainer(matrix, options).fit({ targets, weights })
    const squares = [...(await model.predictBinned(matrix))]
      .map((value, r) => (value - targets[r]) ** 2)
      .filter((_, r) => of(r))
    return Math.sqrt(squares.reduce((sum, square) => sum + square, 0) / squares.length)
  }

  it.each(['whole numbers', 'fractions'])('are learned beside a target of a million, weights are %s', async kind => {
    const targets = clean.slice()
    targets[0] = 1e6
    const weights = Float32Array.from(clean, (_, r) => (kind === 'fractions' ? 1 + (r % 2) / 2 : 1 + (r % 2)))
    // With 20 bits of a gradient 0.025: nothing is learned before the large one is.
    expect(await error(targets, weights, r => r > 0)).toBeLessThan(0.012)
  })

  it('are learned of rows with a ten-thousandth of the weight of the others', async () => {
    const isLight = (r: number) => columns[3][r] < 0.5
    const targets = clean.map((value, r) => value + (isLight(r) ? 3 : 0))
    const weights = Float32Array.from(clean, (_, r) => (isLight(r) ? 1e-4 : 1) * (1 + (r % 3) / 3))
    // With 10 bits of a Hessian 1.5 or so: such rows would count as heavier, and steps be shorter.
    expect(await error(targets, weights, isLight)).toBeLessThan(0.5)
  })
})
