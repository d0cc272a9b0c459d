import fc from 'fast-check'
import { expect, test } from 'vitest'
import { type Bend, type Block, normalQuantile, Scaler } from '../../../lib/transfer/linear/scaling.js'
import { Pace } from '../../../lib/util/pace.js'
import { expectClose } from '../../support/close.js'
import { TestRandom } from '../../support/random.js'

/** Columns as given, scaled with the scale of themselves. */
async function scale(columns: number[][], bend: Bend): Promise<number[][]> {
  const rows = Int32Array.from(columns[0], (_, r) => r)
  const block: Block = {
    columns: columns.map((values, c) => ({ name: `c${c}`, values: Float64Array.from(values), start: 0, stride: 1 })),
    rows,
  }
  const scaler = await Scaler.fit(block, bend, new Pace())
  const out = new Float32Array(rows.length * scaler.width).fill(Number.NaN)
  scaler.write(block, 0, rows.length, out, scaler.width, 1)
  return Array.from({ length: scaler.width }, (_, c) => Array.from(rows, r => out[r * scaler.width + c]))
}

const mean = (values: number[]) => values.reduce((a, b) => a + b) / values.length
const deviation = (values: number[]) => Math.sqrt(mean(values.map(v => (v - mean(values)) ** 2)))

const bends: Bend[] = ['plain', 'log', 'rank', 'auto']

test.each(bends)('%s: every column has mean 0 and deviation 1, and keeps its order', async bend => {
  const random = new TestRandom(5)
  const tame = Array.from({ length: 400 }, () => random.normal())
  const wild = Array.from({ length: 400 }, () => Math.exp(4 * random.normal()) - 1)
  const counts = Array.from({ length: 400 }, () => Math.floor(Math.exp(random.normal())))
  const inputs = [tame, wild, counts]
  const scaled = await scale(inputs, bend)
  expect(scaled.length).toBe(3)
  scaled.forEach((column, c) => {
    expect(Math.abs(mean(column))).toBeLessThan(1e-5)
    expect(Math.abs(deviation(column) - 1)).toBeLessThan(1e-5)
    const order = inputs[c].map((_, r) => r).sort((a, b) => inputs[c][a] - inputs[c][b])
    // Between two knots ranks are interpolated: never downwards.
    for (let k = 1; k < order.length; k++) expect(column[order[k]] >= column[order[k - 1]]).toBe(true)
  })
  // A heavy tail no longer reaches far, unless told to leave it.
  const reach = Math.max(...scaled[1])
  if (bend === 'plain') expect(reach).toBeGreaterThan(10)
  else expect(reach).toBeLessThan(5)
})

test('auto leaves light tails alone and ranks heavy ones', async () => {
  const random = new TestRandom(6)
  const tame = Array.from({ length: 300 }, () => random.next())
  const wild = tame.map(value => value ** -3)
  const [auto, plain, rank] = await Promise.all((['auto', 'plain', 'rank'] as const).map(b => scale([tame, wild], b)))
  expect(auto[0]).toEqual(plain[0])
  expect(auto[1]).toEqual(rank[1])
  expect(auto[1]).not.toEqual(plain[1])
})

test('constant columns go, missing values become the mean and, once per pattern, a column of their own', async () => {
  const nan = Number.NaN
  const scaled = await scale(
    [
      [5, 5, 5, 5],
      [1, nan, 3, nan],
      [nan, nan, nan, nan],
      [7, nan, 7, nan],
      [2, nan, 9, nan],
      [0, 1, nan, 2],
    ],
    'plain',
  )
  expect(scaled.length).toBe(5)
  const [second, missing, fourth, last, missingLast] = scaled
  expectClose(second, [-1, 0, 1, 0], { absolute: 1e-6 })
  expectClose(missing, [-1, 1, -1, 1], { absolute: 1e-6 })
  expectClose(fourth, [-1, 0, 1, 0], { absolute: 1e-6 })
  expect(last[2]).toBe(0)
  expectClose(
    missingLast,
    [1, 1, -3, 1].map(v => -v / Math.sqrt(3)),
    { absolute: 1e-6 },
  )
})

test('huge, tiny and mixed scales stay finite', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.double({ noNaN: true, noDefaultInfinity: true, min: -1e300, max: 1e300 }), {
        minLength: 2,
        maxLength: 30,
      }),
      fc.constantFrom(...bends),
      async (values, bend) => {
        for (const column of await scale([values], bend)) {
          for (const value of column) expect(Number.isFinite(value)).toBe(true)
        }
      },
    ),
  )
})

test('blocks are read by row number and stride, and written transposed as well', async () => {
  const values = Float32Array.of(9, 1, 9, 3, 9, 5, 9, 11)
  const block: Block = { columns: [{ name: 'v1', values, start: 1, stride: 2 }], rows: Int32Array.of(2, 0) }
  const scaler = await Scaler.fit(block, 'plain', new Pace())
  const out = new Float32Array(6).fill(-7)
  scaler.write(block, 0, 2, out, 1, 3)
  expectClose(out, [1, -1, -7, -7, -7, -7], { absolute: 1e-6 })
})

test('normal quantiles match tables', () => {
  // scipy.stats.norm.ppf
  const known: [p: number, z: number][] = [
    [1e-10, -6.361340902404056],
    [0.001, -3.090232306167813],
    [0.025, -1.959963984540054],
    [0.3, -0.5244005127080407],
    [0.5, 0],
    [0.975, 1.959963984540054],
  ]
  for (const [p, z] of known) expect(Math.abs(normalQuantile(p) - z)).toBeLessThan(1e-8)
  expect(() => normalQuantile(0)).toThrow(RangeError)
  expect(() => normalQuantile(Number.NaN)).toThrow(RangeError)
})
