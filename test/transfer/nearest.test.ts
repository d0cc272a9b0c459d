import { describe, expect, it } from 'vitest'
import type { VectorTable } from '../../lib/events/table.js'
import { Device } from '../../lib/runtime/device.js'
import { nearest } from '../../lib/transfer/nearest.js'
import type { Metric } from '../../lib/transfer/neighbours.js'
import { VectorIndex } from '../../lib/transfer/vector_index.js'
import { everyVariant } from '../support/devices.js'
import { TestRandom } from '../support/random.js'
import { watchTurns } from '../support/turns.js'

const METRICS: readonly Metric[] = ['cosine', 'euclidean']

function tableOf(rows: number, width: number, seed = 1): VectorTable {
  const random = new TestRandom(seed)
  const vectors = Float32Array.from({ length: rows * width }, () => random.normal())
  return { ids: Array.from({ length: rows }, (_, i) => `row ${i}`), width, vectors }
}

/** Plain loops in float64, a full sort. */
function reference({ ids, width, vectors }: VectorTable, queries: Float32Array, top: number, metric: Metric) {
  const rows: number[] = []
  const scores: number[] = []
  for (let q = 0; q < queries.length / width; q++) {
    const query = queries.subarray(q * width, (q + 1) * width)
    const all = ids.map((_, row) => {
      const own = vectors.subarray(row * width, (row + 1) * width)
      const dot = (a: Float32Array, b: Float32Array) => a.reduce((sum, value, i) => sum + value * b[i], 0)
      if (metric === 'euclidean') return Math.sqrt(own.reduce((sum, value, i) => sum + (value - query[i]) ** 2, 0))
      return dot(own, query) / Math.sqrt(dot(own, own)) / Math.sqrt(dot(query, query)) || 0
    })
    const sign = metric === 'cosine' ? -1 : 1
    const order = ids.map((_, row) => row).sort((a, b) => sign * (all[a] - all[b]) || a - b)
    for (let k = 0; k < top; k++) {
      rows.push(order[k] ?? -1)
      scores.push(k < order.length ? all[order[k]] : Number.NaN)
    }
  }
  return { rows, scores }
}

async function* inBlocks({ ids, width, vectors }: VectorTable, rows: number): AsyncGenerator<VectorTable> {
  for (let begin = 0; begin < ids.length; begin += rows) {
    const end = Math.min(ids.length, begin + rows)
    yield { ids: ids.slice(begin, end), width, vectors: vectors.subarray(begin * width, end * width) }
  }
}

describe('nearest', () => {
  for (const [name, device] of everyVariant()) {
    it.each(METRICS)(`finds what plain loops find by %s (${name})`, async metric => {
      for (const [rows, width, count, top] of [
        [1, 1, 1, 1],
        [7, 3, 2, 10],
        [1001, 17, 37, 5],
        [300, 64, 300, 12],
      ]) {
        const table = tableOf(rows, width)
        const queries = tableOf(count, width, 2).vectors
        const want = reference(table, queries, top, metric)
        const got = await nearest(table, queries, { top, metric, device })
        expect(Array.from(got.rows)).toEqual(want.rows)
        expect(Array.from(got.scores)).toEqual(
          want.scores.map(score => (Number.isNaN(score) ? score : expect.closeTo(score, 6))),
        )
        expect(got.ids).toEqual(want.rows.map(row => table.ids[row] ?? ''))
      }
    })
  }

  it('crosses chunks and groups of queries, alike in blocks of any size', async () => {
    // 4681 rows of width 112 are a chunk; 256 queries a group.
    const table = tableOf(9_500, 112)
    const queries = tableOf(259, 112, 3).vectors
    for (const metric of METRICS) {
      const whole = await nearest(table, queries, { metric })
      const want = reference(table, queries.subarray(0, 3 * 112), 10, metric)
      expect(Array.from(whole.rows.subarray(0, 30))).toEqual(want.rows)
      for (const size of [999, 9_500]) {
        expect(await nearest(inBlocks(table, size), queries, { metric })).toEqual(whole)
      }
    }
  }, 120_000)

  it('ranks what float32 cannot tell apart, and equal rows by their place', async () => {
    const width = 24
    const random = new TestRandom(5)
    const base = Float32Array.from({ length: width }, () => 1000 + random.normal())
    const rows = 400
    const vectors = new Float32Array(rows * width)
    // All within 2⁻⁹ of one point far from 0: the product's rounding is larger than their distances.
    for (let i = 0; i < vectors.length; i++) vectors[i] = base[i % width] + random.integer(-16, 16) / 8192
    vectors.set(vectors.subarray(0, width), 5 * width)
    const table = { ids: Array.from({ length: rows }, (_, i) => String(i)), width, vectors }
    const got = await nearest(table, vectors.slice(0, width), { metric: 'euclidean', top: 20 })
    expect(Array.from(got.rows)).toEqual(reference(table, vectors.slice(0, width), 20, 'euclidean').rows)
    expect(Array.from(got.rows.subarray(0, 2))).toEqual([0, 5])
    expect(got.scores[0]).toBe(0)
  })

  it('finds rows of any length by their direction', async () => {
    const { ids, width, vectors } = tableOf(20, 4)
    for (const length of [1e-30, 1e-18, 1e-9, 1, 1e18]) {
      const table = {
        ids: [...ids, 'like the query'],
        width,
        vectors: new Float32Array([...vectors, ...vectors.slice(8, 12)]),
      }
      for (let i = 80; i < 84; i++) table.vectors[i] *= length
      const query = vectors.slice(8, 12).map((value, i) => value + (i === 0 ? 1e-3 : 0))
      const found = await nearest(table, query, { top: 2 })
      expect(
        [...found.rows].sort((a, b) => a - b),
        `length ${length}`,
      ).toEqual([2, 20])
    }
  })

  it('has rows of zeros at cosine 0', async () => {
    const table = { ids: ['zero', 'same', 'opposite'], width: 2, vectors: Float32Array.of(0, 0, 3, 4, -3, -4) }
    const { ids, scores } = await nearest(table, Float32Array.of(3, 4), { top: 3 })
    expect(ids).toEqual(['same', 'zero', 'opposite'])
    expect(Array.from(scores)).toEqual([1, 0, -1])
  })

  it('refuses what it cannot rank', async () => {
    const table = tableOf(4, 2)
    const bad = { ...table, vectors: table.vectors.with(5, Number.NaN) }
    const query = Float32Array.of(1, 2)
    await expect(nearest(bad, query)).rejects.toThrow("[nearest] expected finite values in the vector of 'row 2'")
    await expect(nearest(table, Float32Array.of(1, Number.POSITIVE_INFINITY))).rejects.toThrow(RangeError)
    await expect(nearest(table, Float32Array.of(0, 0))).rejects.toThrow(/queries with a direction/)
    await expect(nearest(table, Float32Array.of(1, 2, 3))).rejects.toThrow(/queries of 2 values each/)
    await expect(nearest(table, query, { top: 0 })).rejects.toThrow(RangeError)
    await expect(nearest(table, query, { metric: 'manhattan' as Metric })).rejects.toThrow(/'cosine' or 'euclidean'/)
    await expect(nearest(inBlocks(table, 2), query, { index: 'usearch' })).rejects.toThrow(/read it with readVectors/)
    await expect(nearest({ ...table, ids: [], vectors: new Float32Array(0) }, query)).rejects.toThrow(/one row or more/)
  })

  it('stops when told to, and leaves the device to its owner', async () => {
    const table = tableOf(60_000, 128)
    const controller = new AbortController()
    const device = new Device({ threads: 2 })
    const seen: number[] = []
    const run = nearest(table, table.vectors.subarray(0, 64 * 128), {
      device,
      signal: controller.signal,
      onProgress: ({ done, total }) => {
        seen.push(done / total)
        if (done > 20_000) controller.abort(new Error('enough'))
      },
    })
    await expect(run).rejects.toThrow('enough')
    expect(seen.at(-1)!).toBeLessThan(0.5)
    expect((await nearest(tableOf(9, 2), Float32Array.of(1, 1), { device })).ids.length).toBe(10)
    device.close()
  })

  it('lets the event loop run', { retry: 2, timeout: 120_000 }, async () => {
    const table = tableOf(200_000, 64)
    const { longest, total } = await watchTurns(() => nearest(table, table.vectors.subarray(0, 300 * 64)))
    expect(total).toBeGreaterThan(20)
    // Steps are of a few milliseconds.
    expect(longest).toBeLessThan(25)
  })

  it('lets the event loop run while many queries are put on the device', { retry: 2, timeout: 60_000 }, async () => {
    const width = 512
    const queries = new Float32Array(60_000 * width).fill(1)
    const { longest } = await watchTurns(() => nearest(tableOf(1, width), queries, { top: 1 }))
    expect(longest).toBeLessThan(35)
  })
})

describe('VectorIndex', async () => {
  const table = tableOf(3_000, 32)
  const queries = tableOf(100, 32, 9).vectors
  const missing = await VectorIndex.build(tableOf(2, 2)).then(
    () => null,
    (error: { code: string }) => error.code,
  )

  it.runIf(missing)('names the package that is missing', async () => {
    await expect(nearest(table, queries, { index: 'usearch' })).rejects.toMatchObject({
      code: 'PACKAGE_MISSING',
      message: expect.stringContaining('npm install usearch'),
    })
  })

  it.skipIf(missing)(
    'finds nearly all that an exact search finds (skipped where usearch is not installed)',
    async () => {
      for (const metric of METRICS) {
        const exact = await nearest(table, queries, { metric })
        const index = await VectorIndex.build(table, { metric })
        const found = await nearest(table, queries, { metric, index })
        let common = 0
        for (let q = 0; q < 100; q++) {
          const own = new Set(exact.rows.subarray(q * 10, q * 10 + 10))
          common += found.rows.subarray(q * 10, q * 10 + 10).filter(row => own.has(row)).length
        }
        // 0.99 was measured on vectors without any structure, the hardest ones.
        expect(common / 1000).toBeGreaterThan(0.95)
        // The same rows have the same scores, bit for bit: both are measured in float64.
        expect(found.scores[0]).toBe(exact.scores[0])
        expect(await nearest(table, queries, { metric, index: 'usearch' })).toEqual(found)
        const single = await index.search(queries.slice(0, 32), { top: 10 })
        expect(single.rows).toEqual(found.rows.slice(0, 10))
      }
    },
  )

  it.skipIf(missing)('says of which table it is', async () => {
    const index = await VectorIndex.build(table)
    await expect(nearest(tableOf(3, 32), queries, { index })).rejects.toThrow(/an index of this table/)
    await expect(nearest(table, queries, { index, metric: 'euclidean' })).rejects.toThrow(/an index by euclidean/)
    const few = await nearest(tableOf(3, 32), queries.slice(0, 32), { index: 'usearch' })
    expect(few.ids.filter(id => id !== '').length).toBe(3)
    await expect(VectorIndex.build({ ...table, vectors: table.vectors.with(40, Number.NaN) })).rejects.toThrow(
      /'row 1'/,
    )
    const signal = AbortSignal.timeout(30)
    await expect(VectorIndex.build(tableOf(50_000, 32), { signal })).rejects.toMatchObject({ name: 'TimeoutError' })
  })
})
