// A trained forest: LightGBM's arrays, prediction, importance.

import { Forest, type ForestArrays, type ForestTransform } from '../ops/forest_predict.js'
import type { BinnedMatrix, TableData } from '../runtime/binned_matrix.js'
import type { Device } from '../runtime/device.js'
import { expectOptions, expectRange, sentence } from '../util/errors.js'
import { inTurns, type Steps } from '../util/pace.js'
import { rowsOf } from './rows.js'

/** What predictions mean; it decides how scores become predictions. */
export type ModelObjective = 'squared' | 'logistic' | 'softmax' | 'custom'

/** Trees one after the other, numbered as in LightGBM's files. */
export interface Trees extends ForestArrays {
  readonly splitGain: Float64Array
  readonly internalValue: Float64Array
  readonly internalWeight: Float64Array
  readonly internalCount: Float64Array
  readonly leafWeight: Float64Array
  readonly leafCount: Float64Array
}

/** Values of a category column; value i has code i. */
export type Levels = readonly (string | number)[]

/** What a model of trees is, beside its trees. */
export interface ModelInfo {
  readonly objective: ModelObjective
  readonly numClass: number
  readonly names: readonly string[]
  /** One word for each feature, as LightGBM writes them: [low:high], codes joined by ':', or none. */
  readonly featureInfos: readonly string[]
  /** For each feature, what its codes stand for; null for numbers and for codes as they are. */
  readonly levels?: readonly (Levels | null)[] | undefined
  /** Factor of the score before the sigmoid. Default 1. */
  readonly sigmoid?: number | undefined
  /** Predictions are means over the trees instead of sums (random forests). */
  readonly isAverage?: boolean | undefined
  /** Learning rate that is written into files. */
  readonly shrinkage?: number | undefined
}

/** What a prediction can be told. */
export interface PredictOptions {
  /** Scores before the sigmoid or softmax. Default false. */
  readonly raw?: boolean | undefined
  /** Use the first iterations alone. Default all. */
  readonly iterations?: number | undefined
}

/** What predictions of many rows can be told. */
export interface PredictManyOptions extends PredictOptions {
  readonly signal?: AbortSignal | undefined
  /** Called between pieces of the work. */
  readonly onProgress?:
    | ((progress: { readonly phase: 'predict'; readonly done: number; readonly total: number }) => void)
    | undefined
}

const TRANSFORM: Record<ModelObjective, ForestTransform> = {
  squared: 'raw',
  logistic: 'sigmoid',
  softmax: 'softmax',
  custom: 'raw',
}

/** More than a column can have: it has 255 bins. */
const MOST_CATEGORIES = 256
/** Of thresholds, categories and words of lists between two looks at the clock: less than a millisecond. */
const LOOKUPS_PER_STEP = 8192

/** Boosted trees, or a random forest's. */
export class GbrtModel {
  readonly info: ModelInfo
  readonly trees: Trees
  #forest: Forest | null = null
  #narrow = new Float64Array(0)

  constructor(info: ModelInfo, trees: Trees) {
    this.info = info
    this.trees = trees
  }

  /** Number of features. */
  get features(): number {
    return this.info.names.length
  }

  /** Trees of each class. */
  get iterations(): number {
    return this.trees.numLeaves.length / this.info.numClass
  }

  /**
   * The same trees, knowing what the codes of categories stand for. It is saved with the model, so that tables with the values
   * themselves can be scored (`layoutOfModel`).
   * @param levels  for each feature the values of its codes, null for numbers, as `TableLayout` has them
   * @throws {RangeError} for levels of another number of features
   */
  withLevels(levels: readonly (Levels | null)[]): GbrtModel {
    expectRange(levels.length === this.features, 'GbrtModel', `levels of ${this.features} features`, levels.length)
    const isCoded = levels.some(one => one !== null)
    return new GbrtModel({ ...this.info, levels: isCoded ? levels : undefined }, this.trees)
  }

  /** The checked trees; made at the first use. */
  get forest(): Forest {
    this.#forest ??= new Forest(this.features, this.info.numClass, this.info.sigmoid ?? 1, this.trees)
    return this.#forest
  }

  /**
   * Predictions of all rows of a table, (rows, classes), on the device's threads: probabilities for logistic and
   * softmax unless `raw`. Missing values are NaN. Categories that a split did not see, any number below 0 and NaN go right; a
   * fraction counts as the whole number below it, as LightGBM has it.
   */
  async predict(device: Device, data: TableData, options: PredictManyOptions = {}): Promise<Float64Array<ArrayBuffer>> {
    const { signal, onProgress, ...rest } = options
    const { transform, trees } = this.#options(rest)
    const { source, rows, features } = rowsOf('GbrtModel', data, this.info.names)
    expectRange(features === this.features, 'GbrtModel', `${this.features} features`, features)
    const report = (done: number) => onProgress?.({ phase: 'predict', done, total: rows })
    return this.forest.predict(device, source, rows, transform, trees, { signal, report })
  }

  /**
   * Predictions of all rows of a matrix, (rows, classes), such as the one that the model was trained on.
   * @throws {RangeError} when a threshold or category of the model is none of the matrix's
   */
  async predictBinned(matrix: BinnedMatrix, options: PredictManyOptions = {}): Promise<Float64Array<ArrayBuffer>> {
    const { signal, onProgress, ...rest } = options
    const { transform, trees } = this.#options(rest)
    await inTurns(this.#expectBins(matrix), signal)
    const report = (done: number) => onProgress?.({ phase: 'predict', done, total: matrix.rows })
    return this.forest.predictBinned(matrix, transform, trees, { signal, report })
  }

  /**
   * What each feature adds to the raw prediction of each row, (rows, classes, features + 1). The last column is the mean over
   * the training rows; all of a row add up to its raw prediction. Exact, over the ways that the training rows took.
   * Source: Lundberg et al. 2020; computed as Yu et al. 2022, by Gauss–Legendre quadrature of the path polynomial.
   * @throws {RangeError} for trees more than 512 deep, or a model that does not say how many rows its nodes saw
   */
  async shap(
    device: Device,
    data: TableData,
    options: { readonly iterations?: number | undefined; readonly signal?: AbortSignal | undefined } = {},
  ): Promise<Float64Array<ArrayBuffer>> {
    const { signal, ...rest } = options
    const { trees } = this.#options({ ...rest, raw: true })
    const { source, rows, features } = rowsOf('GbrtModel', data, this.info.names)
    expectRange(features === this.features, 'GbrtModel', `${this.features} features`, features)
    const factor = this.info.isAverage ? this.info.numClass / trees : 1
    const { internalCount, leafCount } = this.trees
    return this.forest.shap(device, source, rows, trees, factor, internalCount, leafCount, signal)
  }

  /** Each list of categories is read once, and looked up once for each feature: a file may have many nodes name one list. */
  *#expectBins(matrix: BinnedMatrix): Steps<void> {
    expectRange(matrix.features === this.features, 'GbrtModel', `${this.features} features`, matrix.features)
    const { splitFeature, threshold, decision } = this.trees
    const advice = 'bin the rows with `like` of the matrix that the model was trained on'
    const known = new Map<number, Set<number>>()
    const categories = new Map<number, readonly number[]>()
    const checked = new Set<number>()
    let work = 0
    for (let i = 0; i < splitFeature.length; i++) {
      if (++work > LOOKUPS_PER_STEP) {
        work = 0
        yield
      }
      const feature = splitFeature[i]
      const isCategory = (decision[i] & 1) === 1
      const same = isCategory === matrix.columns[feature].isCategorical
      expectRange(same, 'GbrtModel', 'a matrix with the same categorical columns', feature, advice)
      let bounds = known.get(feature)
      if (!bounds) {
        bounds = new Set(matrix.columns[feature].bounds)
        known.set(feature, bounds)
        work += bounds.size
      }
      if (!isCategory) {
        if (bounds.has(threshold[i])) continue
        throw new RangeError(sentence('GbrtModel', `a matrix with bound ${threshold[i]}`, 'none', advice))
      }
      const list = threshold[i]
      if (checked.has(list * this.features + feature)) continue
      checked.add(list * this.features + feature)
      const own = categories.get(list) ?? (yield* this.#categoriesOf(list))
      categories.set(list, own)
      work += own.length
      for (const category of own) {
        if (bounds.has(category)) continue
        throw new RangeError(sentence('GbrtModel', `a matrix with category ${category}`, 'none', advice))
      }
    }
  }

  /** Those of a list; of one that is longer than any matrix has, so many that one of them is unknown. */
  *#categoriesOf(list: number): Steps<number[]> {
    const { categoryStart, categoryWords } = this.trees
    const [start, end] = [categoryStart[list], categoryStart[list + 1]]
    const out: number[] = []
    for (let word = start; word < end && out.length < MOST_CATEGORIES; word++) {
      if ((word - start) % LOOKUPS_PER_STEP === LOOKUPS_PER_STEP - 1) yield
      // Most words of a list may be empty.
      for (let bits = categoryWords[word]; bits !== 0; bits &= bits - 1) {
        out.push((word - start) * 32 + 31 - Math.clz32(bits & -bits))
      }
    }
    return out
  }

  /** Prediction of one row, at once; an array of one number for each class. */
  predictRow(row: ArrayLike<number>, options: PredictOptions = {}): Float64Array {
    const { transform, trees } = this.#options(options)
    expectRange(row.length === this.features, 'GbrtModel', `${this.features} values`, row.length)
    if (this.#narrow.length !== row.length) this.#narrow = new Float64Array(row.length)
    this.#narrow.set(row)
    const out = new Float64Array(this.info.numClass)
    this.forest.predictRow(this.#narrow, out, transform, trees)
    return out
  }

  /** For each feature, the number of splits on it or the sum of their gains. */
  importance(kind: 'split' | 'gain' = 'gain'): Float64Array {
    expectRange(kind === 'split' || kind === 'gain', 'GbrtModel', "importance 'split' or 'gain'", kind)
    const out = new Float64Array(this.features)
    const { splitFeature, splitGain } = this.trees
    for (let i = 0; i < splitFeature.length; i++) out[splitFeature[i]] += kind === 'gain' ? splitGain[i] : 1
    return out
  }

  #options(options: PredictOptions): { transform: ForestTransform; trees: number } {
    expectOptions('GbrtModel', options, ['raw', 'iterations'])
    const { raw = false, iterations = this.iterations } = options
    const { objective, isAverage, numClass } = this.info
    // There is no mean over no trees.
    const least = isAverage ? 1 : 0
    const whole = Number.isInteger(iterations) && iterations >= least && iterations <= this.iterations
    expectRange(whole, 'GbrtModel', `iterations in [${least}, ${this.iterations}]`, iterations)
    return { transform: isAverage ? 'average' : raw ? 'raw' : TRANSFORM[objective], trees: iterations * numClass }
  }
}

/** The words that describe features in a file. */
export function featureInfos(matrix: BinnedMatrix): string[] {
  return matrix.columns.map(column => {
    if (column.isCategorical) return column.bounds.length ? Array.from(column.bounds).join(':') : 'none'
    return column.bins > 1 ? `[${column.bounds[0]}:${column.bounds[column.bins - 2]}]` : 'none'
  })
}

/** The trees of both, one after the other. */
export function joinTrees(first: Trees, second: Trees): Trees {
  const concat = <T extends Int32Array | Uint8Array | Float64Array>(a: T, b: T): T => {
    const out = new (a.constructor as new (length: number) => T)(a.length + b.length)
    out.set(a)
    out.set(b, a.length)
    return out
  }
  const lists = first.categoryStart.length - 1
  const threshold = second.threshold.map((value, i) => ((second.decision[i] & 1) === 1 ? value + lists : value))
  const start = second.categoryStart.subarray(1).map(word => word + first.categoryWords.length)
  const moved = { ...second, threshold, categoryStart: start }
  const keys = Object.keys(first) as (keyof Trees)[]
  return Object.fromEntries(
    keys.map(key => [key, concat<Trees[typeof key]>(first[key], moved[key])]),
  ) as unknown as Trees
}
