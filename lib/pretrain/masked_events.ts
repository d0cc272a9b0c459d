// The proxy task "masked events": hide some events, predict all their fields from the events around.

import type { Encoder } from '../encoder/encoder.js'
import { Linear } from '../encoder/layers.js'
import type { ParameterStore } from '../encoder/parameters.js'
import type { PackedBatch } from '../events/batch.js'
import type { InputColumn } from '../events/encode.js'
import type { InputSpec } from '../events/inputs.js'
import { MASK } from '../events/inputs.js'
import { gatherRows } from '../ops/gather_rows.js'
import { CandidateSampler, sampledSoftmax } from '../ops/sampled_softmax.js'
import { softmaxCrossEntropy } from '../ops/softmax_cross_entropy.js'
import { Tensor } from '../runtime/tensor.js'
import { ArrayPool } from '../util/array_pool.js'
import { atOnce, type Steps } from '../util/pace.js'
import type { Philox } from '../util/philox.js'
import type { Term } from './terms.js'

/** How events are hidden. */
export interface MaskedEventsOptions {
  /** Share of events to predict. Default 0.15. */
  readonly rate?: number | undefined
  /** Which inputs are predicted: `all`, or the schema's fields and the gap before the event alone. Default `all`. */
  readonly predict?: 'all' | 'fields' | undefined
}

/** Of the chosen events so many become mask and so many a random event; the rest stay as they are (Devlin et al. 2019). */
const MASKED = 0.8
const REPLACED = 0.1

/** Beyond this many classes the softmax is over sampled classes, drawn log-uniformly: ids go by falling frequency. */
const SAMPLED_FROM = 10_000
const SAMPLES = 1024

export interface MaskedBatch {
  /** The batch with the chosen events hidden. */
  readonly batch: PackedBatch
  /** The chosen events, ascending. */
  readonly rows: Int32Array
  /** For every input: what stood there, one class per chosen event, −1 where there is nothing to predict. */
  readonly targets: readonly Int32Array[]
}

/** Chooses and hides events. At least one is chosen as long as there is any. */
export function maskEvents(batch: PackedBatch, random: Philox, options: MaskedEventsOptions = {}): MaskedBatch {
  const inputs = batch.inputs.map(({ codes, fraction, ...input }) => {
    return { ...input, codes: codes.slice(), fraction: fraction?.slice() }
  })
  return atOnce(maskSteps({ ...batch, inputs }, random, options))
}

/** The same in short steps, in the arrays of `batch` itself; rows and targets are the pool's. */
export function* maskSteps(
  batch: PackedBatch,
  random: Philox,
  options: MaskedEventsOptions = {},
  pool = new ArrayPool(),
): Steps<MaskedBatch> {
  const { rate = 0.15 } = options
  const events = batch.offsets[batch.offsets.length - 1]
  let rows: Int32Array = random.lots(events, rate, pool.int32(events))
  if (rows.length === 0 && events > 0) rows = Int32Array.of(random.below(events))
  yield
  // Where each chosen event's fields come from: itself, another event, or the mask (−1).
  const source = pool.int32(rows.length)
  for (let i = 0; i < rows.length; i++) {
    const draw = random.uniform()
    source[i] = draw < MASKED ? -1 : draw < MASKED + REPLACED ? random.below(events) : rows[i]
  }
  const targets: Int32Array[] = []
  for (const input of batch.inputs) {
    yield
    targets.push(targetsOf(input, rows, random, pool.int32(rows.length)))
  }
  const scratch = { codes: pool.int32(rows.length), fraction: pool.float32(rows.length) }
  const inputs: InputColumn[] = []
  for (const input of batch.inputs) {
    yield
    inputs.push(input.offsets ? hideTexts(input, rows, source) : hide(input, rows, source, scratch))
  }
  return { batch: { ...batch, inputs }, rows, targets }
}

function targetsOf(input: InputColumn, rows: Int32Array, random: Philox, targets: Int32Array): Int32Array {
  const { codes, offsets } = input
  for (let i = 0; i < rows.length; i++) {
    const row = rows[i]
    if (offsets) {
      // One word stands for the text.
      const words = offsets[row + 1] - offsets[row]
      targets[i] = words === 0 ? -1 : codes[offsets[row] + random.below(words)]
    } else {
      // What is hidden for another reason cannot be predicted.
      targets[i] = codes[row] === MASK ? -1 : codes[row]
    }
  }
  return targets
}

function hide(
  input: InputColumn,
  rows: Int32Array,
  source: Int32Array,
  scratch: { readonly codes: Int32Array; readonly fraction: Float32Array },
): InputColumn {
  const { codes, fraction } = input
  replace(codes, rows, source, MASK, scratch.codes)
  if (fraction) replace(fraction, rows, source, 0, scratch.fraction)
  return input
}

/** `values[rows[i]] = values[source[i]]`, or `hidden` where the source is −1; sources are read before any is replaced. */
function replace<T extends Int32Array | Float32Array>(
  values: T,
  rows: Int32Array,
  source: Int32Array,
  hidden: number,
  from: T,
): void {
  for (let i = 0; i < rows.length; i++) from[i] = source[i] < 0 ? hidden : values[source[i]]
  for (let i = 0; i < rows.length; i++) values[rows[i]] = from[i]
}

/** A hidden text is the single word "mask". */
function hideTexts(input: InputColumn, rows: Int32Array, source: Int32Array): InputColumn {
  const old = input.offsets!
  const events = old.length - 1
  // What stands between two chosen events is copied in one piece.
  const lengthOf = (from: number) => (from < 0 ? 1 : old[from + 1] - old[from])
  let words = old[events]
  for (let i = 0; i < rows.length; i++) words += lengthOf(source[i]) - lengthOf(rows[i])
  const offsets = new Int32Array(events + 1)
  const codes = new Int32Array(words)
  let t = 0
  let at = 0
  const copyUntil = (end: number) => {
    const moved = at - old[t]
    codes.set(input.codes.subarray(old[t], old[end]), at)
    for (; t < end; t++) offsets[t + 1] = old[t + 1] + moved
    at = offsets[end]
  }
  for (let i = 0; i < rows.length; i++) {
    copyUntil(rows[i])
    const from = source[i]
    if (from < 0) codes[at] = MASK
    else for (let w = old[from]; w < old[from + 1]; w++) codes[at + w - old[from]] = input.codes[w]
    at += lengthOf(from)
    offsets[++t] = at
  }
  copyUntil(events)
  return { ...input, codes, offsets }
}

/** A softmax head for each input. */
export class MaskedEventsHead {
  readonly #heads: readonly {
    readonly spec: InputSpec
    /** Its place among the inputs. */
    readonly input: number
    readonly layer: Linear
    readonly sampler: CandidateSampler | null
  }[]

  constructor(store: ParameterStore, encoder: Encoder, { predict = 'all' }: MaskedEventsOptions = {}) {
    const { inputs } = encoder.encoding
    const chosen = inputs
      .map((spec, input) => ({ spec, input }))
      .filter(({ spec: { part } }) => {
        return predict === 'all' || part === 'field' || part === 'gap'
      })
    this.#heads = chosen.map(({ spec, input }) => ({
      spec,
      input,
      layer: new Linear(store, `masked.${spec.name}`, encoder.config.width, spec.size),
      sampler: spec.size > SAMPLED_FROM ? new CandidateSampler(spec.size) : null,
    }))
  }

  /** Names of the terms that `terms` returns, in order. */
  get names(): string[] {
    return this.#heads.map(({ spec }) => `masked.${spec.name}`)
  }

  /** One term per input, which share the weight of the task equally. `events`: (events, width) of the hidden batch. */
  terms(events: Tensor<'float32'>, { rows, targets }: MaskedBatch, weight: number, random: Philox): Term[] {
    const { device } = events
    const x = gatherRows(events, Tensor.from(device, rows), { ascending: true })
    return this.#heads.map(({ spec, input: i, layer, sampler }) => {
      const name = `masked.${spec.name}`
      const counted = targets[i].reduce((count, target) => count + (target >= 0 ? 1 : 0), 0)
      const share = weight / this.#heads.length
      if (sampler) {
        const candidates = sampler.draw(targets[i], SAMPLES, random)
        const terms = sampledSoftmax(x, layer.weight.value, layer.bias.value, candidates)
        return { name, ...terms, weight: share, counted }
      }
      const { loss, correct } = softmaxCrossEntropy(layer.apply(x), Tensor.from(device, targets[i]))
      return { name, loss, correct, weight: share, counted }
    })
  }
}
