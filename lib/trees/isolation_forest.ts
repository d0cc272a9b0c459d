// Isolation forests: how soon random cuts set a row apart from the others.

import { NativeIforest } from '../ops/iforest.js'
import type { TableData } from '../runtime/binned_matrix.js'
import type { Device } from '../runtime/device.js'
import { expectOptions, expectRange } from '../util/errors.js'
import { rowsOf } from './rows.js'

/** What an isolation forest can be told. */
export interface IsolationForestOptions {
  /** Default 100. */
  readonly trees?: number | undefined
  /** Rows that each tree is grown from; all when there are fewer. Default 256. */
  readonly samples?: number | undefined
  /** Features that a cut looks at besides one: 0 cuts along the axes, more obliquely. Default 0. */
  readonly extension?: number | undefined
  /** Default 0. */
  readonly seed?: number | undefined
  readonly signal?: AbortSignal | undefined
  /** Called between pieces of the work. */
  readonly onProgress?:
    | ((progress: { readonly phase: 'grow'; readonly done: number; readonly total: number }) => void)
    | undefined
}

const where = 'IsolationForest'

/**
 * Liu, Ting & Zhou 2008, with oblique cuts as an option (Hariri et al. 2019; each feature counts on the scale of its
 * range in the node). The same seed gives the same scores on any number of threads. Missing values go along with the
 * known ones; infinities count as very large numbers.
 */
export class IsolationForest {
  readonly device: Device
  readonly features: number
  readonly #native: NativeIforest
  readonly #names: readonly string[] | undefined

  private constructor(device: Device, native: NativeIforest, names: readonly string[] | undefined) {
    this.device = device
    this.features = native.features
    this.#native = native
    this.#names = names
  }

  /** @throws {RangeError} for no rows, columns of different lengths, or options outside their range */
  static async fit(device: Device, data: TableData, options: IsolationForestOptions = {}): Promise<IsolationForest> {
    expectOptions(where, options, ['trees', 'samples', 'extension', 'seed', 'signal', 'onProgress'])
    const { trees = 100, samples = 256, extension = 0, seed = 0, signal, onProgress } = options
    const { source, rows, features } = rowsOf(where, data)
    expectRange(rows > 0 && features > 0, where, 'at least one row and one column', [rows, features])
    const isCount = Number.isInteger(samples) && samples >= 1
    expectRange(isCount, where, 'samples to be an integer from 1', samples)
    const size = { trees, samples: Math.min(samples, rows) }
    const native = new NativeIforest(device, features, trees, size.samples, extension, seed)
    const report = (done: number) => onProgress?.({ phase: 'grow', done, total: trees })
    await native.grow(source, rows, size, { signal, report })
    const isNamed = 'columns' in data && !Array.isArray(data.columns)
    return new IsolationForest(device, native, isNamed ? Object.keys(data.columns) : undefined)
  }

  /** In (0, 1]: about 0.5 for rows like most others, near 1 for those that are set apart at once. */
  async score(
    data: TableData,
    options: { readonly signal?: AbortSignal | undefined } = {},
  ): Promise<Float64Array<ArrayBuffer>> {
    const { source, rows, features } = rowsOf(where, data, this.#names)
    expectRange(features === this.features, where, `${this.features} features`, features)
    return this.#native.score(source, rows, options.signal)
  }
}
