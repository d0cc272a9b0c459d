// The training loop: the head alone, then everything; validation, checkpoints, early stop, best weights, and how far to go to them.

import { toDevice } from '../../encoder/batch.js'
import type { Encoder } from '../../encoder/encoder.js'
import { readParameters } from '../../encoder/model_files.js'
import { expectFinite } from '../../encoder/parameters.js'
import type { Piece } from '../../events/batch.js'
import { slicePooled } from '../../events/slice.js'
import type { StoredTensor } from '../../export/safetensors.js'
import { readCheckpoint, writeCheckpoint } from '../../pretrain/checkpoint.js'
import { maskSteps } from '../../pretrain/masked_events.js'
import { dropSeed, fastPhilox } from '../../runtime/random.js'
import type { Parameter } from '../../runtime/tape.js'
import type { Tensor } from '../../runtime/tensor.js'
import { unlessAborted } from '../../util/abort.js'
import { ArrayPool } from '../../util/array_pool.js'
import { SeqriskError } from '../../util/errors.js'
import { inTurns, Pace } from '../../util/pace.js'
import { Philox } from '../../util/philox.js'
import { storedBends } from './bends.js'
import { finishScores, qualityOf, type ScoreQuality } from './goal.js'
import type { Head } from './head.js'
import type { FinetuneJob } from './job.js'
import { type Best, emptySums, type FinetuneRow, type FinetuneState, isBetter, type StepSums } from './log.js'
import { interpolate, keep, mixesOf, restore } from './mixing.js'
import { type FinetuneOptions, type Resolved, scheduleAt, streams } from './options.js'
import { GroupedAdamW, rateGroups } from './rates.js'
import { encodeRows } from './rows.js'
import { enqueueStep, finishStep, type Step } from './step.js'
import { warmUpHead } from './warmup.js'

type Float = Tensor<'float32'>

/** What a run ends with. */
export interface FinetuneOutcome {
  readonly log: readonly FinetuneRow[]
  /** The best validation, or cross-validation, and after how many epochs it was; null without any. */
  readonly best: Best | null
  /** How far the weights are from those before training to those after it: 0 … 1. */
  readonly mixing: number
  /** Quality at each of `mixesOf`, where they were tried. */
  readonly mixes: readonly ScoreQuality[]
}

export class FinetuneTrainer {
  readonly #encoder: Encoder
  readonly #head: Head
  readonly #job: FinetuneJob
  readonly #options: Resolved
  readonly #call: FinetuneOptions
  readonly #fingerprint: string
  /** Copies of the best weights; empty until there is a validation. */
  readonly #kept: Float[] = []
  /** Copies of the weights before training; empty where all of the way is gone. */
  readonly #first: Float[] = []
  /** Of the batch that is being prepared. */
  readonly #arrays = new ArrayPool()
  #step = 0
  #epoch = 0
  #stepInEpoch = 0
  #sums: StepSums = emptySums()
  #rows: FinetuneRow[] = []
  #best: Best | null = null
  #epochsWithoutBetter = 0
  #lastCheckpoint = 'none'
  #checkpointDue = 0
  #eventsSeen = 0
  #secondsSpent = 0
  /** How far the weights have gone, where no validation says. */
  #mixing = 1
  /** Epochs after which training ends and how far to go to that end, where a cross-validation chose them. */
  #chosen: Best | null = null

  constructor(
    encoder: Encoder,
    head: Head,
    job: FinetuneJob,
    options: Resolved,
    fingerprint: string,
    call: FinetuneOptions,
  ) {
    this.#encoder = encoder
    this.#head = head
    this.#job = job
    this.#options = options
    this.#fingerprint = fingerprint
    this.#call = call
  }

  /**
   * Trains to the end, or to an early stop, and leaves the best weights.
   * @param choose  how many epochs to train; asked unless a checkpoint knows
   */
  async run(choose: () => Promise<Best | null> = async () => null): Promise<FinetuneOutcome> {
    const { patience, weightDecay } = this.#options
    const { out, resume } = this.#call
    const groups = rateGroups(this.#encoder, this.#head.parameters, this.#options)
    // Else the batches with a rare class would be cut down to those without.
    const clip = this.#options.clip * Math.max(1, ...(this.#job.classWeights ?? []))
    const optimizer =
      this.#options.epochs > 0 && groups.length > 0 ? new GroupedAdamW(groups, { weightDecay, clip }) : null
    try {
      const isResumed = resume === true && optimizer !== null && (await this.#resume(optimizer, out!))
      if (!isResumed) {
        if (optimizer) this.#chosen = await choose()
        await this.#begin(optimizer)
      }
      const epochs = this.#chosen?.epochs ?? (this.#isUnjudged ? 0 : this.#options.epochs)
      while (optimizer && this.#epoch < epochs) {
        if (patience > 0 && this.#epochsWithoutBetter >= patience) break
        await this.#runEpoch(optimizer)
      }
      restore(this.#kept, this.#parameters)
      const mixes = await this.#mix()
      const best = this.#best ?? this.#chosen
      return { log: this.#rows, best, mixing: best?.mixing ?? this.#mixing, mixes }
    } finally {
      optimizer?.dispose()
    }
  }

  dispose(): void {
    for (const copy of [...this.#kept, ...this.#first]) copy.dispose()
    this.#kept.length = 0
    this.#first.length = 0
  }

  get #parameters(): Parameter[] {
    return [...this.#encoder.parameters, ...this.#head.parameters]
  }

  /** Nothing tells how far to go: a class is too rare. The fitted head stays. */
  get #isUnjudged(): boolean {
    return this.#options.mixing === 'validated' && this.#chosen === null && this.#job.validation.length === 0
  }

  async #begin(optimizer: GroupedAdamW | null): Promise<void> {
    const begun = performance.now()
    await warmUpHead(this.#encoder, this.#head, this.#job, this.#options, this.#call)
    if (optimizer && this.#options.mixing !== 1) keep(this.#parameters, this.#first)
    if (this.#options.warmHead) {
      const validation = await this.#validate()
      const seconds = (performance.now() - begun) / 1000
      const nothing = { epoch: 0, steps: 0, events: 0, loss: null, learningRate: 0, gradientNorm: 0 }
      this.#rows = [{ ...nothing, validation, seconds }]
    }
    if (optimizer && this.#call.out !== undefined) await this.#checkpoint(optimizer, this.#call.out)
  }

  async #runEpoch(optimizer: GroupedAdamW): Promise<void> {
    const { signal, out, checkpointSeconds = 60 } = this.#call
    const { warmup, epochs } = this.#options
    const batches = await this.#batches(this.#epoch)
    this.#checkpointDue = performance.now() + checkpointSeconds * 1000
    let previous: Step | null = null
    let share = 0
    const finish = async (step: Step, begun: number) => {
      const loss = await finishStep(step, this.#job.goal, this.#sums, () => this.#where(), signal)
      const seconds = (performance.now() - begun) / 1000
      this.#sums.seconds += seconds
      this.#eventsSeen += step.events
      this.#secondsSpent += seconds
      this.#progress(loss)
    }
    while (this.#stepInEpoch < batches.length) {
      signal?.throwIfAborted()
      const begun = performance.now()
      share = scheduleAt((this.#epoch + (this.#stepInEpoch + 0.5) / batches.length) / epochs, warmup)
      const next = await this.#enqueue(optimizer, batches[this.#stepInEpoch], share)
      if (previous) await finish(previous, begun)
      previous = next
      this.#step++
      this.#stepInEpoch++
      if (out !== undefined && performance.now() >= this.#checkpointDue && this.#stepInEpoch < batches.length) {
        await finish(previous, performance.now())
        previous = null
        await this.#checkpoint(optimizer, out)
        this.#checkpointDue = performance.now() + checkpointSeconds * 1000
      }
    }
    if (previous) await finish(previous, performance.now())
    await this.#endEpoch(optimizer, share)
  }

  /** Cuts the newest events of the sequences, and enqueues a step on them. */
  async #enqueue(optimizer: GroupedAdamW, sequences: Int32Array, share: number): Promise<Step> {
    const { encoded } = this.#job
    const { window, dropout, encoderDropout, mask, seed } = this.#options
    const pieces = Array.from(sequences, (sequence): Piece => {
      const length = encoded.offsets[sequence + 1] - encoded.offsets[sequence]
      return { sequence, begin: Math.max(0, length - window), end: length }
    })
    const { signal } = this.#call
    let packed = await inTurns(slicePooled(encoded, pieces, this.#arrays), signal)
    if (mask > 0) {
      const random = fastPhilox(seed, streams.mask + this.#step)
      packed = (await inTurns(maskSteps(packed, random, { rate: mask }, this.#arrays), signal)).batch
    }
    const random = dropSeed(seed, streams.step + this.#step)
    const inside = { dropout: { rate: encoderDropout, seed: random, nextElement: 0 } }
    // Another key: elements of vectors fall by numbers of their own.
    const outside = { dropout: { rate: dropout, seed: random + 2 ** 32, nextElement: 0 } }
    const outputs = () => {
      const batch = toDevice(this.#encoder.device, packed)
      return this.#head.apply(this.#encoder.vectors(batch, inside), outside)
    }
    const events = packed.offsets[packed.offsets.length - 1]
    const step = enqueueStep(this.#job, optimizer, outputs, sequences, share, events)
    this.#arrays.reuse()
    return step
  }

  async #endEpoch(optimizer: GroupedAdamW, share: number): Promise<void> {
    const { out } = this.#call
    const sums = this.#sums
    this.#epoch++
    this.#epochsWithoutBetter++
    this.#rows.push({
      epoch: this.#epoch,
      steps: sums.steps,
      events: sums.events,
      loss: sums.loss / sums.rows,
      validation: await this.#validate(),
      learningRate: this.#options.learningRate * share,
      gradientNorm: sums.gradientNorm / sums.steps,
      seconds: sums.seconds,
    })
    this.#stepInEpoch = 0
    this.#sums = emptySums()
    if (out !== undefined) await this.#checkpoint(optimizer, out)
  }

  /** Judges an epoch, and keeps the weights if they are the best so far; null where nothing judges it. */
  async #validate(): Promise<ScoreQuality | null> {
    const { validation, judges } = this.#job
    if (validation.length === 0 || judges === 'mixes') {
      this.#epochsWithoutBetter = 0
      return null
    }
    const quality = await this.#judge()
    if (isBetter(quality, this.#best, this.#options.stopOn)) {
      this.#best = { epochs: this.#epoch, mixing: 1, quality }
      this.#epochsWithoutBetter = 0
      keep(this.#parameters, this.#kept)
    }
    return quality
  }

  /** How well the weights as they are serve the rows kept out. */
  async #judge(): Promise<ScoreQuality> {
    const { validation, encoded, goal, targets } = this.#job
    const { signal } = this.#call
    const outputs = await encodeRows(this.#encoder, this.#head, encoded, { rows: validation, signal })
    const scores = await finishScores(goal, outputs, new Pace(signal))
    const truth = Float64Array.from(validation, row => targets[row])
    return qualityOf(goal, scores, truth, signal)
  }

  /**
   * Goes back some of the way to the weights before training: as far as was said, as a cross-validation chose, or as serves the
   * rows kept out best.
   * @returns quality at each of `mixesOf` where they were tried
   */
  async #mix(): Promise<ScoreQuality[]> {
    const { mixing, stopOn } = this.#options
    const isHead = this.#epoch === 0 || this.#best?.epochs === 0
    if (this.#first.length === 0 || isHead) return []
    const last: Float[] = []
    try {
      keep(this.#parameters, last)
      const go = (share: number) => interpolate(this.#parameters, this.#first, last, share)
      if (this.#job.validation.length === 0) {
        this.#mixing = mixing === 'validated' ? this.#chosen!.mixing : mixing
        go(this.#mixing)
        return []
      }
      const mixes: ScoreQuality[] = []
      let best: { readonly mixing: number; readonly quality: ScoreQuality } | null = null
      for (const share of mixesOf(mixing)) {
        go(share)
        const quality = await this.#judge()
        if (isBetter(quality, best, stopOn)) best = { mixing: share, quality }
        mixes.push(quality)
      }
      go(best!.mixing)
      this.#best = { epochs: this.#best?.epochs ?? this.#epoch, ...best! }
      return mixes
    } finally {
      for (const copy of last) copy.dispose()
    }
  }

  /** Sequences in random order, as many at a time as steps may have, and as fit into their events. */
  async #batches(epoch: number): Promise<Int32Array[]> {
    const { training, encoded } = this.#job
    const { batchSize, batchEvents, window, seed } = this.#options
    const { signal } = this.#call
    const order = await inTurns(new Philox(seed, streams.order + epoch).shuffleSteps(training.slice()), signal)
    const batches: Int32Array[] = []
    const pace = new Pace(signal)
    for (let begin = 0; begin < order.length; ) {
      let end = begin
      for (let events = 0; end < order.length && end < begin + batchSize; end++) {
        events += Math.min(window, encoded.offsets[order[end] + 1] - encoded.offsets[order[end]])
        if (end > begin && events > batchEvents) break
      }
      batches.push(order.subarray(begin, end))
      begin = end
      await pace.turn()
    }
    return batches
  }

  #where(): string {
    return `step ${this.#step} of epoch ${this.#epoch}; last good checkpoint: ${this.#lastCheckpoint}`
  }

  #progress(loss: number): void {
    const { onProgress } = this.#call
    if (!onProgress) return
    const epochs = this.#chosen?.epochs ?? this.#options.epochs
    const perEpoch = this.#job.training.length
    const total = perEpoch * epochs
    const done = this.#epoch * perEpoch + this.#sums.rows
    const eventsPerSecond = this.#eventsSeen / Math.max(1e-9, this.#secondsSpent)
    const eventsPerRow = this.#sums.events / this.#sums.rows
    const secondsLeft = ((total - done) * eventsPerRow) / Math.max(1e-9, eventsPerSecond)
    onProgress({ phase: 'train', done, total, epoch: this.#epoch, epochs, loss, eventsPerSecond, secondsLeft })
  }

  async #checkpoint(optimizer: GroupedAdamW, out: string): Promise<void> {
    const state: FinetuneState = {
      step: this.#step,
      epoch: this.#epoch,
      stepInEpoch: this.#stepInEpoch,
      sums: this.#sums,
      rows: this.#rows,
      best: this.#best,
      epochsWithoutBetter: this.#epochsWithoutBetter,
      chosen: this.#chosen,
    }
    const tensors = await unlessAborted(this.#tensors(optimizer), this.#call.signal)
    await writeCheckpoint(out, this.#fingerprint, { state, tensors })
    this.#lastCheckpoint = `epoch ${this.#epoch}, step ${this.#step} in ${out}`
  }

  /** All that a checkpoint holds beside the state. */
  async #tensors(optimizer: GroupedAdamW): Promise<Map<string, StoredTensor>> {
    const tensors = await readParameters(this.#encoder.parameters)
    for (const [name, tensor] of await this.#head.read()) tensors.set(name, tensor)
    for (const [prefix, copies] of Object.entries({ best: this.#kept, first: this.#first })) {
      for (const [i, copy] of copies.entries()) {
        tensors.set(`${prefix}: ${this.#parameters[i].name}`, { shape: copy.shape, values: await copy.read() })
      }
    }
    for (const [name, tensor] of await optimizer.state()) tensors.set(name, tensor)
    return tensors
  }

  async #resume(optimizer: GroupedAdamW, out: string): Promise<boolean> {
    const checkpoint = await readCheckpoint<FinetuneState>('finetune', out, this.#fingerprint)
    if (!checkpoint) return false
    const { state, tensors } = checkpoint
    const stored = (name: string, size: number): Float32Array => {
      const found = tensors.get(name)
      if (found?.values.length !== size) {
        throw new SeqriskError('MODEL_INVALID', `[finetune] expected '${name}' in the checkpoint but received none`)
      }
      expectFinite('finetune', name, found.values)
      return found.values
    }
    for (const { name, value } of this.#encoder.parameters) value.write(stored(name, value.size))
    this.#head.bends = storedBends(tensors, this.#head.width)
    this.#head.write(stored)
    const load = (prefix: string, copies: Float[]) => {
      keep(this.#parameters, copies)
      this.#parameters.forEach(({ name }, i) => {
        copies[i].write(stored(`${prefix}: ${name}`, copies[i].size))
      })
    }
    if (state.best) load('best', this.#kept)
    if (this.#options.mixing !== 1) load('first', this.#first)
    optimizer.load(tensors)
    this.#step = state.step
    this.#epoch = state.epoch
    this.#stepInEpoch = state.stepInEpoch
    this.#sums = state.sums
    this.#rows = [...state.rows]
    this.#best = state.best
    this.#epochsWithoutBetter = state.epochsWithoutBetter
    this.#chosen = state.chosen
    this.#lastCheckpoint = `epoch ${state.epoch}, step ${state.step} in ${out}`
    return true
  }
}
