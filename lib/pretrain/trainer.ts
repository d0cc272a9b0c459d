// The training loop: batches of similar lengths, one step in flight ahead, held-out loss, checkpoints, early stop.

import type { Encoder } from '../encoder/encoder.js'
import { readParameters } from '../encoder/model_files.js'
import { expectFinite } from '../encoder/parameters.js'
import { lengthGroupedSteps, type Piece } from '../events/batch.js'
import type { EncodedEvents } from '../events/encode.js'
import { quiet } from '../runtime/device.js'
import { AdamW } from '../runtime/optimizer.js'
import { keyed } from '../runtime/random.js'
import { Tape } from '../runtime/tape.js'
import { scope, Tensor } from '../runtime/tensor.js'
import { unlessAborted } from '../util/abort.js'
import { SeqriskError } from '../util/errors.js'
import { inTurns, type Steps } from '../util/pace.js'
import { Philox } from '../util/philox.js'
import { RUNNING_LOG, type RunState, readCheckpoint, writeCheckpoint } from './checkpoint.js'
import { addStep, type EpochRow, emptySums, type Sums, summary, writeLog } from './log.js'
import { type PreparedBatch, PretrainModel } from './model.js'
import { learningRateAt, type PretrainOptions, type Resolved, streams } from './options.js'
import type { Split } from './split.js'
import type { Term } from './terms.js'

/** Windows of long sequences draw from a key of their own. */
const WINDOWS_KEY = 0x5eed

interface StepResult {
  readonly terms: readonly Term[]
  readonly events: number
  readonly rate: number
  /** loss and correct of each term, then the gradient norm. */
  readonly values: Promise<Float32Array>
}

export class Trainer {
  readonly #encoder: Encoder
  readonly #encoded: EncodedEvents
  readonly #options: Resolved
  readonly #call: PretrainOptions
  readonly #fingerprint: string
  readonly #model: PretrainModel
  readonly #optimizer: AdamW
  readonly #split: Split
  #step = 0
  #epoch = 0
  #stepInEpoch = 0
  #sums: Sums = emptySums()
  #rows: EpochRow[] = []
  #bestHeldOut: number | null = null
  #epochsWithoutBetter = 0
  /** Learning rate of the last step that is known. */
  #rate = 0
  #lastCheckpoint = 'none'
  #checkpointDue = 0
  #eventsSeen = 0
  #secondsSpent = 0

  constructor(
    encoder: Encoder,
    encoded: EncodedEvents,
    split: Split,
    options: Resolved,
    fingerprint: string,
    call: PretrainOptions,
  ) {
    this.#encoder = encoder
    this.#encoded = encoded
    this.#split = split
    this.#options = options
    this.#call = call
    this.#fingerprint = fingerprint
    this.#model = new PretrainModel(encoder, options)
    const { weightDecay, clip } = options
    try {
      this.#optimizer = new AdamW(this.#model.parameters, { weightDecay, maxNorm: clip })
    } catch (error) {
      this.#model.dispose()
      throw error
    }
  }

  /** Trains to the end, or to an early stop. */
  async run(): Promise<readonly EpochRow[]> {
    const { epochs, patience } = this.#options
    try {
      if (this.#call.resume) await this.#resume()
      const stepsPerEpoch = (await this.#batches(0)).length
      while (this.#epoch < epochs) {
        // Before the epoch: a run that is resumed may have stopped already.
        if (patience > 0 && this.#epochsWithoutBetter >= patience) break
        await this.#runEpoch(stepsPerEpoch * epochs)
      }
      return this.#rows
    } catch (error) {
      if (this.#call.device === undefined) await quiet(this.#encoder.device)
      throw error
    }
  }

  dispose(): void {
    this.#optimizer.dispose()
    this.#model.dispose()
  }

  async #runEpoch(steps: number): Promise<void> {
    const { signal, out, checkpointSeconds = 60 } = this.#call
    const batches = await this.#batches(this.#epoch)
    this.#checkpointDue = performance.now() + checkpointSeconds * 1000
    let previous: StepResult | null = null
    while (this.#stepInEpoch < batches.length) {
      signal?.throwIfAborted()
      const begun = performance.now()
      const prepared = await this.#prepare(
        batches[this.#stepInEpoch],
        this.#epoch * streams.perEpoch + this.#stepInEpoch,
      )
      const next = this.#enqueueStep(prepared, steps)
      // The step before is read while this one runs: the device never waits for JavaScript.
      if (previous) await this.#finishStep(previous, begun)
      previous = next
      this.#step++
      this.#stepInEpoch++
      if (out !== undefined && performance.now() >= this.#checkpointDue && this.#stepInEpoch < batches.length) {
        await this.#finishStep(previous, performance.now())
        previous = null
        await this.#checkpoint(out)
        this.#checkpointDue = performance.now() + checkpointSeconds * 1000
      }
    }
    if (previous) await this.#finishStep(previous, performance.now())
    await this.#endEpoch(out)
  }

  async #endEpoch(out: string | undefined): Promise<void> {
    const sums = this.#sums
    const held = await this.#heldOutSums()
    const heldOutLoss = held && held.loss / held.steps
    this.#rows.push({
      epoch: this.#epoch,
      steps: sums.steps,
      events: sums.events,
      loss: sums.loss / Math.max(1, sums.steps),
      heldOutLoss,
      terms: summary(sums),
      heldOutTerms: held ? summary(held) : {},
      learningRate: this.#rate,
      gradientNorm: sums.gradientNorm / Math.max(1, sums.steps),
      seconds: sums.seconds,
    })
    const isBetter = heldOutLoss !== null && (this.#bestHeldOut === null || heldOutLoss < this.#bestHeldOut)
    if (isBetter) this.#bestHeldOut = heldOutLoss
    this.#epochsWithoutBetter = isBetter || heldOutLoss === null ? 0 : this.#epochsWithoutBetter + 1
    this.#epoch++
    this.#stepInEpoch = 0
    this.#sums = emptySums()
    if (out !== undefined) {
      await this.#checkpoint(out)
      await writeLog(out, { run: this.#fingerprint, epochs: this.#rows }, RUNNING_LOG)
    }
  }

  /** Enqueues forward, backward and update. Returns at once. */
  #enqueueStep(prepared: PreparedBatch, steps: number): StepResult {
    const rate = learningRateAt(this.#step, steps, this.#options)
    const { terms, values } = scope(() => {
      const tape = new Tape()
      const terms = tape.record(() => this.#model.losses(prepared, true))
      tape.backward(terms.map(({ loss, weight }) => ({ loss, dout: weight })))
      const norm = this.#optimizer.step(rate)
      return {
        terms: terms.map(({ name, weight, counted }) => ({ name, weight, counted })),
        values: this.#report(terms, norm),
      }
    })
    this.#model.reuse()
    return { terms: terms as Term[], events: prepared.events, rate, values }
  }

  /** Loss and correct of each term, then the norm, in one read. */
  #report(terms: readonly Term[], norm: Tensor<'float32'> | null): Promise<Float32Array> {
    const report = Tensor.zeros(this.#encoder.device, 'float32', [2 * terms.length + 1])
    terms.forEach(({ loss, correct }, i) => {
      report.view(2 * i, [1]).copyFrom(loss)
      report.view(2 * i + 1, [1]).copyFrom(correct)
    })
    if (norm) report.view(2 * terms.length, [1]).copyFrom(norm)
    const values = report.read()
    // A run that was aborted never looks at it again.
    values.catch(() => {})
    return values
  }

  async #finishStep(step: StepResult, begun: number): Promise<void> {
    const values = await unlessAborted(step.values, this.#call.signal)
    const sums = this.#sums
    const loss = addStep(sums, step.terms, values)
    const norm = values[2 * step.terms.length]
    if (!Number.isFinite(loss) || !Number.isFinite(norm)) {
      throw new SeqriskError(
        'TRAINING_DIVERGED',
        `[pretrain] expected a finite loss and gradient but received loss ${loss} and gradient norm ${norm} in step ` +
          `${this.#step} of epoch ${this.#epoch}; last good checkpoint: ${this.#lastCheckpoint}; lower learningRate ` +
          'or look for extreme values in the events',
      )
    }
    sums.events += step.events
    sums.gradientNorm += norm
    this.#rate = step.rate
    const seconds = (performance.now() - begun) / 1000
    sums.seconds += seconds
    this.#eventsSeen += step.events
    this.#secondsSpent += seconds
    this.#progress(loss)
  }

  #progress(loss: number): void {
    const { onProgress } = this.#call
    if (!onProgress) return
    const { epochs } = this.#options
    const perEpoch = this.#split.trainingEvents
    const done = this.#epoch * perEpoch + this.#sums.events
    const total = perEpoch * epochs
    const eventsPerSecond = this.#eventsSeen / Math.max(1e-9, this.#secondsSpent)
    const secondsLeft = (total - done) / Math.max(1e-9, eventsPerSecond)
    onProgress({ phase: 'train', done, total, epoch: this.#epoch, epochs, loss, eventsPerSecond, secondsLeft })
  }

  /** Loss over the held-out entities, with the same hidden events and cuts each time; null without any. */
  async #heldOutSums(): Promise<Sums | null> {
    const { heldOut } = this.#split
    const { signal } = this.#call
    if (heldOut.length === 0) return null
    const sums = emptySums()
    let stream = streams.heldOut
    for (const sequences of await this.#grouped(heldOut, 0)) {
      signal?.throwIfAborted()
      const prepared = await this.#prepare(sequences, stream++)
      const { terms, values } = scope(() => {
        const terms = this.#model.losses(prepared, false)
        return {
          terms: terms.map(({ name, weight, counted }) => ({ name, weight, counted })),
          values: this.#report(terms, null),
        }
      })
      this.#model.reuse()
      addStep(sums, terms, await unlessAborted(values, signal))
    }
    return sums
  }

  #prepare(sequences: Int32Array, stream: number): Promise<PreparedBatch> {
    const { offsets } = this.#encoded
    const random = new Philox(keyed(this.#options.seed, WINDOWS_KEY), stream)
    const pieces = Array.from(sequences, (sequence): Piece => {
      const length = offsets[sequence + 1] - offsets[sequence]
      const kept = this.#split.lengths[sequence]
      const begin = length > kept ? random.below(length - kept + 1) : 0
      return { sequence, begin, end: begin + kept }
    })
    return inTurns(this.#model.prepareSteps(this.#encoded, pieces, stream), this.#call.signal)
  }

  #batches(epoch: number): Promise<Int32Array[]> {
    return this.#grouped(this.#split.training, epoch)
  }

  #grouped(sequences: Int32Array, epoch: number): Promise<Int32Array[]> {
    return inTurns(this.#groupedSteps(sequences, epoch), this.#call.signal)
  }

  *#groupedSteps(sequences: Int32Array, epoch: number): Steps<Int32Array[]> {
    const { batchEvents, seed } = this.#options
    const lengths = sequences.map(sequence => this.#split.lengths[sequence])
    yield
    const batches = yield* lengthGroupedSteps(lengths, { events: batchEvents, seed, epoch })
    for (const [b, batch] of batches.entries()) {
      for (let i = 0; i < batch.length; i++) batch[i] = sequences[batch[i]]
      if (b % 16 === 0) yield
    }
    return batches
  }

  async #checkpoint(out: string): Promise<void> {
    const state: RunState = {
      step: this.#step,
      epoch: this.#epoch,
      stepInEpoch: this.#stepInEpoch,
      sums: this.#sums,
      rows: this.#rows,
      bestHeldOut: this.#bestHeldOut,
      epochsWithoutBetter: this.#epochsWithoutBetter,
    }
    const { signal } = this.#call
    const tensors = await unlessAborted(readParameters(this.#model.parameters), signal)
    for (const [name, tensor] of await unlessAborted(this.#optimizer.state(), signal)) tensors.set(name, tensor)
    await writeCheckpoint(out, this.#fingerprint, { state, tensors })
    this.#lastCheckpoint = `epoch ${this.#epoch}, step ${this.#step} in ${out}`
  }

  async #resume(): Promise<void> {
    const checkpoint = await readCheckpoint<RunState>('pretrain', this.#call.out!, this.#fingerprint)
    if (!checkpoint) return
    const { state, tensors } = checkpoint
    for (const { name, value } of this.#model.parameters) {
      const stored = tensors.get(name)
      if (!stored || stored.values.length !== value.size) {
        throw new SeqriskError('MODEL_INVALID', `[pretrain] expected '${name}' in the checkpoint but received none`)
      }
      expectFinite('pretrain', name, stored.values)
      value.write(stored.values)
    }
    this.#optimizer.load(tensors)
    this.#step = state.step
    this.#epoch = state.epoch
    this.#stepInEpoch = state.stepInEpoch
    this.#sums = state.sums
    this.#rows = [...state.rows]
    this.#bestHeldOut = state.bestHeldOut
    this.#epochsWithoutBetter = state.epochsWithoutBetter
    this.#lastCheckpoint = `epoch ${state.epoch}, step ${state.step} in ${this.#call.out}`
  }
}
