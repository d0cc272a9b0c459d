// An approximate index of a table of vectors: the hierarchical graphs of USearch, an optional peer (Malkov & Yashunin 2016).
// It proposes rows; they are measured in float64 and ranked by that.

import type { LongCall } from '../events/source.js'
import type { VectorTable } from '../events/table.js'
import { expectOptions, expectRange, SeqriskError } from '../util/errors.js'
import { Pace } from '../util/pace.js'
import { closeness, type Metric, type Neighbours, ranked, squaredLength } from './neighbours.js'
import { TopRows } from './top_rows.js'

export interface VectorIndexOptions extends LongCall {
  /** Default `cosine`. */
  readonly metric?: Metric | undefined
  /** Neighbours that a row is linked to. Default 16. */
  readonly connectivity?: number | undefined
  /** Rows looked at for a place to put one, and for an answer: more find more and take longer. Defaults 128 and 128. */
  readonly expansionAdd?: number | undefined
  readonly expansionSearch?: number | undefined
}

/** What is used of the package. */
interface Graph {
  add(keys: BigUint64Array, vectors: Float32Array, threads: number): void
  search(vectors: Float32Array, count: number, threads: number): { keys: BigUint64Array; counts?: BigUint64Array }
}

type GraphClass = new (options: object) => Graph

const where = 'VectorIndex'
/** Rows or queries per call of the package, which holds the JavaScript thread: about a millisecond. */
const PER_CALL = 4

/** A graph over vectors that finds nearly all of the nearest, by the optional package `usearch`. */
export class VectorIndex {
  readonly table: VectorTable
  readonly metric: Metric
  readonly #graph: Graph

  private constructor(table: VectorTable, metric: Metric, graph: Graph) {
    this.table = table
    this.metric = metric
    this.#graph = graph
  }

  /**
   * Puts every row into a graph, one after the other on one thread: the same table gives the same graph.
   * @throws {RangeError} for values that are not finite or options that do not fit
   * @throws {SeqriskError} code `PACKAGE_MISSING` when usearch is not installed
   */
  static async build(table: VectorTable, options: VectorIndexOptions = {}): Promise<VectorIndex> {
    const known = ['metric', 'connectivity', 'expansionAdd', 'expansionSearch', 'signal', 'onProgress']
    expectOptions(where, options, known)
    const { metric = 'cosine', connectivity = 16, expansionAdd = 128, expansionSearch = 128, signal } = options
    const { ids, width, vectors } = table
    for (const [name, value] of Object.entries({ connectivity, expansionAdd, expansionSearch })) {
      const fits = Number.isInteger(value) && value >= 2 && value <= 65_536
      expectRange(fits, where, `${name} to be a whole number in [2, 65 536]`, value)
    }
    expectRange(ids.length > 0 && width > 0, where, 'a table of one row or more', ids.length)
    expectRange(vectors.length === ids.length * width, where, `${ids.length * width} values`, vectors.length)
    const Graph = await graphClass()
    const graph = new Graph({
      dimensions: width,
      metric: metric === 'cosine' ? 'cos' : 'l2sq',
      quantization: 'f32',
      connectivity,
      expansion_add: expansionAdd,
      expansion_search: expansionSearch,
      multi: false,
    })
    const pace = new Pace(signal)
    for (let row = 0; row < ids.length; row += PER_CALL) {
      const end = Math.min(ids.length, row + PER_CALL)
      for (let r = row; r < end; r++) {
        const square = squaredLength(vectors, r * width, width)
        if (!Number.isFinite(square)) expectRange(false, where, `finite values in the vector of '${ids[r]}'`, square)
      }
      graph.add(
        BigUint64Array.from({ length: end - row }, (_, i) => BigInt(row + i)),
        vectors.subarray(row * width, end * width),
        1,
      )
      options.onProgress?.({ phase: 'index', done: end, total: ids.length })
      await pace.turn()
    }
    return new VectorIndex(table, metric, graph)
  }

  /**
   * Rows near each query: most of the nearest ones, as far as `expansionSearch` reaches.
   * @param queries  (count, width) float32
   */
  async search(
    queries: Float32Array,
    options: { readonly top?: number | undefined; readonly signal?: AbortSignal | undefined } = {},
  ): Promise<Neighbours> {
    expectOptions(where, options, ['top', 'signal'])
    const { top = 10, signal } = options
    const { table, metric } = this
    const { width, vectors } = table
    expectRange(Number.isInteger(top) && top >= 1, where, 'top to be a whole number ≥ 1', top)
    const count = queries.length / width
    expectRange(count >= 1 && count % 1 === 0, where, `queries of ${width} values each`, `${queries.length} values`)
    const pace = new Pace(signal)
    const best = new TopRows(count, top)
    for (let q = 0; q < count; q += PER_CALL) {
      const end = Math.min(count, q + PER_CALL)
      const { keys, counts } = this.#graph.search(queries.subarray(q * width, end * width), top, 1)
      for (let i = q; i < end; i++) {
        const length = Math.sqrt(squaredLength(queries, i * width, width))
        const isQuery = Number.isFinite(length) && (metric === 'euclidean' || length > 0)
        expectRange(isQuery, where, `finite values and a direction in query ${i}`, length)
        // The answer to a single query says by its length how many rows there are.
        const found = counts ? Number(counts[i - q]) : keys.length
        const rows = Array.from(keys.subarray((i - q) * top, (i - q) * top + found), Number).sort((a, b) => a - b)
        for (const row of rows) best.add(i, row, closeness(metric, queries, i, length, vectors, row, width))
      }
      await pace.turn()
    }
    return ranked(best, metric, row => table.ids[row], signal)
  }
}

async function graphClass(): Promise<GraphClass> {
  // Not named in the import: types of an optional package would be wanted where it is not installed.
  const name = 'usearch'
  const found = (await import(name).catch((cause: unknown) => {
    const text = `[${where}] expected the optional package 'usearch' but received none; run npm install usearch`
    throw new SeqriskError('PACKAGE_MISSING', text, { cause })
  })) as { readonly Index: GraphClass }
  return found.Index
}
