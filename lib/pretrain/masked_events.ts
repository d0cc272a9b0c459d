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
import { atOnce, type Steps } from '../util/pace.js'
import type { Philox } from '../util/philox.js'
import type { Term } from './terms.js'

/** How events are hidden. */
export interface MaskedEventsOptions {
  /** Share of events to predict. Default 0.15. */
  readonly rate?: number
  /** Which inputs are predicted: `all`, or the schema's fields and the gap before the event alone. Default `all`. */
  readonly predict?: 'all' | 'fields'
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
  return atOnce(maskSteps(batch, random, options))
}

/** The same in short steps. */
export function* maskSteps(batch: PackedBatch, random: Philox, options: MaskedEventsOptions = {}): Steps<MaskedBatch> {
  const { rate = 0.15 } = options
  const events = batch.offsets[batch.offsets.length - 1]
  const chosen: number[] = []
  for (let t = 0; t < events; t++) if (random.uniform() < rate) chosen.push(t)
  if (chosen.length === 0 && events > 0) chosen.push(random.below(events))
  const rows = Int32Array.from(chosen)
  // Where each chosen event's fields come from: itself, another event, or the mask (−1).
  const source = rows.map(row => {
    const draw = random.uniform()
    return draw < MASKED ? -1 : draw < MASKED + REPLACED ? random.below(events) : row
  })
  const targets = batch.inputs.map(input => targetsOf(input, rows, random))
  const inputs: InputColumn[] = []
  for (const input of batch.inputs) {
    yield
    inputs.push(input.offsets ? hideTexts(input, rows, source) : hide(input, rows, source))
  }
  return { batch: { ...batch, inputs }, rows, targets }
}

function targetsOf(input: InputColumn, rows: Int32Array, random: Philox): Int32Array {
  const { codes, offsets } = input
  // What is hidden for another reason cannot be predicted.
  if (!offsets) return rows.map(row => (codes[row] === MASK ? -1 : codes[row]))
  // One word stands for the text.
  return rows.map(row => {
    const words = offsets[row + 1] - offsets[row]
    return words === 0 ? -1 : codes[offsets[row] + random.below(words)]
  })
}

function hide(input: InputColumn, rows: Int32Array, source: Int32Array): InputColumn {
  const codes = input.codes.slice()
  const fraction = input.fraction?.slice()
  rows.forEach((row, i) => {
    const from = source[i]
    codes[row] = from < 0 ? MASK : input.codes[from]
    if (fraction) fraction[row] = from < 0 ? 0 : input.fraction![from]
  })
  return { ...input, codes, fraction }
}

/** A hidden text is the single word "mask". */
function hideTexts(input: InputColumn, rows: Int32Array, source: Int32Array): InputColumn {
  const old = input.offsets!
  const events = old.length - 1
  const from = Int32Array.from({ length: events }, (_, t) => t)
  rows.forEach((row, i) => {
    from[row] = source[i]
  })
  const offsets = new Int32Array(events + 1)
  for (let t = 0; t < events; t++) offsets[t + 1] = offsets[t] + (from[t] < 0 ? 1 : old[from[t] + 1] - old[from[t]])
  const codes = new Int32Array(offsets[events])
  for (let t = 0; t < events; t++) {
    if (from[t] < 0) codes[offsets[t]] = MASK
    else codes.set(input.codes.subarray(old[from[t]], old[from[t] + 1]), offsets[t])
  }
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
