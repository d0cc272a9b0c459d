// The proxy task "Quick Thought" (Logeswaran & Lee 2018): tell which two pieces come from the same sequence.

import type { Encoder } from '../encoder/encoder.js'
import { Linear } from '../encoder/layers.js'
import type { ParameterStore } from '../encoder/parameters.js'
import type { PackedBatch, Piece } from '../events/batch.js'
import type { InputPart, InputSpec } from '../events/inputs.js'
import { MASK } from '../events/inputs.js'
import { gatherRows } from '../ops/gather_rows.js'
import { l2Normalize } from '../ops/l2_normalize.js'
import { MAX_PAIRS, pairContrastive } from '../ops/pair_contrastive.js'
import { Tensor } from '../runtime/tensor.js'
import type { Philox } from '../util/philox.js'
import type { Term } from './terms.js'

/** How halves are cut and told apart. */
export interface QuickThoughtOptions {
  /** `cut`: one random cut; `slices`: two disjoint slices of random length. Default `cut`. */
  readonly pieces?: 'cut' | 'slices' | undefined
  /** Softmax over the batch, or logistic loss on pairs as the Auto Risk article words it. Default `softmax`. */
  readonly mode?: 'softmax' | 'binary' | undefined
  /**
   * Whether one piece of each pair, by lot, is seen without its place in the calendar and its age. Worth a try where an
   * entity's events span a day or two: their date alone tells the pieces that belong together. Default false.
   */
  readonly hideCalendar?: boolean | undefined
  /** τ: how sharp the softmax is over cosines in [−1, 1]. Default 0.1. */
  readonly temperature?: number | undefined
}

/** Pieces of a batch: which rows of the pooled vectors are pairs, and whose they are. */
export interface Pairs {
  readonly pieces: Piece[]
  readonly first: Int32Array
  readonly second: Int32Array
  readonly entity: Int32Array
}

/** The shorter side of a cut has at least this share of the sequence. */
const SHORTEST_SHARE = 0.2

/**
 * Cuts sequences in two. What is too short to cut stays whole and belongs to no pair, and so does what comes when a batch of short
 * sequences has as many pairs as the loss takes.
 */
export function cutInPieces(whole: readonly Piece[], random: Philox, options: QuickThoughtOptions = {}): Pairs {
  const { pieces: kind = 'cut' } = options
  const pieces: Piece[] = []
  const first: number[] = []
  const second: number[] = []
  const entity: number[] = []
  for (const { sequence, begin, end } of whole) {
    const length = end - begin
    if (length < 2 || first.length === MAX_PAIRS) {
      pieces.push({ sequence, begin, end })
      continue
    }
    const shortest = Math.max(1, Math.floor(length * SHORTEST_SHARE))
    const cut = begin + shortest + random.below(length - 2 * shortest + 1)
    let from = begin
    let to = end
    if (kind === 'slices') {
      from = begin + random.below(cut - begin)
      to = cut + 1 + random.below(end - cut)
    }
    first.push(pieces.length)
    second.push(pieces.length + 1)
    entity.push(sequence)
    pieces.push({ sequence, begin: from, end: cut }, { sequence, begin: cut, end: to })
  }
  return { pieces, first: Int32Array.from(first), second: Int32Array.from(second), entity: Int32Array.from(entity) }
}

const CALENDAR: readonly InputPart[] = ['age', 'rest', 'hour', 'weekday', 'day']

/** Hides the calendar and the age of the events of one piece of each pair. */
export function hideCalendar(
  batch: PackedBatch,
  pairs: Pairs,
  specs: readonly InputSpec[],
  random: Philox,
): PackedBatch {
  const hidden = Int32Array.from(pairs.first, (first, i) => (random.below(2) === 0 ? first : pairs.second[i]))
  const inputs = batch.inputs.map((input, i) => {
    if (!CALENDAR.includes(specs[i].part)) return input
    const codes = input.codes.slice()
    const fraction = input.fraction?.slice()
    for (const piece of hidden) {
      codes.fill(MASK, batch.offsets[piece], batch.offsets[piece + 1])
      fraction?.fill(0, batch.offsets[piece], batch.offsets[piece + 1])
    }
    return { ...input, codes, fraction }
  })
  return { ...batch, inputs }
}

/** Two small heads, and cosine similarity between what they make of the pieces. */
export class QuickThoughtHead {
  readonly #u: Linear
  readonly #v: Linear
  readonly #options: QuickThoughtOptions

  constructor(store: ParameterStore, encoder: Encoder, options: QuickThoughtOptions = {}) {
    const { width } = encoder.config
    this.#u = new Linear(store, 'quick.u', width, width)
    this.#v = new Linear(store, 'quick.v', width, width)
    this.#options = options
  }

  get names(): string[] {
    return ['quick']
  }

  /** `pooled`: (pieces, width). */
  terms(pooled: Tensor<'float32'>, pairs: Pairs, weight: number): Term[] {
    const { device } = pooled
    const { temperature = 0.1, mode = 'softmax' } = this.#options
    const side = (head: Linear, rows: Int32Array) =>
      l2Normalize(head.apply(gatherRows(pooled, Tensor.from(device, rows))))
    const entity = Tensor.from(device, pairs.entity)
    const { loss, correct } = pairContrastive(side(this.#u, pairs.first), side(this.#v, pairs.second), entity, {
      temperature,
      mode,
    })
    return [{ name: 'quick', loss, correct, weight, counted: pairs.first.length }]
  }
}
