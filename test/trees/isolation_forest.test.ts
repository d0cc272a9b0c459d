import { describe, expect, it } from 'vitest'
import { auc } from '../../lib/report/metrics.js'
import { Tensor } from '../../lib/runtime/tensor.js'
import { IsolationForest, type IsolationForestOptions } from '../../lib/trees/isolation_forest.js'
import { everywhere, openDevice } from '../support/devices.js'
import { TestRandom } from '../support/random.js'

/** A cloud of normal rows, and a few on a wide shell around it. */
function shell(rows: number, features: number, seed = 1) {
  const random = new TestRandom(seed)
  const unusual = Uint8Array.from({ length: rows }, (_, r) => (r % 40 === 3 ? 1 : 0))
  const columns = Array.from({ length: features }, () =>
    Float32Array.from({ length: rows }, (_, r) => random.normal() * (unusual[r] ? 3 : 1)),
  )
  return { columns, unusual }
}

const device = openDevice()
const meanPath = (n: number) => 2 * (Math.log(n - 1) + 0.5772156649015329) - (2 * (n - 1)) / n

async function scores(columns: readonly (Float32Array | Float64Array)[], options: IsolationForestOptions = {}) {
  const forest = await IsolationForest.fit(device, { columns }, options)
  return forest.score({ columns })
}

describe('isolation forest', () => {
  const { columns, unusual } = shell(3000, 6)

  it.each([0, 1, 5])('finds what is unusual, extension %i', async extension => {
    const found = await scores(columns, { extension, seed: 2 })
    expect(auc(found, unusual)).toBeGreaterThan(0.95)
    for (const score of found) expect(score > 0 && score <= 1).toBe(true)
    const usual = found.filter((_, r) => !unusual[r]).reduce((sum, score) => sum + score, 0) / 2925
    expect(usual).toBeGreaterThan(0.4)
    expect(usual).toBeLessThan(0.5)
  })

  it('gives what the formula says where every cut is known', async () => {
    // One row apart from 255 equal ones: the only cut there is parts them.
    const apart = Float32Array.from({ length: 256 }, (_, r) => (r === 77 ? 5 : -1))
    const found = await scores([apart, new Float32Array(256)])
    const expected = (depth: number) => 2 ** (-depth / meanPath(256))
    for (const [r, score] of found.entries()) {
      // Sums of 100 equal depths, rounded once each.
      expect(Math.abs(score - expected(r === 77 ? 1 : 1 + meanPath(255)))).toBeLessThan(1e-13)
    }
    // Three rows in a line: cut at a share u of the way, so that the middle one is cut off second.
    const line = await scores([Float64Array.of(0, 1, 2)], { trees: 2000 })
    const mean = line.map(score => -Math.log2(score) * meanPath(3))
    expect(mean[1]).toBeCloseTo(2, 12)
    // Half of the trees cut off either end first: deviation 0.5 / √2000, three of them.
    for (const end of [0, 2]) expect(Math.abs(mean[end] - 1.5)).toBeLessThan(0.034)
  })

  const devices = everywhere()

  it.each([0, 2])(
    'is the same for any number of threads, variant, device and layout: extension %i',
    async extension => {
      const options = { trees: 30, seed: 9, extension }
      const want = await scores(columns, options)
      const flat = Float64Array.from({ length: 3000 * 6 }, (_, i) => columns[i % 6][Math.floor(i / 6)])
      for (const [, own] of devices) {
        const forest = await IsolationForest.fit(own, { columns }, options)
        expect(await forest.score({ columns })).toEqual(want)
        expect(await forest.score({ values: flat, features: 6 })).toEqual(want)
        const few = columns.map(column => column.subarray(100, 113))
        expect(await forest.score({ columns: few })).toEqual(want.subarray(100, 113))
      }
      const byRows = await IsolationForest.fit(device, { values: flat, features: 6 }, options)
      expect(await byRows.score({ columns })).toEqual(want)
      expect(await scores(columns, { ...options, seed: 10 })).not.toEqual(want)
    },
  )

  it('draws every row alike', async () => {
    // Samples of one row in ten. Values ascend with the row: rows drawn more often would stand closer, and score less.
    const found = await scores([Float64Array.from(Array(500).keys())], { samples: 50, trees: 3000 })
    const part = (from: number) => found.subarray(from, from + 150).reduce((sum, score) => sum + score, 0) / 150
    expect(Math.abs(part(0) - part(350))).toBeLessThan(0.004)
    expect(part(175)).toBeLessThan(part(0))
  })

  it.each([0, 3])('lets missing values go along with known ones: extension %i', async extension => {
    const random = new TestRandom(5)
    const holes = columns.map(column => column.map(value => (random.next() < 0.2 ? Number.NaN : value)))
    const found = await scores([...holes, new Float32Array(3000).fill(Number.NaN)], { extension })
    expect(auc(found, unusual)).toBeGreaterThan(0.9)
    // A row of nothing but holes is no more unusual than others are.
    const forest = await IsolationForest.fit(device, { columns: holes }, { extension })
    const [empty] = await forest.score({ columns: holes.map(() => Float32Array.of(Number.NaN)) })
    expect(empty).toBeLessThan(0.55)
  })

  it.each([0, 1])('takes infinities for very large numbers: extension %i', async extension => {
    const wild = [columns[0].slice(), columns[1]]
    wild[0][7] = Number.POSITIVE_INFINITY
    wild[0][8] = Number.NEGATIVE_INFINITY
    const found = await scores(wild, { samples: 3000, extension })
    const top = Array.from(found.keys()).sort((a, b) => found[b] - found[a])
    expect(top.slice(0, 2).sort()).toEqual([7, 8])
    expect(found.every(Number.isFinite)).toBe(true)
  })

  it.each([0, 1])('calls nothing unusual where rows do not differ: extension %i', async extension => {
    // In memory that holds what was there before: no cut has been written to it.
    const used = openDevice({ guard: false })
    Tensor.from(used, new Float32Array(1 << 18).fill(1e30)).dispose()
    for (const rows of [1, 2, 300]) {
      const columns = [new Float32Array(rows).fill(3), new Float32Array(rows).fill(Number.NaN)]
      const forest = await IsolationForest.fit(used, { columns }, { extension })
      for (const score of await forest.score({ columns })) expect(score).toBeCloseTo(0.5, 12)
    }
  })

  it('takes columns by name, in any order', async () => {
    const named = { a: columns[0], b: columns[1] }
    const forest = await IsolationForest.fit(device, { columns: named })
    const want = await forest.score({ columns: named })
    expect(await forest.score({ columns: { c: columns[2], b: columns[1], a: columns[0] } })).toEqual(want)
  })

  it('refuses what it cannot use', async () => {
    const fit = (data: Parameters<typeof IsolationForest.fit>[1], options?: object) =>
      IsolationForest.fit(device, data, options)
    await expect(fit({ columns: [] })).rejects.toThrow(/at least one row/)
    await expect(fit({ columns: [new Float32Array(0)] })).rejects.toThrow(/at least one row/)
    await expect(fit({ columns: [new Float32Array(2), new Float32Array(3)] })).rejects.toThrow(/columns of 2 rows/)
    await expect(fit({ columns }, { trees: 0 })).rejects.toThrow(/trees/)
    await expect(fit({ columns }, { samples: 0.5 })).rejects.toThrow(/samples/)
    await expect(fit({ columns }, { extension: 6 })).rejects.toThrow(/extension/)
    await expect(fit({ columns }, { tree: 6 })).rejects.toThrow(/did you mean 'trees'/)
    await expect(fit({ columns }, { signal: AbortSignal.abort(new Error('stop')) })).rejects.toThrow('stop')
    const forest = await fit({ columns: { a: columns[0] } })
    await expect(forest.score({ columns: { b: columns[0] } })).rejects.toThrow(/column 'a'/)
    await expect(forest.score({ values: new Float32Array(4), features: 2 })).rejects.toThrow(/1 features/)
  })
})
