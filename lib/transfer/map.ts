// Vectors brought down to two dimensions, to be looked at.

import type { LongCall } from '../events/source.js'
import type { FeatureTable, VectorTable } from '../events/table.js'
import type { Device } from '../runtime/device.js'
import { expectOptions, expectRange } from '../util/errors.js'
import { Pace } from '../util/pace.js'
import { nearest } from './nearest.js'
import type { Metric } from './neighbours.js'
import { principalComponents } from './pca.js'
import { runUmap } from './umap.js'
import type { VectorIndex } from './vector_index.js'

/** How vectors are drawn in two dimensions. */
export type MapMethod = 'pca' | 'umap'

export interface MapOptions extends LongCall {
  /**
   * Default `pca`: the two directions of largest variance, fast at any size. `umap`: keeps neighbours together (McInnes et
   * al. 2018), by the optional package umap-js; minutes from some ten thousand rows on.
   */
  readonly method?: MapMethod | undefined
  /** UMAP: neighbours that a row is kept near to. Default 15. */
  readonly neighbours?: number | undefined
  /** UMAP: how close points may lie. Default 0.1. */
  readonly minDist?: number | undefined
  /** UMAP: passes over the neighbours. Default 500 for small tables, 200 for large ones. */
  readonly epochs?: number | undefined
  /** UMAP: by which the neighbours are found. Default `cosine`. */
  readonly metric?: Metric | undefined
  /** UMAP: where neighbours are looked for; see `nearest`. Default `exact`. */
  readonly index?: 'exact' | 'usearch' | VectorIndex | undefined
  /** UMAP. Default 0. */
  readonly seed?: number | undefined
  readonly device?: Device | undefined
}

/** A place for each entity, in the columns x and y. */
export interface VectorMap extends FeatureTable {
  readonly columns: { readonly x: Float64Array; readonly y: Float64Array }
  /** PCA: share of the variance along x and along y. */
  readonly explained?: readonly [number, number]
}

const where = 'mapVectors'
/** UMAP starts from the principal components, in a square of this half width. */
const START = 10

/**
 * A map of vectors: same table, options and kind of device, same places.
 * @throws {RangeError} for vectors that are not finite, fewer than two columns, fewer rows than neighbours
 * @throws {SeqriskError} code `PACKAGE_MISSING` for UMAP without the package
 */
export async function mapVectors(table: VectorTable, options: MapOptions = {}): Promise<VectorMap> {
  const own = ['method', 'neighbours', 'minDist', 'epochs', 'metric', 'index', 'seed', 'device']
  expectOptions(where, options, [...own, 'signal', 'onProgress'])
  const { method = 'pca', neighbours = 15, minDist = 0.1, epochs = 0, seed = 0, device, signal, onProgress } = options
  expectRange(method === 'pca' || method === 'umap', where, "method 'pca' or 'umap'", method)
  expectRange(table.width >= 2, where, 'vectors of width 2 or more', table.width)
  const isUmap = method === 'umap'
  if (isUmap) {
    const fits = Number.isInteger(neighbours) && neighbours >= 2 && neighbours < table.ids.length
    expectRange(fits, where, `neighbours to be a whole number in [2, ${table.ids.length - 1}]`, neighbours)
    expectRange(minDist >= 0 && minDist <= 1, where, 'minDist in [0, 1]', minDist)
    expectRange(Number.isInteger(epochs) && epochs >= 0, where, 'epochs to be a whole number', epochs)
    expectRange(Number.isInteger(seed) && seed >= 0, where, 'seed to be a whole number', seed)
  }
  const components = await principalComponents(table, 2, { device, signal, onProgress })
  const start = await project(table, components, signal)
  if (!isUmap) return { ids: table.ids, columns: start, explained: [components.explained[0], components.explained[1]] }
  const largest = [start.x, start.y].reduce((most, list) => list.reduce((m, v) => Math.max(m, Math.abs(v)), most), 0)
  const scale = START / (largest || 1)
  const { metric, index } = options
  // Each row finds itself too.
  const top = neighbours + 1
  const found = await nearest(table, table.vectors, { top, metric, index, device, signal, onProgress })
  const places = await runUmap(
    { rows: found.rows, scores: found.scores, top, isCosine: metric !== 'euclidean' },
    { x: start.x.map(value => value * scale), y: start.y.map(value => value * scale) },
    { neighbours, minDist, epochs, seed, signal, onProgress },
  )
  return { ids: table.ids, columns: places }
}

async function project(
  { ids, width, vectors }: VectorTable,
  { mean, directions }: { readonly mean: Float64Array; readonly directions: Float64Array },
  signal?: AbortSignal,
) {
  const x = new Float64Array(ids.length)
  const y = new Float64Array(ids.length)
  const pace = new Pace(signal)
  for (let row = 0; row < ids.length; row++) {
    for (let i = 0; i < width; i++) {
      const value = vectors[row * width + i] - mean[i]
      x[row] += value * directions[i]
      y[row] += value * directions[width + i]
    }
    if (row % 1024 === 0) await pace.turn()
  }
  return { x, y }
}
