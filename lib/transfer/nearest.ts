// The nearest rows of a table of vectors. A matrix product finds candidates; those are measured in float64 and ranked by
// that, so that what comes out does not depend on the order of sums, the kernel or the device.

import type { LongCall } from '../events/source.js'
import type { VectorTable } from '../events/table.js'
import { l2Normalize } from '../ops/l2_normalize.js'
import { linear } from '../ops/linear.js'
import { Device } from '../runtime/device.js'
import { keep, scope, Tensor } from '../runtime/tensor.js'
import { expectOptions, expectRange } from '../util/errors.js'
import { Pace } from '../util/pace.js'
import { closeness, type Metric, type Neighbours, ranked, squaredLength } from './neighbours.js'
import { TopRows } from './top_rows.js'
import { VectorIndex } from './vector_index.js'

/** A table in memory, or its blocks one after the other, such as `readVectorBlocks` gives: those are never held together. */
export type Vectors = VectorTable | AsyncIterable<VectorTable>

export interface NearestOptions extends LongCall {
  /** Rows per query. Default 10. */
  readonly top?: number | undefined
  /** Default `cosine`. */
  readonly metric?: Metric | undefined
  /**
   * Default `exact`. `usearch`: through an approximate index of the optional package of that name, built for this call; a
   * `VectorIndex` of this table saves the building.
   */
  readonly index?: 'exact' | 'usearch' | VectorIndex | undefined
  /** Where to multiply. Default: a device of its own for the call. */
  readonly device?: Device | undefined
}

const where = 'nearest'
/** Values that are copied to the device at a time: holds the JavaScript thread for about a millisecond. */
const CHUNK_VALUES = 1 << 19
/** Queries of one product: with a chunk of rows, about a million scores. */
const QUERIES = 256
/** Queries whose scores are looked at between two turns of the event loop. */
const SCANNED = 8
/** `l2Normalize` leaves shorter rows short: they are scaled before. */
const SHORT = 1e-12

/**
 * For each query, the rows that are nearest to it. Rows of zeros have a cosine of 0 to everything. Equal scores: the earlier
 * row first.
 * @param queries  (count, width) float32
 * @throws {RangeError} for values that are not finite, queries of zeros, sizes that do not fit
 * @throws {SeqriskError} code `PACKAGE_MISSING` for an index without the package
 */
export async function nearest(
  table: Vectors,
  queries: Float32Array,
  options: NearestOptions = {},
): Promise<Neighbours> {
  expectOptions(where, options, ['top', 'metric', 'index', 'device', 'signal', 'onProgress'])
  const { top = 10, metric = 'cosine', index = 'exact', signal } = options
  signal?.throwIfAborted()
  expectRange(Number.isInteger(top) && top >= 1 && top <= 65_536, where, 'top in [1, 65 536]', top)
  expectRange(metric === 'cosine' || metric === 'euclidean', where, "metric 'cosine' or 'euclidean'", metric)
  if (index === 'exact') return exact(table, queries, top, metric, options)
  const isKnown = index === 'usearch' || index instanceof VectorIndex
  expectRange(isKnown, where, "index 'exact', 'usearch' or a VectorIndex", index)
  expectRange('ids' in table, where, 'a whole table beside an index', 'blocks', 'read it with readVectors')
  const whole = table as VectorTable
  const built =
    index === 'usearch' ? await VectorIndex.build(whole, { metric, signal, onProgress: options.onProgress }) : index
  expectRange(built.table === whole, where, 'an index of this table', 'that of another one')
  expectRange(built.metric === metric, where, `an index by ${metric}`, `one by ${built.metric}`)
  return built.search(queries, { top, signal })
}

async function exact(
  table: Vectors,
  queries: Float32Array,
  top: number,
  metric: Metric,
  options: NearestOptions,
): Promise<Neighbours> {
  const pace = new Pace(options.signal)
  let search: Search | null = null
  const ids: Map<number, string> | null = 'ids' in table ? null : new Map()
  let rows = 0
  try {
    for await (const block of 'ids' in table ? [table] : table) {
      search ??= await Search.open(queries, block.width, top, metric, options, 'ids' in table ? table.ids.length : 0)
      await search.addBlock(block, rows, 'ids' in table ? block.ids.length : Number.NaN)
      if (ids) {
        await search.finish()
        for (const row of search.best.rows) if (row >= rows) ids.set(row, block.ids[row - rows])
        await pace.turn()
      }
      rows += block.ids.length
    }
    expectRange(rows > 0, where, 'a table of one row or more', 0)
    await search!.finish()
    const idOf = (row: number) => ids?.get(row) ?? (table as VectorTable).ids[row]
    return await ranked(search!.best, metric, idOf, options.signal)
  } finally {
    search?.dispose()
  }
}

/** A product on its way. */
interface Waiting {
  readonly scores: Promise<Float32Array>
  readonly chunk: Float32Array
  readonly firstRow: number
  readonly firstQuery: number
  readonly queries: number
  /** How far the product's scores may be off. */
  readonly slack: number
}

/** The queries on a device, and the best rows so far. */
class Search {
  readonly best: TopRows
  readonly #queries: Float32Array
  readonly #lengths: Float64Array
  readonly #width: number
  readonly #metric: Metric
  readonly #device: Device
  readonly #ownsDevice: boolean
  readonly #groups: Tensor<'float32'>[] = []
  readonly #pace: Pace
  readonly #options: NearestOptions
  #waiting: Waiting | null = null

  static async open(
    queries: Float32Array,
    width: number,
    top: number,
    metric: Metric,
    options: NearestOptions,
    rows: number,
  ): Promise<Search> {
    expectRange(Number.isInteger(width) && width > 0, where, 'vectors of width ≥ 1', width)
    const isWhole = queries.length > 0 && queries.length % width === 0
    expectRange(isWhole, where, `queries of ${width} values each`, `${queries.length} values`)
    const count = queries.length / width
    const lengths = new Float64Array(count)
    const pace = new Pace(options.signal)
    for (let q = 0; q < count; q++) {
      const own = queries.subarray(q * width, (q + 1) * width)
      lengths[q] = Math.sqrt(squaredLength(own, 0, width))
      expectRange(Number.isFinite(lengths[q]), where, `finite values in query ${q}`, lengths[q])
      expectRange(metric !== 'cosine' || lengths[q] > 0, where, 'queries with a direction', `zeros in query ${q}`)
      if (q % QUERIES === 0) await pace.turn()
    }
    const device = options.device ?? new Device({ work: rows * queries.length })
    const search = new Search(queries, lengths, width, top, metric, device, options)
    try {
      for (let q = 0; q < count; q += QUERIES) {
        search.#addGroup(q, Math.min(count, q + QUERIES))
        await pace.turn()
      }
    } catch (error) {
      search.dispose()
      throw error
    }
    return search
  }

  private constructor(
    queries: Float32Array,
    lengths: Float64Array,
    width: number,
    top: number,
    metric: Metric,
    device: Device,
    options: NearestOptions,
  ) {
    this.best = new TopRows(lengths.length, top)
    this.#queries = queries
    this.#lengths = lengths
    this.#width = width
    this.#metric = metric
    this.#device = device
    this.#ownsDevice = !options.device
    this.#options = options
    this.#pace = new Pace(options.signal)
  }

  /** Puts some queries on the device. */
  #addGroup(begin: number, end: number): void {
    const width = this.#width
    const scaled = this.#queries.slice(begin * width, end * width)
    for (let q = begin, at = 0; q < end && this.#metric === 'cosine'; q++) {
      const scale = 1 / this.#lengths[q]
      for (let i = 0; i < width; i++) scaled[at++] *= scale
    }
    this.#groups.push(keep(Tensor.from(this.#device, scaled, [end - begin, width])))
  }

  /** Looks at the rows of a block; what the last product found is known after `finish`. */
  async addBlock(block: VectorTable, firstRow: number, total: number): Promise<void> {
    const { ids, vectors, width } = block
    expectRange(width === this.#width, where, `vectors of width ${this.#width}`, width)
    const size = `${ids.length * width} values (${ids.length} × ${width})`
    expectRange(vectors.length === ids.length * width, where, size, vectors.length)
    const step = Math.max(1, Math.floor(CHUNK_VALUES / width))
    for (let begin = 0; begin < ids.length; begin += step) {
      const rows = Math.min(step, ids.length - begin)
      const chunk = vectors.subarray(begin * width, (begin + rows) * width)
      // Half the squared length, taken off the product, ranks by distance: |q − x|² = |q|² − 2·(q·x − ½|x|²).
      const halves = new Float32Array(rows)
      let longest = 0
      let scaled: Float32Array | null = null
      for (let r = 0; r < rows; r++) {
        const square = squaredLength(chunk, r * width, width)
        if (!Number.isFinite(square)) {
          expectRange(false, where, `finite values in the vector of '${ids[begin + r]}'`, square, 'encode it again')
        }
        if (this.#metric === 'cosine' && square > 0 && square < SHORT * SHORT) {
          scaled ??= chunk.slice()
          for (let i = r * width; i < (r + 1) * width; i++) scaled[i] = chunk[i] / Math.sqrt(square)
        }
        halves[r] = -square / 2
        longest = Math.max(longest, square)
      }
      const weights = scope(() => {
        const x = Tensor.from(this.#device, scaled ?? chunk, [rows, width])
        return keep(this.#metric === 'cosine' ? l2Normalize(x) : x)
      })
      const bias = this.#metric === 'cosine' ? null : keep(Tensor.from(this.#device, halves))
      try {
        for (const [g, group] of this.#groups.entries()) {
          const product = scope(() => keep(linear(group, weights, bias)))
          const scores = product.read()
          scores.catch(() => {})
          product.dispose()
          // While the device multiplies, the product before is looked at.
          await this.#scan()
          const firstQuery = g * QUERIES
          const slack = this.#slack(firstQuery, group.shape[0], Math.sqrt(longest))
          this.#waiting = { scores, chunk, firstRow: firstRow + begin, firstQuery, queries: group.shape[0], slack }
          await this.#pace.turn()
        }
      } finally {
        weights.dispose()
        bias?.dispose()
      }
      this.#options.onProgress?.({ phase: 'search', done: firstRow + begin + rows, total })
    }
  }

  async finish(): Promise<void> {
    await this.#scan()
  }

  /** Bound of what float32 may be off: a chain of width + 2 multiply-adds, each half an ulp of the largest sum. */
  #slack(firstQuery: number, queries: number, longest: number): number {
    const ulps = (this.#width + 8) * 2 ** -24
    if (this.#metric === 'cosine') return 2 * ulps
    let query = 0
    for (let q = firstQuery; q < firstQuery + queries; q++) query = Math.max(query, this.#lengths[q])
    return 2 * ulps * longest * (query + longest)
  }

  async #scan(): Promise<void> {
    if (!this.#waiting) return
    const { scores: promise, chunk, firstRow, firstQuery, queries, slack } = this.#waiting
    this.#waiting = null
    const scores = await promise
    const rows = scores.length / queries
    const { best } = this
    const isCosine = this.#metric === 'cosine'
    for (let i = 0; i < queries; i++) {
      const q = firstQuery + i
      const square = this.#lengths[q] ** 2
      // The product's score at which a row is as good as the worst one kept, if it is off in the row's favour.
      const floor = () => {
        const worst = best.worst(q)
        return (isCosine ? worst : (square + worst) / 2) - slack
      }
      let bar = floor()
      for (let r = 0, at = i * rows; r < rows; r++, at++) {
        if (scores[at] < bar) continue
        best.add(q, firstRow + r, this.#measure(q, chunk, r))
        bar = floor()
      }
      if (i % SCANNED === SCANNED - 1) await this.#pace.turn()
    }
  }

  /** The cosine, or minus the squared distance, in float64. */
  #measure(query: number, chunk: Float32Array, row: number): number {
    return closeness(this.#metric, this.#queries, query, this.#lengths[query], chunk, row, this.#width)
  }

  dispose(): void {
    for (const group of this.#groups) group.dispose()
    if (this.#ownsDevice) this.#device.close()
  }
}
