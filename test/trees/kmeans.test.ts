import { describe, expect, it } from 'vitest'
import { binding } from '../../lib/native.js'
import { Tensor } from '../../lib/runtime/tensor.js'
import { type KMeansOptions, kmeans } from '../../lib/trees/kmeans.js'
import { everywhere, openDevice } from '../support/devices.js'
import { TestRandom } from '../support/random.js'

const device = openDevice()
const FEATURES = 5

/** Rows around `count` far centres, and which one each is around. */
function clouds(rows: number, count: number, spread = 0.3, seed = 1) {
  const random = new TestRandom(seed)
  const middle = Array.from({ length: count * FEATURES }, () => random.normal() * 5)
  const truth = Int32Array.from({ length: rows }, () => random.integer(0, count - 1))
  const values = Float32Array.from({ length: rows * FEATURES }, (_, i) => {
    const r = Math.floor(i / FEATURES)
    return middle[truth[r] * FEATURES + (i % FEATURES)] + spread * random.normal()
  })
  return { values, truth }
}

const run = (values: Float32Array, options: KMeansOptions, own = device) =>
  kmeans(own, { values, features: FEATURES }, options)

/** Lloyd's iteration without bounds, in float32 as the kernel computes. */
function lloyd(values: Float32Array, start: Float32Array, iterations: number) {
  const rows = values.length / FEATURES
  const clusters = start.length / FEATURES
  const centers = start.slice()
  const assigned = new Int32Array(rows)
  const assign = () => {
    for (let r = 0; r < rows; r++) {
      let best = Number.POSITIVE_INFINITY
      for (let k = 0; k < clusters; k++) {
        let sum = 0
        for (let f = 0; f < FEATURES; f++) {
          const d = Math.fround(values[r * FEATURES + f] - centers[k * FEATURES + f])
          sum = Math.fround(sum + Math.fround(d * d))
        }
        if (sum < best) {
          best = sum
          assigned[r] = k
        }
      }
    }
  }
  for (let i = 0; i < iterations; i++) {
    assign()
    const sums = new Float64Array(start.length)
    const counts = new Int32Array(clusters)
    for (let r = 0; r < rows; r++) {
      counts[assigned[r]]++
      for (let f = 0; f < FEATURES; f++) sums[assigned[r] * FEATURES + f] += values[r * FEATURES + f]
    }
    for (let i = 0; i < sums.length; i++) {
      const count = counts[Math.floor(i / FEATURES)]
      if (count > 0) centers[i] = sums[i] / count
    }
  }
  assign()
  return { centers, assigned }
}

describe('kmeans', () => {
  const devices = everywhere()
  it('finds clouds that stand apart', async () => {
    const { values, truth } = clouds(4000, 12)
    const { assigned, centers, inertia, isConverged } = await run(values, { clusters: 12, seed: 3 })
    expect(isConverged).toBe(true)
    const pairs = new Set(Array.from(assigned, (k, r) => `${k} ${truth[r]}`))
    expect(pairs.size).toBe(12)
    let sum = 0
    for (let i = 0; i < values.length; i++) {
      sum += (values[i] - centers[assigned[Math.floor(i / FEATURES)] * FEATURES + (i % FEATURES)]) ** 2
    }
    expect(Math.abs(inertia - sum)).toBeLessThan(1e-9 * sum)
  })

  it.each([
    [1, 5],
    [2, 20],
    [7, 40],
    [33, 60],
  ])('gives what Lloyd gives without bounds: %i clusters', async (clusters, iterations) => {
    // One wide cloud: rows change their cluster for long.
    const { values } = clouds(3001, 1, 1, clusters)
    const start = values.slice(0, clusters * FEATURES)
    // Sums over parts round otherwise than one sum: now and then the last bit of a float32 centre.
    const want = lloyd(values, start, iterations)
    const options = { clusters, centers: start, maxIterations: iterations, tolerance: 0 }
    for (const [, own] of devices) {
      const got = await run(values, options, own)
      let differ = 0
      for (let r = 0; r < 3001; r++) if (got.assigned[r] !== want.assigned[r]) differ++
      expect(differ).toBeLessThanOrEqual(1)
      for (let i = 0; i < start.length; i++) expect(Math.abs(got.centers[i] - want.centers[i])).toBeLessThan(1e-3)
    }
    // The first iterations agree in every row, and every bit.
    const first = await run(values, { ...options, maxIterations: 1 })
    expect(first.assigned).toEqual(lloyd(values, start, 1).assigned)
  })

  it('is the same for any number of threads, variant, device and layout', async () => {
    const { values } = clouds(5000, 9, 2)
    const options = { clusters: 20, seed: 5, maxIterations: 15 }
    const want = await run(values, options)
    const columns = Array.from({ length: FEATURES }, (_, f) =>
      Float64Array.from({ length: 5000 }, (_, r) => values[r * FEATURES + f]),
    )
    for (const [, own] of devices) expect(await run(values, options, own)).toEqual(want)
    expect(await kmeans(device, { columns }, options)).toEqual(want)
    expect(await run(values, { ...options, seed: 6 })).not.toEqual(want)
  })

  it('seeds better than by chance', async () => {
    const { values } = clouds(3000, 25, 0.2)
    const clusters = 25
    const seeded: number[] = []
    const random: number[] = []
    for (let seed = 0; seed < 8; seed++) {
      seeded.push((await run(values, { clusters, seed, maxIterations: 0 })).inertia)
      const rng = new TestRandom(seed)
      const centers = new Float32Array(clusters * FEATURES)
      for (let k = 0; k < clusters; k++) {
        const r = rng.integer(0, 2999)
        centers.set(values.subarray(r * FEATURES, (r + 1) * FEATURES), k * FEATURES)
      }
      random.push((await run(values, { clusters, centers, maxIterations: 0 })).inertia)
    }
    expect(Math.max(...seeded)).toBeLessThan(Math.min(...random) / 3)
  })

  it('seeds from a sample where rows are many', async () => {
    const { values, truth } = clouds(70_000, 6)
    const { assigned } = await run(values, { clusters: 6, seed: 1 })
    expect(new Set(Array.from(assigned, (k, r) => `${k} ${truth[r]}`)).size).toBe(6)
  })

  it('fills clusters that lost their rows with the rows farthest off', async () => {
    const { values } = clouds(1000, 3)
    // All but one centre so far away that no row is theirs.
    const centers = new Float32Array(4 * FEATURES).fill(1e6)
    centers.fill(0, 0, FEATURES)
    const { assigned, isConverged } = await run(values, { clusters: 4, centers })
    expect(isConverged).toBe(true)
    expect(new Set(assigned).size).toBe(4)
  })

  it('leaves clusters empty where rows are equal', async () => {
    const values = new Float32Array(40 * FEATURES)
    for (let i = 0; i < 20 * FEATURES; i++) values[i] = 1
    const { assigned, inertia, isConverged } = await run(values, { clusters: 5 })
    expect({ inertia, isConverged, groups: new Set(assigned).size }).toEqual({
      inertia: 0,
      isConverged: true,
      groups: 2,
    })
    const alone = await run(new Float32Array(FEATURES), { clusters: 1 })
    expect(alone).toMatchObject({ inertia: 0, isConverged: true })
    // A cluster for each row.
    const all = clouds(30, 30).values
    expect(await run(all, { clusters: 30 })).toMatchObject({ inertia: 0, isConverged: true })
  })

  it('frees its memory, also when it is stopped', async () => {
    const own = openDevice()
    const { values } = clouds(3000, 4)
    await run(values, { clusters: 4 }, own)
    await own.sync()
    expect(own.info().liveBytes).toBe(0)
    const controller = new AbortController()
    const onProgress = () => controller.abort(new Error('enough'))
    await expect(run(values, { clusters: 30, signal: controller.signal, onProgress }, own)).rejects.toThrow('enough')
    await own.sync()
    expect(own.info().liveBytes).toBe(0)
  })

  it('frees its memory while a chunk of rows still waits', async () => {
    const own = openDevice({ guard: false })
    for (let round = 0; round < 200; round++) {
      const problem = binding.kmeans_create(own.handle, 200, 2, 2, 0, 1)
      const copied = binding.kmeans_append(problem, new Float32Array(400), 0, 200)
      binding.kmeans_dispose(problem)
      for (let i = 0; i < 20; i++) Tensor.zeros(own, 'float32', [64 * (1 + (i % 9))]).dispose()
      await copied
    }
    expect(own.info().liveBytes).toBe(0)
  })

  it('refuses columns that change the problem while they are read', async () => {
    const own = openDevice()
    const problem = binding.kmeans_create(own.handle, 100, 2, 2, 0, 1)
    const column = new Float32Array(100)
    const columns = [column, column]
    let inner: Promise<unknown> | undefined
    Object.defineProperty(columns, 1, {
      get() {
        inner ??= binding.kmeans_append(problem, [column, column], 0, 100)
        return column
      },
    })
    expect(() => binding.kmeans_append(problem, columns, 0, 100)).toThrow(/count to be an integer in \[0, 0\]/)
    await inner
    binding.kmeans_dispose(problem)
  })

  it('refuses what it cannot use', async () => {
    const { values } = clouds(50, 2)
    const bad = (index: number, value: number) => values.map((own, i) => (i === index ? value : own))
    for (const value of [Number.NaN, Number.POSITIVE_INFINITY, -2e15]) {
      await expect(run(bad(23, value), { clusters: 2 })).rejects.toThrow(/row 4, column 3/)
    }
    await expect(run(values, { clusters: 51 })).rejects.toThrow(/clusters to be an integer in \[1, 50\]/)
    await expect(run(values, { clusters: 0 })).rejects.toThrow(/clusters/)
    await expect(run(values, { clusters: 2, maxIterations: -1 })).rejects.toThrow(/maxIterations/)
    await expect(run(values, { clusters: 2, tolerance: Number.NaN })).rejects.toThrow(/tolerance/)
    await expect(run(values, { clusters: 2, centers: new Float32Array(3) })).rejects.toThrow(/10 values/)
    await expect(run(values, { clusters: 2, centers: new Float32Array(10).fill(Number.NaN) })).rejects.toThrow(
      /centers/,
    )
    await expect(run(new Float32Array(0), { clusters: 1 })).rejects.toThrow(/at least one row/)
    await expect(run(values, { cluster: 2 } as never)).rejects.toThrow(/did you mean 'clusters'/)
  })
})
