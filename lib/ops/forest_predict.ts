import type { ForestHandle, NumberArray } from '../../binding.js'
import { binding } from '../native.js'
import type { BinnedMatrix } from '../runtime/binned_matrix.js'
import type { Device } from '../runtime/device.js'
import { inChunks } from '../util/chunks.js'

export const TRANSFORMS = ['raw', 'sigmoid', 'softmax', 'average'] as const
export type ForestTransform = (typeof TRANSFORMS)[number]

/**
 * A row of SHAP values is as much work as the copy of so many values, or of so many in each tree: chunks of a thousand rows, fewer
 * through many trees. Two of them are what an aborted call leaves to its device: 0.2 s on one core.
 */
const SHAP_VALUES = 512
const SHAP_VALUES_PER_TREE = 8

/** How a prediction ends before its time, and who hears of the rows that are done. */
export interface PredictCall {
  readonly signal?: AbortSignal | undefined
  readonly report?: ((done: number) => void) | undefined
}

/** Trees one after the other, as LightGBM's files number them: leaf l of a tree stands as child −1 − l. */
export interface ForestArrays {
  readonly numLeaves: Int32Array
  readonly splitFeature: Int32Array
  /** Categorical: which list of categories. */
  readonly threshold: Float64Array
  /** Bit 0 categorical, bit 1 missing values go left, bits 2 and 3: missing is nothing, 0, or NaN. */
  readonly decision: Uint8Array
  readonly leftChild: Int32Array
  readonly rightChild: Int32Array
  readonly leafValue: Float64Array
  /** List i has the words from categoryStart[i] to categoryStart[i + 1]; bit c says that category c goes left. */
  readonly categoryStart: Int32Array
  readonly categoryWords: Int32Array
}

/** Trees ready for prediction: checked once, here. */
export class Forest {
  readonly features: number
  readonly classes: number
  readonly trees: number
  readonly #handle: ForestHandle

  /** @throws {RangeError} for children that do not come after their parent, features and lists that do not exist */
  constructor(features: number, classes: number, sigmoid: number, arrays: ForestArrays) {
    this.features = features
    this.classes = classes
    this.trees = arrays.numLeaves.length
    this.#handle = binding.forest_create(
      features,
      classes,
      sigmoid,
      arrays.numLeaves,
      arrays.splitFeature,
      arrays.threshold,
      arrays.decision,
      arrays.leftChild,
      arrays.rightChild,
      arrays.leafValue,
      arrays.categoryStart,
      arrays.categoryWords,
    )
  }

  /**
   * Predictions of rows, (rows, classes), on the device's threads. The rows are copied in chunks, while others are
   * worked on.
   * @param values  row-major, or a list of columns
   */
  async predict(
    device: Device,
    values: NumberArray | readonly NumberArray[],
    rows: number,
    transform: ForestTransform,
    trees = this.trees,
    { signal, report }: PredictCall = {},
  ): Promise<Float64Array<ArrayBuffer>> {
    const out = new Float64Array(rows * this.classes)
    const kind = TRANSFORMS.indexOf(transform)
    const put = async (row: number, count: number) => {
      out.set(
        await binding.forest_predict(device.handle, this.#handle, values, row, count, kind, trees),
        row * this.classes,
      )
      if (!signal?.aborted) report?.(row + count)
    }
    await inChunks(rows, this.features, put, { signal })
    return out
  }

  /**
   * SHAP values of rows, (rows, classes, features + 1): the last is the mean over the training rows.
   * @param factor    of every leaf
   * @param nodeRows  rows of training in each node, above 0; `leafRows` in each leaf
   * @throws {RangeError} for trees more than 512 deep
   */
  async shap(
    device: Device,
    values: NumberArray | readonly NumberArray[],
    rows: number,
    trees: number,
    factor: number,
    nodeRows: Float64Array,
    leafRows: Float64Array,
    signal?: AbortSignal,
  ): Promise<Float64Array<ArrayBuffer>> {
    const width = this.classes * (this.features + 1)
    const out = new Float64Array(rows * width)
    const put = async (row: number, count: number) => {
      const { handle } = device
      out.set(
        await binding.forest_shap(handle, this.#handle, values, row, count, trees, factor, nodeRows, leafRows),
        row * width,
      )
    }
    await inChunks(rows, Math.max(SHAP_VALUES, SHAP_VALUES_PER_TREE * trees), put, { signal })
    return out
  }

  /** Predictions of all rows of a matrix, (rows, classes); its bins must be those that the trees were trained on. */
  async predictBinned(
    matrix: BinnedMatrix,
    transform: ForestTransform,
    trees = this.trees,
    { signal, report }: PredictCall = {},
  ): Promise<Float64Array<ArrayBuffer>> {
    const kind = TRANSFORMS.indexOf(transform)
    const { device, handle, rows } = matrix
    const out = new Float64Array(rows * this.classes)
    const put = async (row: number, count: number) => {
      out.set(
        await binding.forest_predict_binned(device.handle, this.#handle, handle, row, count, kind, trees),
        row * this.classes,
      )
      if (!signal?.aborted) report?.(row + count)
    }
    // The rows are where they are: predictions alone are copied.
    await inChunks(rows, this.classes, put, { signal })
    return out
  }

  /** Prediction of one row, at once: microseconds. `out` has a place for each class. */
  predictRow(
    values: Float32Array | Float64Array,
    out: Float64Array,
    transform: ForestTransform,
    trees = this.trees,
  ): void {
    binding.forest_predict_row(this.#handle, values, out, TRANSFORMS.indexOf(transform), trees)
  }
}
