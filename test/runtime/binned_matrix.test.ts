import { describe, expect, it } from 'vitest'
import { binding } from '../../lib/native.js'
import { BinnedMatrix, type BinnedMatrixOptions, type NumberArray } from '../../lib/runtime/binned_matrix.js'
import { everyVariant, openDevice } from '../support/devices.js'
import { TestRandom } from '../support/random.js'
import { watchTurns } from '../support/turns.js'
import { unhandledRejections } from '../support/unhandled.js'

const NONE = Number.NaN

/** The rule in plain words: bounds below the value; NaN behind them; a category's own bin. */
function binOf(column: BinnedMatrix['columns'][number], value: number): number {
  if (column.isCategorical) {
    const at = value >= 0 ? column.bounds.indexOf(Math.trunc(value)) : -1
    return at < 0 ? 0 : column.binOf[at]
  }
  if (Number.isNaN(value) && column.hasNaN) return column.bins
  const number = Number.isNaN(value) ? 0 : value
  let bin = 0
  while (bin < column.bins - 1 && column.bounds[bin] < number) bin++
  return bin
}

describe('BinnedMatrix', () => {
  describe.each(everyVariant())('%s', (_, device) => {
    it('bins every value as its bounds say', async () => {
      const random = new TestRandom(4)
      const rows = 3001
      const columns = {
        normal: Float32Array.from({ length: rows }, () => random.normal()),
        wide: Float64Array.from({ length: rows }, () => random.normal() * 1e-12 + 1),
        few: Int8Array.from({ length: rows }, () => random.integer(-3, 3)),
        holes: Float32Array.from({ length: rows }, (_, i) => (i % 7 ? random.next() : NONE)),
        skewed: Int32Array.from({ length: rows }, () => Math.floor(random.next() ** 8 * 1e6)),
        kind: Uint16Array.from({ length: rows }, () => random.integer(0, 9) ** 2),
        constant: new Float64Array(rows).fill(-5),
        nothing: new Float32Array(rows).fill(NONE),
        huge: Float64Array.from({ length: rows }, (_, i) => (i % 11 ? (i % 500) * 2e305 : Infinity)),
        extremes: Float32Array.from({ length: rows }, (_, i) => [-Infinity, Infinity, 1e38, -0, 0, 3, NONE][i % 7]),
      }
      const matrix = await BinnedMatrix.from(device, { columns }, { categorical: ['kind'] })
      const bins = await matrix.read()
      const values = Object.values(columns)
      for (let f = 0; f < values.length; f++) {
        for (let r = 0; r < rows; r++) {
          const want = binOf(matrix.columns[f], values[f][r])
          if (bins[r * values.length + f] !== want) {
            throw new Error(
              `${matrix.names[f]}[${r}] = ${values[f][r]}: bin ${bins[r * values.length + f]} not ${want}`,
            )
          }
        }
      }
      const [normal, wide, few, holes, skewed, kind, constant, nothing, huge, extremes] = matrix.columns
      expect([normal.bins, wide.bins, few.bins, holes.bins]).toEqual([255, 255, 7, 254])
      expect(skewed.bins).toBeGreaterThan(100)
      expect([...few.bounds]).toEqual([-2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 1e300])
      expect([kind.bins, constant.bins, nothing.bins]).toEqual([11, 1, 0])
      expect([...huge.bounds]).toEqual([...huge.bounds].sort((a, b) => a - b))
      expect(huge.bins).toBeGreaterThan(200)
      expect([...huge.bounds.subarray(-2)]).toEqual([Number.MAX_VALUE, Infinity])
      expect([...extremes.bounds.subarray(-2)]).toEqual([1e300, Infinity])
      expect(extremes.hasNaN && nothing.hasNaN && holes.hasNaN && !normal.hasNaN).toBe(true)
    })

    it('takes rows and columns of any number type alike', async () => {
      const random = new TestRandom(8)
      const values = Float32Array.from({ length: 700 * 3 }, () => random.integer(0, 200))
      const columns = [0, 1, 2].map(f => Float64Array.from({ length: 700 }, (_, r) => values[r * 3 + f]))
      const a = await BinnedMatrix.from(device, { values, features: 3 })
      const b = await BinnedMatrix.from(device, { columns })
      const c = await BinnedMatrix.from(device, { columns: columns.map(column => Uint8Array.from(column)) })
      const want = await a.read()
      expect(await b.read()).toEqual(want)
      expect(await c.read()).toEqual(want)
      expect(await (await a.like({ columns })).read()).toEqual(want)
    })
  })

  it('cuts into bins of nearly equal counts', async () => {
    const random = new TestRandom(6)
    const column = Float64Array.from({ length: 50_000 }, () => random.normal())
    const matrix = await BinnedMatrix.from(openDevice(), { columns: [column] }, { maxBin: 100 })
    const counts = new Int32Array(256)
    for (const bin of await matrix.read()) counts[bin]++
    const used = counts.filter(count => count > 0)
    expect(used.length).toBe(100)
    expect(Math.min(...used)).toBeGreaterThan(450)
    expect(Math.max(...used)).toBeLessThan(550)
  })

  it('learns from a sample the same bins for the same seed, and bins all rows', async () => {
    const random = new TestRandom(7)
    const columns = [Float32Array.from({ length: 5000 }, () => random.normal())]
    const device = openDevice()
    const options = { sampleRows: 500, seed: 3 }
    const a = await BinnedMatrix.from(device, { columns }, options)
    const b = await BinnedMatrix.from(device, { columns }, options)
    const c = await BinnedMatrix.from(device, { columns }, { ...options, seed: 4 })
    expect(b.columns).toEqual(a.columns)
    expect(c.columns).not.toEqual(a.columns)
    expect(await b.read()).toEqual(await a.read())
    expect(a.columns[0].bins).toBeGreaterThan(100)
  })

  describe('with weights', () => {
    const random = new TestRandom(17)
    const column = Float32Array.from({ length: 4000 }, () => random.normal())
    const device = openDevice()
    const bins = (columns: Float32Array[], options = {}) =>
      BinnedMatrix.from(device, { columns }, { maxBin: 40, ...options })

    it('that are whole numbers has the bins of as many copies', async () => {
      const weights = column.map((value, row) => (value > 1 ? 9 : row % 3))
      const copies = [...column].flatMap((value, row) => new Array(weights[row]).fill(value))
      const want = (await bins([Float32Array.from(copies)])).columns
      expect((await bins([column], { weights })).columns).toEqual(want)
      expect((await bins([column])).columns).not.toEqual(want)
    })

    it('that are real numbers, or many, cuts into bins of nearly equal weight', async () => {
      for (const scale of [0.01, 1000]) {
        const weights = Float64Array.from(column, value => scale * Math.exp(value))
        const matrix = await bins([column], { weights, seed: 5 })
        const sums = new Float64Array(matrix.columns[0].bins)
        for (const [row, bin] of (await matrix.read()).entries()) sums[bin] += weights[row]
        const mean = sums.reduce((a, b) => a + b) / 40
        expect(sums.length).toBe(40)
        // A hundred rows a bin by weight; the heaviest row alone is a quarter of one.
        for (const sum of sums) expect(Math.abs(sum / mean - 1)).toBeLessThan(0.4)
        expect((await bins([column], { weights, seed: 5 })).columns).toEqual(matrix.columns)
      }
    })

    it('refuses those that cannot be', async () => {
      const refuse = (weights: Float64Array, error: RegExp) =>
        expect(bins([column], { weights })).rejects.toThrow(error)
      const with5 = (weight: number) => new Float64Array(4000).fill(1).fill(weight, 5, 6)
      await refuse(with5(-1), /weights from 0 that are finite, row 5 but received -1/)
      await refuse(with5(Number.NaN), /row 5 but received NaN/)
      await refuse(with5(Number.POSITIVE_INFINITY), /row 5/)
      await refuse(new Float64Array(4000), /a weight above 0/)
      await refuse(new Float64Array(3), /4000 weights but received 3/)
    })
  })

  it('does not depend on the number of threads, nor on the order of rows', async () => {
    const random = new TestRandom(9)
    const column = Float32Array.from({ length: 9000 }, () => random.normal())
    const one = await BinnedMatrix.from(openDevice({ threads: 1 }), { columns: [column] })
    const two = await BinnedMatrix.from(openDevice({ threads: 2 }), { columns: [column.slice().reverse()] })
    expect(two.columns).toEqual(one.columns)
    expect(await two.read()).toEqual((await one.read()).reverse())
  })

  it('keeps the most frequent categories where there are more than bins', async () => {
    const codes = Int32Array.from({ length: 3000 }, (_, i) => (i < 1000 ? i : 5000 + (i % 4)))
    const options = { categorical: [0], maxBin: 20 }
    const matrix = await BinnedMatrix.from(openDevice(), { columns: [codes] }, options)
    expect(matrix.columns[0].bins).toBe(20)
    expect([...matrix.columns[0].bounds.subarray(-4)]).toEqual([5000, 5001, 5002, 5003])
    // Unknown ones share bin 0, as NaN and negative codes do.
    const other = await matrix.like({ columns: [Float64Array.of(999, NONE, -1, 5001.5)] })
    expect([...(await other.read())].map((bin, i) => (i < 3 ? bin === 0 : bin > 0))).toEqual([true, true, true, true])
  })

  it('refuses numbers that are no category, by column and row', async () => {
    const device = openDevice()
    const fit = (kind: NumberArray, options: BinnedMatrixOptions = {}) =>
      BinnedMatrix.from(
        device,
        { columns: { x: new Float32Array(kind.length), kind } },
        { ...options, categorical: [1] },
      )
    for (const code of [-2, 0.5, 2 ** 20, Infinity, -Infinity]) {
      const message = `[BinnedMatrix] expected categories of 'kind' as whole numbers from 0 to 1048575, row 2 but received ${code}; number them from 0; missing ones are -1 or NaN`
      const refused = expect(fit(Float64Array.of(0, 1, code))).rejects
      await refused.toThrow(new RangeError(message))
    }
    const late = new Int32Array(5000)
    late[4999] = -7
    await expect(fit(late, { sampleRows: 10 })).rejects.toThrow(/row 4999 but received -7/)
    const values = Float32Array.of(0.5, 0, 0.5, 1.5)
    const byRow = BinnedMatrix.from(device, { values, features: 2 }, { categorical: [1] })
    await expect(byRow).rejects.toThrow(/categories of 'Column_1' .* row 1 but received 1.5/)
  })

  it('takes −1 for missing, as NaN', async () => {
    const device = openDevice()
    const fit = (missing: number) => {
      const codes = Float32Array.from({ length: 300 }, (_, r) => (r % 3 === 0 ? missing : r % 3))
      return BinnedMatrix.from(device, { columns: [codes] }, { categorical: [0] })
    }
    const [one, other] = [await fit(-1), await fit(NONE)]
    expect(one.columns).toEqual(other.columns)
    expect(await one.read()).toEqual(await other.read())
    expect([...one.columns[0].bounds]).toEqual([1, 2])
  })

  it('gives some rows as it gives all', async () => {
    const [rows, features] = [50, 37]
    const values = Float32Array.from({ length: rows * features }, (_, i) => (i * 7919) % 23)
    const matrix = await BinnedMatrix.from(openDevice({ threads: 1 }), { values, features }, { minDataInBin: 1 })
    const all = await matrix.read()
    for (const some of [[], [0], [rows - 1], [17, 3, 17, 44]]) {
      const wanted = some.flatMap(row => [...all.subarray(row * features, (row + 1) * features)])
      expect([...(await matrix.readRows(Int32Array.from(some)))]).toEqual(wanted)
    }
    await expect(matrix.readRows(Int32Array.of(1, rows))).rejects.toThrow(/rows below 50 but received 50/)
  })

  it('gives back its memory', async () => {
    const device = openDevice({ guard: false })
    const before = device.info().liveBytes
    const matrix = await BinnedMatrix.from(device, { columns: [new Float32Array(5000)] })
    expect(device.info().liveBytes).toBeGreaterThan(before)
    matrix.dispose()
    expect(device.info().liveBytes).toBe(before)
    await expect(matrix.read()).rejects.toThrow(/freed/)
  })

  it('keeps its number of rows when a list of columns frees it and reserves anew', async () => {
    const device = openDevice()
    const column = new Float32Array(1000)
    const { handle } = await BinnedMatrix.from(device, { columns: [column, column] })
    const own = binding.binned_like(handle)
    binding.binned_reserve(own, 1000)
    const columns = [column, column]
    Object.defineProperty(columns, 1, {
      get() {
        binding.binned_dispose(own)
        expect(() => binding.binned_reserve(own, 1)).toThrow(/reserve once/)
        return column
      },
    })
    expect(() => binding.binned_append(own, 900, columns, 0, 100)).toThrow(/an empty or freed one/)
  })

  it('rejects when its device is closed meanwhile, and leaves nothing unhandled', async () => {
    const device = openDevice({ guard: false })
    const column = Float64Array.from({ length: 4_000_000 }, (_, row) => row % 1000)
    const before = device.info().liveBytes
    const unhandled = await unhandledRejections(async () => {
      const running = expect(BinnedMatrix.from(device, { columns: [column] })).rejects.toMatchObject({
        code: expect.stringMatching(/ABORTED|CLOSED/),
      })
      // Until its rows are on their way.
      while (device.info().liveBytes === before) await new Promise(resolve => setImmediate(resolve))
      device.close()
      await running
    })
    expect(unhandled).toEqual([])
  })

  it('refuses wrong input', async () => {
    const device = openDevice()
    const refuse = (data: unknown, error: unknown, options = {}) =>
      expect(BinnedMatrix.from(device, data as never, options)).rejects.toThrow(error as never)
    await refuse({ columns: [] }, RangeError)
    await refuse({ columns: [new Float32Array(0)] }, /at least one row/)
    await refuse({ columns: { a: new Float32Array(2), b: new Float32Array(3) } }, /columns of 2 rows but received 3/)
    await refuse({ values: new Float32Array(7), features: 2 }, RangeError)
    await refuse({ columns: [['a']] }, TypeError)
    await refuse({ columns: [new BigInt64Array(2)] }, /bigints/)
    await refuse({ columns: [new Float32Array(new SharedArrayBuffer(8))] }, /shared memory/)
    await refuse({ columns: [new Float32Array(2)] }, /'maxBin'/, { maxBins: 3 })
    await refuse({ columns: [new Float32Array(2)] }, RangeError, { maxBin: 256 })
    await refuse({ columns: [new Float32Array(2)] }, RangeError, { categorical: ['b'] })
    const aborted = AbortSignal.abort()
    await refuse({ columns: [new Float32Array(2000)] }, /abort/, { signal: aborted })
  })
})

describe('a sample of many rows', () => {
  const x = new Uint8Array(40_000_000).map((_, row) => row)

  it.each([
    ['where each counts once', {}],
    ['where each has its weight', { weights: new Uint8Array(x.length).fill(1) }],
    ['where the column is one of categories', { categorical: ['x'] }],
  ])('is drawn while the event loop runs, %s', { retry: 2, timeout: 60_000 }, async (_, options) => {
    const device = openDevice()
    const { longest } = await watchTurns(async () => {
      const matrix = await BinnedMatrix.from(device, { columns: { x } }, options)
      matrix.dispose()
    })
    expect(longest).toBeLessThan(35)
  })
})
