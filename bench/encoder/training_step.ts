// Training steps on one batch of events, as `pretrain` makes them.

import type { Encoder } from '../../lib/encoder/encoder.js'
import { wholeSequences } from '../../lib/events/batch.js'
import type { EncodedEvents } from '../../lib/events/encode.js'
import { type PreparedBatch, PretrainModel } from '../../lib/pretrain/model.js'
import { type ProxyTask, resolveOptions } from '../../lib/pretrain/options.js'
import { AdamW } from '../../lib/runtime/optimizer.js'
import { Tape } from '../../lib/runtime/tape.js'
import { scope } from '../../lib/runtime/tensor.js'

export class TrainingStep {
  readonly #model: PretrainModel
  readonly #optimizer: AdamW
  readonly #events: EncodedEvents
  #count = 0
  #prepared: PreparedBatch | null = null

  constructor(encoder: Encoder, events: EncodedEvents, tasks: readonly ProxyTask[]) {
    this.#events = events
    this.#model = new PretrainModel(encoder, resolveOptions({ tasks, seed: 1 }, events.time.length))
    this.#optimizer = new AdamW(this.#model.parameters, { weightDecay: 0.01 })
  }

  /**
   * So many steps, each prepared while the one before runs, or with one batch for all of them. Returns the last loss,
   * summed over the tasks.
   */
  async run(steps: number, fresh = true): Promise<number> {
    let waiting: Promise<Float32Array[]> | null = null
    for (let i = 0; i < steps; i++) {
      if (fresh || !this.#prepared) this.#prepared = this.prepare()
      const next = this.enqueue(this.#prepared)
      if (fresh) this.reuse()
      await waiting
      waiting = next
    }
    const losses = (await waiting) ?? []
    const loss = losses.reduce((sum, [value]) => sum + value, 0)
    if (!Number.isFinite(loss)) throw new Error(`a training step ended with loss ${loss}`)
    return loss
  }

  /** What was enqueued has its copy: the next batches may take over the arrays of those before. */
  reuse(): void {
    this.#model.reuse()
  }

  dispose(): void {
    this.#optimizer.dispose()
    this.#model.dispose()
  }

  /** The next batch: cut, hidden, with its targets. */
  prepare(): PreparedBatch {
    const { ids, offsets } = this.#events
    const pieces = wholeSequences(
      offsets,
      Int32Array.from(ids, (_, i) => i),
    )
    return this.#model.prepare(this.#events, pieces, this.#count++)
  }

  /** Forward, backward and update; resolves with the loss of each task. */
  enqueue(prepared: PreparedBatch): Promise<Float32Array[]> {
    const losses = scope(() => {
      const tape = new Tape()
      const terms = tape.record(() => this.#model.losses(prepared, true))
      tape.backward(terms.map(({ loss, weight }) => ({ loss, dout: weight })))
      this.#optimizer.step(1e-3)
      return terms.map(({ loss }) => loss)
    })
    const values = Promise.all(losses.map(loss => loss.read()))
    for (const loss of losses) loss.dispose()
    return values
  }
}
