// Expectation and maximisation on soft targets: known rows keep their target, the others get what the last model said.

import type { GbrtModel } from '../trees/model.js'
import { inSlices } from '../util/pace.js'
import type { PuLearner } from './learner.js'
import type { FullOptions, PuRound } from './options.js'
import { type PuProblem, type PuSets, ROLE } from './problem.js'

/** Buffers of one learner, reused by every round. */
export class EmLoop {
  readonly learner: PuLearner
  readonly rounds: PuRound[] = []
  /** Of the last fit, one for each row. */
  scores: Float64Array
  model: GbrtModel | null = null
  readonly #problem: PuProblem
  readonly #options: FullOptions
  readonly #targets: Float32Array
  readonly #weights: Float32Array
  readonly #mask: Uint8Array
  readonly #total: number
  /** Whether a row of the next fit weighs other than 1; whether one is left out. */
  #isWeighted = false
  #isMasked = false
  #done = 0

  constructor(learner: PuLearner, problem: PuProblem, options: FullOptions, total: number) {
    const { rows } = problem.matrix
    this.learner = learner
    this.scores = new Float64Array(rows)
    this.#problem = problem
    this.#options = options
    this.#targets = new Float32Array(rows)
    this.#weights = new Float32Array(rows)
    this.#mask = new Uint8Array(rows)
    this.#total = total
  }

  /**
   * Rounds until the unlabelled rows' scores come to rest.
   * @param isBlank  the rest has no scores yet: the first round's change is unknown
   * @param restOut  the first round leaves the rest out
   */
  async run(
    { draw, step, rounds }: { draw: number; step: 1 | 2; rounds: number },
    sets: PuSets,
    { isBlank = false, restOut = false } = {},
  ): Promise<void> {
    const { signal, convergence, onProgress } = this.#options
    const { sizes } = sets
    const first = this.#done
    for (let round = 1; round <= rounds; round++) {
      const begun = performance.now()
      await this.#assign(sets, restOut && round === 1)
      const before = this.scores
      const fit = await this.learner.fit({
        targets: this.#targets,
        // Without them a fit is a fifth faster, and the same.
        weights: this.#isWeighted ? this.#weights : undefined,
        mask: this.#isMasked ? this.#mask : undefined,
        signal,
        onProgress: onProgress && (({ done, total }) => this.#report(this.#done + done / total)),
      })
      this.scores = fit.scores
      this.model = fit.model
      const { change, mean } = await this.#drift(sets, before)
      const isFirst = isBlank && round === 1
      const seconds = (performance.now() - begun) / 1000
      this.rounds.push({ draw, step, round, sizes, change: isFirst ? Number.NaN : change, mean, seconds })
      this.#report(++this.#done)
      // Where no row is left to learn of, further rounds would fit the same again.
      if (sizes.unlabelled + sizes.spies === 0) break
      if (!isFirst && change < convergence * mean) break
    }
    this.#done = first + rounds
  }

  #report(done: number): void {
    this.#options.onProgress?.({ phase: 'learn', done, total: this.#total })
  }

  /** Targets, weights and mask of the next fit. */
  async #assign({ roles }: PuSets, restOut: boolean): Promise<void> {
    const { weights: own } = this.#problem
    const { positiveWeight, signal } = this.#options
    const [targets, weights, mask, scores] = [this.#targets, this.#weights, this.#mask, this.scores]
    const isKnown = (role: number) => role === ROLE.positive || role === ROLE.negative
    const trains = (role: number) => isKnown(role) || (role !== ROLE.out && !restOut)
    // A spy is to look like any unlabelled row, however much its label is trusted.
    const copies = (row: number) => (own && roles[row] !== ROLE.out && roles[row] !== ROLE.spy ? own[row] : 1)
    let [positives, others] = [0, 0]
    if (positiveWeight === 'balanced') {
      await inSlices(roles.length, signal, (from, to) => {
        for (let row = from; row < to; row++) {
          if (roles[row] === ROLE.positive) positives += copies(row)
          else if (trains(roles[row])) others += copies(row)
        }
      })
    }
    const factor = positiveWeight === 'balanced' ? Math.max(1, Math.round(others / positives)) : positiveWeight
    let [weighted, masked] = [0, 0]
    await inSlices(roles.length, signal, (from, to) => {
      for (let row = from; row < to; row++) {
        const role = roles[row]
        const isPositive = role === ROLE.positive
        targets[row] = isKnown(role) ? Number(isPositive) : scores[row]
        weights[row] = (isPositive ? factor : 1) * copies(row)
        mask[row] = Number(trains(role))
        weighted += Number(weights[row] !== 1)
        masked += Number(mask[row] === 0)
      }
    })
    this.#isWeighted = weighted > 0
    this.#isMasked = masked > 0
  }

  /** How far the unlabelled rows moved, and where they are. */
  async #drift({ roles, sizes }: PuSets, before: Float64Array): Promise<{ change: number; mean: number }> {
    const after = this.scores
    let moved = 0
    let sum = 0
    await inSlices(roles.length, this.#options.signal, (from, to) => {
      for (let row = from; row < to; row++) {
        if (roles[row] !== ROLE.unlabelled && roles[row] !== ROLE.spy) continue
        moved += Math.abs(after[row] - before[row])
        sum += after[row]
      }
    })
    const count = sizes.unlabelled + sizes.spies
    return count === 0 ? { change: 0, mean: Number.NaN } : { change: moved / count, mean: sum / count }
  }
}
