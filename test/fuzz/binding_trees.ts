// Right arguments for the exports of the tree learners: matrices and trainers in every state, small forests.

import type { TestRandom } from '../support/random.js'

type Addon = Record<string, (...values: unknown[]) => unknown>

const ROWS = 20
const FEATURES = 3
/** The order of lib/ops/gbrt_trainer.ts; a forest is told apart by the objective and the last number. */
const TRAINER_OPTIONS = [1, 1, 4, -1, 0.1, 1, 1e-3, 0, 0, 0, 1, 0, 1, 0, 32, 4, 10, 10, 100, 1, 1, 0, 0]

const FOREST_OPTIONS = [0, ...TRAINER_OPTIONS.slice(1, -2), 1, 0]

/** What the arguments are taken from; the rest are numbers. */
interface Sources {
  stream(): unknown
  tensor(dtype: 'float32' | 'int32', shape: number[]): unknown
}

export class TreeZoo {
  readonly #addon: Addon
  readonly #random: TestRandom
  readonly #sources: Sources
  #sampling: unknown
  #empty: unknown
  #filled: unknown
  #restored: unknown
  #trainer: unknown
  #forest: unknown
  #iforest: unknown
  #kmeans: unknown
  #unfilled: unknown

  constructor(addon: Addon, random: TestRandom, sources: Sources) {
    this.#addon = addon
    this.#random = random
    this.#sources = sources
  }

  /** Makes new ones of everything, on a stream that works. */
  async renew(): Promise<void> {
    const addon = this.#addon
    this.#sampling = addon.binned_create(...this.#create())
    const learned = addon.binned_create(...this.#create())
    for (let f = 0; f < FEATURES; f++) addon.binned_sample(learned, f, this.#column(), 0, 1, ROWS, null)
    await addon.binned_learn(learned)
    this.#empty = addon.binned_like(learned)
    addon.binned_reserve(learned, ROWS)
    await addon.binned_append(learned, 0, this.#columns(), 0, ROWS)
    this.#filled = learned
    this.#restored = addon.binned_restore(this.#sources.stream(), ...this.#saved())
    addon.binned_reserve(this.#restored, ROWS)
    this.#trainer = addon.gbrt_trainer_create(
      learned,
      this.#random.integer(0, 3) ? TRAINER_OPTIONS : FOREST_OPTIONS,
      null,
    )
    await addon.gbrt_trainer_begin(this.#trainer, ...this.#problem())
    this.#forest = addon.forest_create(...this.#trees())
    this.#iforest = addon.iforest_create(this.#sources.stream(), FEATURES, 4, 5, this.#random.integer(0, 2), 1)
    await addon.iforest_grow(this.#iforest, 0, 4, this.#columns(), ROWS)
    this.#unfilled = addon.kmeans_create(...this.#clusters())
    this.#kmeans = addon.kmeans_create(...this.#clusters())
    await addon.kmeans_append(this.#kmeans, this.#columns(), 0, ROWS)
    await addon.kmeans_begin(this.#kmeans, null)
  }

  /** Null for a function that is not about trees. */
  right(name: string): unknown[] | null {
    const from = this.#random.integer(0, ROWS)
    const rows = [from, this.#random.integer(0, ROWS - from)]
    const make: Record<string, () => unknown[]> = {
      binned_create: () => this.#create(),
      binned_sample: () => [this.#sampling, this.#random.integer(0, FEATURES - 1), this.#column(), 0, 1, ROWS, null],
      binned_learn: () => [this.#sampling],
      binned_like: () => [this.#filled],
      binned_reserve: () => [
        this.#random.integer(0, 3) ? this.#empty : this.#filled,
        this.#random.integer(1, 2 * ROWS),
      ],
      binned_append: () => [this.#filled, from, this.#columns(), 0, rows[1]],
      binned_columns: () => [this.#filled],
      binned_read: () => [this.#filled, this.#random.integer(0, FEATURES), ROWS],
      binned_restore: () => [this.#sources.stream(), ...this.#saved()],
      binned_put: () => [this.#restored, this.#random.integer(0, FEATURES), new Uint8Array(ROWS)],
      binned_check: () => [this.#restored],
      binned_dispose: () => [this.#random.integer(0, 9) ? this.#empty : this.#filled],
      gbrt_histogram: () => this.#histogram(),
      gbrt_trainer_create: () => [
        this.#filled,
        this.#random.integer(0, 1) ? TRAINER_OPTIONS : FOREST_OPTIONS,
        this.#random.integer(0, 1) ? null : Uint8Array.of(1, 2, 0),
      ],
      gbrt_trainer_begin: () => [this.#trainer, ...this.#problem()],
      gbrt_trainer_watch: () => {
        const [targets, weights] = this.#problem()
        const scores = this.#random.integer(0, 1) ? null : new Float64Array(ROWS)
        return [this.#trainer, this.#filled, targets, weights, scores]
      },
      gbrt_trainer_boost: () => [
        this.#trainer,
        this.#random.integer(0, 5),
        this.#random.integer(0, 2),
        null,
        null,
        null,
      ],
      gbrt_trainer_stop: () => [this.#trainer],
      gbrt_trainer_rounds: () => [this.#trainer],
      gbrt_trainer_model: () => [this.#trainer],
      gbrt_trainer_scores: () => [this.#trainer],
      gbrt_trainer_dispose: () => [this.#random.integer(0, 9) ? this.#spare() : this.#trainer],
      forest_create: () => this.#trees(),
      forest_predict: () => [this.#sources.stream(), this.#forest, this.#columns(), ...rows, 1, 1],
      forest_predict_binned: () => [this.#sources.stream(), this.#forest, this.#filled, ...rows, 1, 1],
      forest_shap: () => [this.#sources.stream(), this.#forest, this.#columns(), ...rows, 1, 1, ...this.#covers()],
      forest_predict_row: () => [this.#forest, new Float64Array(FEATURES), new Float64Array(1), 1, 1],
      iforest_create: () => [this.#sources.stream(), FEATURES, 4, 5, this.#random.integer(0, 2), 1],
      iforest_grow: () => [this.#iforest, this.#random.integer(0, 2), 2, this.#columns(), ROWS],
      iforest_score: () => [this.#iforest, this.#columns(), ...rows],
      kmeans_create: () => this.#clusters(),
      kmeans_append: () => [this.#unfilled, this.#columns(), 0, this.#random.integer(0, 3)],
      kmeans_begin: () => [this.#kmeans, this.#random.integer(0, 1) ? null : new Float32Array(FEATURES * 2)],
      kmeans_step: () => [this.#kmeans, this.#random.integer(0, 3)],
      kmeans_finish: () => [this.#kmeans],
      kmeans_dispose: () => [this.#random.integer(0, 9) ? this.#unfilled : this.#kmeans],
    }
    return make[name]?.() ?? null
  }

  #create(): unknown[] {
    return [this.#sources.stream(), FEATURES, this.#random.integer(2, 255), 1, Uint8Array.of(0, 0, 1)]
  }

  /** A column of numbers with NaN, one without, and categories. */
  #saved(): unknown[] {
    const flags = [Uint8Array.of(0, 0, 1), Uint8Array.of(1, 0, 0), Int32Array.of(2, 3, 2)]
    return [...flags, Float64Array.of(1, 1e300, 0, 1e300, Infinity, 4, 9), Uint8Array.of(2, 1)]
  }

  #clusters(): unknown[] {
    return [this.#sources.stream(), ROWS, FEATURES, 2, 0, this.#random.integer(0, 9)]
  }

  /** Small whole numbers do for categories too. */
  #column(): Float64Array {
    return Float64Array.from({ length: ROWS }, () => this.#random.integer(0, 9))
  }

  #columns(): Float64Array[] {
    return Array.from({ length: FEATURES }, () => this.#column())
  }

  /** Targets, weights, roles, scores and rounds before. */
  #problem(): unknown[] {
    const targets = Float32Array.from({ length: ROWS }, () => this.#random.next())
    const weights = this.#random.integer(0, 1) ? null : new Float32Array(ROWS).fill(2)
    const roles = this.#random.integer(0, 1)
      ? null
      : Uint8Array.from({ length: ROWS }, (_, row) => (row === 0 ? 1 : this.#random.integer(0, 2)))
    return [targets, weights, roles, null, this.#random.integer(0, 2)]
  }

  #histogram(): unknown[] {
    const packed = this.#sources.tensor('int32', [ROWS, 2])
    const index = this.#random.integer(0, 1) ? null : this.#sources.tensor('int32', [this.#random.integer(0, 9)])
    const out = this.#sources.tensor('int32', [FEATURES, 2, 256, 2])
    return [this.#sources.stream(), this.#filled, packed, index, 20, 1, out]
  }

  /** One that nothing else uses, if it can be had. */
  #spare(): unknown {
    try {
      return this.#addon.gbrt_trainer_create(this.#filled, TRAINER_OPTIONS, null)
    } catch {
      return this.#trainer
    }
  }

  /** Rows of the nodes and the leaves of `#trees`. */
  #covers(): Float64Array[] {
    return [Float64Array.of(5, 4), Float64Array.of(1, 1, 3)]
  }

  /** A tree with a numeric split over a categorical one. */
  #trees(): unknown[] {
    const structure = [Int32Array.of(3), Int32Array.of(0, 2), Float64Array.of(4.5, 0), Uint8Array.of(8, 1)]
    const children = [Int32Array.of(1, -2), Int32Array.of(-1, -3), Float64Array.of(0.1, 0.2, 0.3)]
    return [FEATURES, 1, 1, ...structure, ...children, Int32Array.of(0, 1), Int32Array.of(5)]
  }
}
