// Binned matrices: every value as the number of its bin, in native memory. Binned once, trained on often.

import type { BinnedColumn, BinnedHandle, NumberArray } from '../../binding.js'
import { binding } from '../native.js'
import { inChunks } from '../util/chunks.js'
import { expectOptions, expectRange, expectType, sentence } from '../util/errors.js'
import { inTurns, type Steps } from '../util/pace.js'
import { Philox } from '../util/philox.js'
import type { Device } from './device.js'
import { fastPhilox } from './random.js'

export type { BinnedColumn, NumberArray } from '../../binding.js'

/** Columns of equal length, by name or in order; or one row-major array of that many features a row. */
export type TableData =
  | { readonly columns: readonly NumberArray[] | Readonly<Record<string, NumberArray>> }
  | { readonly values: NumberArray; readonly features: number }

/** What `BinnedMatrix.from` can be told. */
export interface BinnedMatrixOptions {
  /** Names of the columns. Default: those of `data`, or Column_0, Column_1, … as LightGBM calls them. */
  readonly names?: readonly string[] | undefined
  /** Columns whose values are category codes, whole numbers from 0 to 1048575 with −1 or NaN for missing: numbers or names of columns. */
  readonly categorical?: readonly (number | string)[] | undefined
  /** Most bins of a column, with the one for NaN or for unknown categories. Default 255. */
  readonly maxBin?: number | undefined
  /** Fewest sampled values in a bin. Default 3. */
  readonly minDataInBin?: number | undefined
  /** Rows that the bins are learned from; all when there are fewer. Default 200 000. */
  readonly sampleRows?: number | undefined
  /** Of the sample. Default 0. */
  readonly seed?: number | undefined
  /**
   * From 0, one for each row: bins are then quantiles of the weight. Whole weights with a sum up to `sampleRows` give the bins
   * of as many copies. Default all alike.
   */
  readonly weights?: NumberArray | undefined
  readonly signal?: AbortSignal | undefined
}

// As native/ops/gbrt_rows.h groups features.
const GROUP_FEATURES = 16
const SAMPLE_STREAM = 0x62
/** Rows that are drawn between two looks at the clock: less than a millisecond. */
const ROWS_PER_STEP = 16_384
/** As native/trees/bin_bounds.h has it. */
const MOST_CATEGORY = 1_048_575

/** Rows as bins of at most 255 per column, in a device's memory. */
export class BinnedMatrix {
  readonly device: Device
  readonly handle: BinnedHandle
  readonly rows: number
  readonly names: readonly string[]
  readonly columns: readonly BinnedColumn[]

  private constructor(device: Device, handle: BinnedHandle, rows: number, names: readonly string[]) {
    this.device = device
    this.handle = handle
    this.rows = rows
    this.names = names
    this.columns = binding.binned_columns(handle)
  }

  /** Number of columns. */
  get features(): number {
    return this.names.length
  }

  /**
   * Learns bins from `data` and bins it. Bounds lie midway between values; a column of few distinct values keeps them
   * apart; NaN has a bin of its own; infinities are values; −0 is 0.
   * @throws {RangeError} for columns of different lengths, no rows, or categories that are no whole numbers from −1 to 1048575
   */
  static async from(device: Device, data: TableData, options: BinnedMatrixOptions = {}): Promise<BinnedMatrix> {
    expectOptions('BinnedMatrix', options, [
      'names',
      'categorical',
      'maxBin',
      'minDataInBin',
      'sampleRows',
      'seed',
      'weights',
      'signal',
    ])
    const { maxBin = 255, minDataInBin = 3, sampleRows = 200_000, seed = 0, weights, signal } = options
    const table = tableOf(data, options.names)
    expectRange(Number.isInteger(sampleRows) && sampleRows > 0, 'BinnedMatrix', 'sampleRows from 1', sampleRows)
    const categorical = new Uint8Array(table.names.length)
    for (const column of options.categorical ?? []) {
      const index = typeof column === 'number' ? column : table.names.indexOf(column)
      expectRange(table.names[index] !== undefined, 'BinnedMatrix', 'categorical to name columns', column)
      categorical[index] = 1
    }
    const handle = binding.binned_create(device.handle, table.names.length, maxBin, minDataInBin, categorical)
    return orFreed(handle, async () => {
      const { rows } = table
      for (const [f, flag] of categorical.entries()) if (flag) await inTurns(categorySteps(table, f), signal)
      const draw = weights ? weightedSteps(rows, weights, sampleRows, seed) : sampleSteps(rows, sampleRows, seed)
      const sample = await inTurns(draw, signal)
      for (let f = 0; f < table.names.length; f++) {
        const { values, first, stride } = table.column(f)
        binding.binned_sample(handle, f, values, first, stride, sample?.length ?? table.rows, sample)
        if (f % 8 === 7) await turn(signal)
      }
      await binding.binned_learn(handle)
      return BinnedMatrix.#fill(device, handle, table, signal)
    })
  }

  /**
   * Bins other rows as this matrix's were; columns in the same order. Categories that it does not have, any number below 0 and
   * NaN share a bin; a fraction counts as the whole number below it.
   */
  async like(data: TableData, options: Pick<BinnedMatrixOptions, 'signal'> = {}): Promise<BinnedMatrix> {
    const table = tableOf(data, undefined)
    expectRange(table.names.length === this.features, 'BinnedMatrix', `${this.features} columns`, table.names.length)
    table.names = this.names
    const handle = binding.binned_like(this.handle)
    return orFreed(handle, () => BinnedMatrix.#fill(this.device, handle, table, options.signal))
  }

  static async #fill(
    device: Device,
    handle: BinnedHandle,
    table: Table,
    signal: AbortSignal | undefined,
  ): Promise<BinnedMatrix> {
    const { rows, names, source } = table
    const matrix = new BinnedMatrix(device, handle, rows, names)
    binding.binned_reserve(handle, rows)
    const put = async (row: number, count: number) => {
      await binding.binned_append(handle, row, source, row, count)
    }
    await inChunks(rows, names.length, put, { signal, multiple: 512 })
    return matrix
  }

  /**
   * A matrix of bins that were kept elsewhere.
   * @param kept  what `readKept` gave, in pieces of any size
   * @throws {RangeError} for columns that cannot be, or bins that they do not have
   */
  static async restore(
    device: Device,
    { rows, names, columns }: Pick<BinnedMatrix, 'rows' | 'names' | 'columns'>,
    kept: AsyncIterable<Uint8Array>,
  ): Promise<BinnedMatrix> {
    expectRange(names.length === columns.length, 'BinnedMatrix', `${columns.length} names`, names.length)
    const handle = binding.binned_restore(
      device.handle,
      Uint8Array.from(columns, column => Number(column.isCategorical)),
      Uint8Array.from(columns, column => Number(column.hasNaN)),
      Int32Array.from(columns, column => column.bounds.length),
      Float64Array.from(columns.flatMap(column => [...column.bounds])),
      Uint8Array.from(columns.flatMap(column => [...column.binOf])),
    )
    return orFreed(handle, async () => {
      binding.binned_reserve(handle, rows)
      const matrix = new BinnedMatrix(device, handle, rows, names)
      let at = 0
      for await (const piece of kept) {
        await binding.binned_put(handle, at, piece)
        at += piece.length
      }
      expectRange(at === rows * columns.length, 'BinnedMatrix', `${rows * columns.length} bins`, at)
      await binding.binned_check(handle)
      return matrix
    })
  }

  /** The bins in the order in which memory keeps them, for `restore`. */
  readKept(): Promise<Uint8Array<ArrayBuffer>> {
    return binding.binned_read(this.handle, 0, this.rows * this.features)
  }

  /** The bins, row by row. */
  async read(): Promise<Uint8Array<ArrayBuffer>> {
    const { rows, features } = this
    const out = new Uint8Array(rows * features)
    for (const { first, width } of groupsOf(features)) {
      const grouped = await binding.binned_read(this.handle, first * rows, width * rows)
      for (let row = 0, at = 0; row < rows; row++) {
        for (let f = 0; f < width; f++) out[row * features + first + f] = grouped[at++]
      }
    }
    return out
  }

  /** The bins of some rows, (rows.length, features). */
  async readRows(rows: Int32Array): Promise<Uint8Array<ArrayBuffer>> {
    const { features } = this
    let [low, high] = [this.rows, 0]
    for (const row of rows) {
      const isRow = row >= 0 && row < this.rows
      if (!isRow) expectRange(false, 'BinnedMatrix', `rows below ${this.rows}`, row)
      if (row < low) low = row
      if (row >= high) high = row + 1
    }
    const out = new Uint8Array(rows.length * features)
    if (rows.length === 0) return out
    for (const { first, width } of groupsOf(features)) {
      const start = first * this.rows + low * width
      const grouped = await binding.binned_read(this.handle, start, (high - low) * width)
      for (let i = 0; i < rows.length; i++) {
        const at = (rows[i] - low) * width
        for (let f = 0; f < width; f++) out[i * features + first + f] = grouped[at + f]
      }
    }
    return out
  }

  /** Frees the bins; trainers that were made before keep them. */
  dispose(): void {
    binding.binned_dispose(this.handle)
  }
}

/** Features that memory keeps together, row after row; one group after the other. */
function* groupsOf(features: number): Generator<{ first: number; width: number }> {
  const groups = Math.ceil(features / GROUP_FEATURES)
  for (let g = 0; g < groups; g++) {
    const first = Math.floor((features * g) / groups)
    yield { first, width: Math.floor((features * (g + 1)) / groups) - first }
  }
}

/** The matrix that is made of a handle; what the handle holds is freed when that fails. */
async function orFreed(handle: BinnedHandle, make: () => Promise<BinnedMatrix>): Promise<BinnedMatrix> {
  try {
    return await make()
  } catch (error) {
    binding.binned_dispose(handle)
    throw error
  }
}

interface Table {
  rows: number
  names: readonly string[]
  source: NumberArray | readonly NumberArray[]
  column(f: number): { values: NumberArray; first: number; stride: number }
}

function tableOf(data: TableData, names: readonly string[] | undefined): Table {
  let table: Table
  if ('values' in data) {
    const { values, features } = data
    expectRange(Number.isInteger(features) && features > 0, 'BinnedMatrix', 'features from 1', features)
    expectRange(values.length % features === 0, 'BinnedMatrix', `rows of ${features} values`, values.length)
    table = {
      rows: values.length / features,
      names: names ?? numberedNames(features),
      source: values,
      column: f => ({ values, first: f, stride: features }),
    }
    expectRange(table.names.length === features, 'BinnedMatrix', `${features} names`, table.names.length)
  } else {
    expectType(data.columns !== null && typeof data.columns === 'object', 'BinnedMatrix', 'columns', data.columns)
    const columns: readonly NumberArray[] = Array.isArray(data.columns) ? data.columns : Object.values(data.columns)
    const own = Array.isArray(data.columns) ? numberedNames(columns.length) : Object.keys(data.columns)
    const length = columns[0]?.length ?? 0
    for (const [f, column] of columns.entries()) {
      expectTyped('BinnedMatrix', own[f], column)
      const expected = `columns of ${length} rows`
      if (column.length !== length) {
        throw new RangeError(sentence('BinnedMatrix', expected, column.length, `column ${own[f]} differs`))
      }
    }
    table = {
      rows: length,
      names: names ?? own,
      source: columns,
      column: f => ({ values: columns[f], first: 0, stride: 1 }),
    }
    expectRange(table.names.length === columns.length, 'BinnedMatrix', `${columns.length} names`, table.names.length)
  }
  expectRange(table.names.length > 0 && table.rows > 0, 'BinnedMatrix', 'at least one row and one column', table.rows)
  return table
}

/** Names of columns that have none, as LightGBM calls them. */
export const numberedNames = (count: number) => Array.from({ length: count }, (_, f) => `Column_${f}`)

/** @throws {TypeError} for a column that is no typed array, by its name */
export function expectTyped(where: string, name: string, column: unknown): void {
  const isTyped = ArrayBuffer.isView(column) && !(column instanceof DataView)
  const advice = 'Float64Array.from makes one of numbers, tableLayout and columnsOfLayout make codes of text'
  expectType(isTyped, where, `a typed array of numbers in column '${name}'`, column, advice)
}

/** Looks at all rows, as those beyond the sample have bins too. */
function* categorySteps({ rows, names, column }: Table, f: number): Steps<void> {
  const { values, first, stride } = column(f)
  for (let row = 0; row < rows; row++) {
    if (row % ROWS_PER_STEP === 0) yield
    const code = values[first + row * stride]
    if ((Number.isInteger(code) && code >= -1 && code <= MOST_CATEGORY) || Number.isNaN(code)) continue
    const expected = `categories of '${names[f]}' as whole numbers from 0 to ${MOST_CATEGORY}, row ${row}`
    expectRange(false, 'BinnedMatrix', expected, code, 'number them from 0; missing ones are -1 or NaN')
  }
}

/** Every row equally likely, in order; null when all are taken. */
function* sampleSteps(rows: number, wanted: number, seed: number): Steps<Int32Array | null> {
  if (rows <= wanted) return null
  const random = fastPhilox(seed, SAMPLE_STREAM)
  const sample = new Int32Array(wanted)
  // Knuth, TAOCP 2, 3.4.2, algorithm S.
  for (let row = 0, taken = 0; taken < wanted; row++) {
    if (row % ROWS_PER_STEP === 0) yield
    if ((rows - row) * (random.uint32() / 0x100000000) < wanted - taken) sample[taken++] = row
  }
  return sample
}

/**
 * Rows as often as they weigh where that can be; else drawn in proportion to their weight, at equal steps along its sum, so
 * that none is drawn more than once too often or too seldom.
 */
function* weightedSteps(rows: number, weights: NumberArray, most: number, seed: number): Steps<Int32Array> {
  expectRange(weights.length === rows, 'BinnedMatrix', `${rows} weights`, weights.length)
  let total = 0
  let used = 0
  let areWhole = true
  for (let row = 0; row < rows; row++) {
    if (row % ROWS_PER_STEP === 0) yield
    const weight = weights[row]
    if (!(weight >= 0 && weight < Number.POSITIVE_INFINITY)) {
      expectRange(false, 'BinnedMatrix', `weights from 0 that are finite, row ${row}`, weight)
    }
    total += weight
    if (weight > 0) used++
    areWhole &&= Number.isInteger(weight)
  }
  expectRange(total > 0, 'BinnedMatrix', 'a weight above 0', 'none')
  const isExact = areWhole && total <= most
  const wanted = isExact ? total : Math.min(used, most)
  const sample = new Int32Array(wanted)
  // Steps of whole weights fall in the middle of a unit.
  const start = isExact ? 0.5 : new Philox(seed, SAMPLE_STREAM).uint32() / 0x100000000
  let sum = 0
  let at = 0
  for (let row = 0; row < rows; row++) {
    if (row % ROWS_PER_STEP === 0) yield
    sum += weights[row]
    while (at < wanted && ((at + start) / wanted) * total < sum) sample[at++] = row
  }
  // Rounding may leave the last step beyond the sum.
  return sample.subarray(0, at)
}

async function turn(signal: AbortSignal | undefined): Promise<void> {
  await new Promise<void>(resolve => setImmediate(resolve))
  signal?.throwIfAborted()
}
