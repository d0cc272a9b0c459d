import { describe, expect, it } from 'vitest'
import type { VectorTable } from '../../lib/events/table.js'
import { mapPlot } from '../../lib/report/map_plot.js'
import { toSvg } from '../../lib/report/plot.js'
import { Device } from '../../lib/runtime/device.js'
import { type MapOptions, mapVectors, type VectorMap } from '../../lib/transfer/map.js'
import { principalComponents } from '../../lib/transfer/pca.js'
import { TestRandom } from '../support/random.js'
import { watchTurns } from '../support/turns.js'

const WIDTH = 24

/** Clusters of normal points around centres that lie far apart. */
function clusters(count: number, each: number, distance = 12): VectorTable {
  const random = new TestRandom(count)
  const ids: string[] = []
  const vectors: number[] = []
  for (let c = 0; c < count; c++) {
    const centre = Array.from({ length: WIDTH }, () => (distance * random.normal()) / Math.sqrt(WIDTH))
    for (let i = 0; i < each; i++) {
      ids.push(`${c} ${i}`)
      for (const value of centre) vectors.push(value + random.normal() / Math.sqrt(WIDTH))
    }
  }
  return { ids, width: WIDTH, vectors: Float32Array.from(vectors) }
}

/** Share of points whose nearest point on the map is of their own cluster. */
function purity({ ids, columns: { x, y } }: VectorMap): number {
  let own = 0
  for (let i = 0; i < ids.length; i++) {
    let best = -1
    let least = Number.POSITIVE_INFINITY
    for (let j = 0; j < ids.length; j++) {
      const d = (x[i] - x[j]) ** 2 + (y[i] - y[j]) ** 2
      if (j !== i && d < least) {
        least = d
        best = j
      }
    }
    if (ids[best].split(' ')[0] === ids[i].split(' ')[0]) own++
  }
  return own / ids.length
}

describe('principal components', () => {
  it('are the axes of a cloud whose axes are known', async () => {
    const random = new TestRandom(8)
    const rows = 4000
    const vectors = new Float32Array(rows * 3)
    for (let r = 0; r < rows; r++) {
      const [a, b, c] = [5 * random.normal(), 2 * random.normal(), 0.1 * random.normal()]
      vectors.set([10 + (3 * a - 4 * b) / 5, (4 * a + 3 * b) / 5 - 7, c], r * 3)
    }
    const table = { ids: Array.from({ length: rows }, (_, i) => String(i)), width: 3, vectors }
    const { mean, directions, explained } = await principalComponents(table, 2)
    // Deviations over √4000 rows are 0.08 and 0.03.
    expect(Array.from(mean)).toEqual([expect.closeTo(10, 0), expect.closeTo(-7, 0), expect.closeTo(0, 1)])
    const want = [0.6, 0.8, 0, 0.8, -0.6, 0]
    for (const [i, value] of directions.entries()) expect(Math.abs(value - want[i])).toBeLessThan(0.02)
    expect(explained[0]).toBeCloseTo(25 / 29.01, 1)
    expect(explained[0] + explained[1]).toBeLessThan(1)
  })

  it('solve A·v = λ·v, for columns without variance too', async () => {
    const random = new TestRandom(2)
    const width = 40
    const rows = 500
    const vectors = Float32Array.from({ length: rows * width }, (_, i) =>
      i % width > 30 ? 1 : random.normal() * (i % width),
    )
    const table = { ids: Array.from({ length: rows }, (_, i) => String(i)), width, vectors }
    const { mean, directions, explained } = await principalComponents(table, 5)
    const covariance = (i: number, j: number) => {
      let sum = 0
      for (let r = 0; r < rows; r++) sum += (vectors[r * width + i] - mean[i]) * (vectors[r * width + j] - mean[j])
      return sum / rows
    }
    let total = 0
    for (let i = 0; i < width; i++) total += covariance(i, i)
    for (let k = 0; k < 5; k++) {
      for (let i = 0; i < width; i += 7) {
        let image = 0
        for (let j = 0; j < width; j++) image += covariance(i, j) * directions[k * width + j]
        // Sums of squares up to 30² in float32 products.
        expect(Math.abs(image - explained[k] * total * directions[k * width + i])).toBeLessThan(0.02)
      }
    }
  })
})

const missing = await mapVectors(clusters(2, 10), { method: 'umap', neighbours: 3, epochs: 1 }).then(
  () => null,
  (error: { code: string; message: string }) => error,
)

describe('mapVectors', () => {
  it('keeps clusters apart, and is the same each time', async () => {
    const table = clusters(3, 100)
    const map = await mapVectors(table)
    expect(purity(map)).toBe(1)
    expect(map.explained!.every(share => share > 0.2)).toBe(true)
    for (const threads of [1, 2]) {
      const device = new Device({ threads })
      expect(await mapVectors(table, { device })).toEqual(map)
      device.close()
    }
    // Points of one place are one point.
    const same = await mapVectors({ ids: ['a', 'b'], width: 2, vectors: Float32Array.of(1, 2, 1, 2) })
    expect(Array.from(same.columns.x)).toEqual([0, 0])
  })

  it('lets the event loop run, and stops when told to', { retry: 2, timeout: 120_000 }, async () => {
    const random = new TestRandom(1)
    const rows = 150_000
    const table = {
      ids: Array.from({ length: rows }, (_, i) => String(i)),
      width: 64,
      vectors: Float32Array.from({ length: rows * 64 }, () => random.next()),
    }
    const { longest } = await watchTurns(() => mapVectors(table))
    expect(longest).toBeLessThan(25)
    const controller = new AbortController()
    const onProgress = () => controller.abort(new Error('enough'))
    await expect(mapVectors(table, { signal: controller.signal, onProgress })).rejects.toThrow('enough')
  })

  it('refuses what it cannot draw', async () => {
    const table = clusters(2, 5)
    await expect(mapVectors({ ...table, vectors: table.vectors.with(3, Number.NaN) })).rejects.toThrow(/finite vectors/)
    await expect(mapVectors({ ids: ['a'], width: 1, vectors: Float32Array.of(1) })).rejects.toThrow(/width 2 or more/)
    await expect(mapVectors(table, { method: 'tsne' as 'pca' })).rejects.toThrow(/'pca' or 'umap'/)
    await expect(mapVectors(table, { method: 'umap', neighbours: 10 })).rejects.toThrow(/neighbours .* \[2, 9\]/)
  })

  it.runIf(missing)('names the package that is missing', () => {
    expect(missing).toMatchObject({ code: 'PACKAGE_MISSING' })
    expect(missing!.message).toContain('npm install umap-js')
  })

  it.skipIf(missing)('keeps more clusters apart with UMAP (skipped where umap-js is not installed)', async () => {
    // So many clusters do not fit two directions.
    const table = clusters(24, 20, 5)
    const options: MapOptions = { method: 'umap', neighbours: 10, epochs: 200, seed: 3 }
    const map = await mapVectors(table, options)
    expect(purity(map)).toBe(1)
    expect(purity(await mapVectors(table))).toBeLessThan(1)
    expect(await mapVectors(table, options)).toEqual(map)
    expect(await mapVectors(table, { ...options, seed: 4 })).not.toEqual(map)
  })

  it.skipIf(missing)('rejects with what a callback of progress throws', async () => {
    const onProgress = ({ phase }: { readonly phase: string }) => {
      if (phase === 'umap') throw new Error('a slip of the caller')
    }
    const options: MapOptions = { method: 'umap', epochs: 100_000, onProgress }
    await expect(mapVectors(clusters(8, 20), options)).rejects.toThrow('a slip of the caller')
  })

  it.skipIf(missing)('runs UMAP in a thread that stops when told to', { retry: 2, timeout: 120_000 }, async () => {
    const table = clusters(8, 250)
    const controller = new AbortController()
    const begun = performance.now()
    const { longest } = await watchTurns(() =>
      mapVectors(table, {
        method: 'umap',
        epochs: 100_000,
        signal: controller.signal,
        onProgress: ({ phase, done }) => {
          if (phase === 'umap' && done > 20) controller.abort(new Error('enough'))
        },
      }).catch((error: Error) => expect(error.message).toBe('enough')),
    )
    expect(controller.signal.aborted).toBe(true)
    expect(longest).toBeLessThan(25)
    expect(performance.now() - begun).toBeLessThan(60_000)
  })
})

describe('mapPlot', () => {
  const ids = Array.from({ length: 45_000 }, (_, i) => String(i))
  const columns = { x: Float64Array.from(ids, Number), y: Float64Array.from(ids, id => -Number(id)) }

  it('draws evenly spaced points of a large map', () => {
    const { drawn, specification } = mapPlot({ title: 'Map' }, { ids, columns })
    expect(drawn).toBe(20_000)
    const { values } = (specification as { data: { values: { x: number }[] } }).data
    expect(values.length).toBe(20_000)
    expect(values.at(-1)!.x).toBeGreaterThan(44_990)
  })

  it('colours by label: frequent ones by name, the rest as other, none as unknown', async () => {
    const some = { ids: ids.slice(0, 90), columns: { x: columns.x.slice(0, 90), y: columns.y.slice(0, 90) } }
    const labels = new Map(some.ids.map((id, i) => [id, i < 60 ? `kind ${i % 5}` : i < 80 ? `rare ${i}` : '']))
    const svg = await toSvg(mapPlot({ title: 'Map', subtitle: 'kind' }, some, labels).specification)
    for (const text of ['kind 0', 'kind 4', 'unknown', 'other']) expect(svg).toContain(text)
    expect(svg).not.toContain('rare')
    expect(svg.match(/aria-roledescription="circle"/g)?.length).toBe(90)
  })
})
