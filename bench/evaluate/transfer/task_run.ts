// One task with what its stages share: events, labels, features, pre-trained encoders and their vectors.

import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { DEFAULT_ENCODER } from '../../../lib/encoder/config.js'
import { Encoder } from '../../../lib/encoder/encoder.js'
import { loadEncoder } from '../../../lib/encoder/model_files.js'
import type { EncodedEvents } from '../../../lib/events/encode.js'
import { encodeSource, fitEncoding } from '../../../lib/events/index.js'
import type { FeatureTable, VectorTable } from '../../../lib/events/table.js'
import type { EpochRow } from '../../../lib/pretrain/log.js'
import { progressLine } from '../../../lib/report/progress.js'
import { Device, type DeviceOptions } from '../../../lib/runtime/device.js'
import { aggregate } from '../../../lib/transfer/aggregate.js'
import type { LabelTable } from '../../../lib/transfer/tables.js'
import { openTask, type Task, type TaskLabel } from '../tasks.js'
import { StageCache } from './cache.js'
import { continuePretraining } from './continue_pretraining.js'
import { countAlone, datesAlone, shuffleOrder } from './controls.js'
import { EMBEDDINGS, ENCODERS, LAST_LAYER, OURS, SKETCH, UNTRAINED } from './encoders.js'
import { GENERATED, openGenerated } from './generated.js'

const D = DEFAULT_ENCODER.width
/** The first column of each part of our vectors, and the one behind its last. */
const PARTS: Readonly<Record<string, [begin: number, end?: number]>> = {
  [LAST_LAYER]: [0, D],
  [EMBEDDINGS]: [D, 2 * D],
  [SKETCH]: [2 * D],
}

export interface RunOptions {
  /** Where models and figures are kept. */
  readonly folder: string
  readonly device: DeviceOptions
  readonly threads?: number
}

export interface Training {
  readonly log: readonly EpochRow[]
  readonly seconds: number
}

export class TaskRun {
  readonly task: Task
  readonly cache: StageCache
  /** For encoders; trees and linear models run on `host`. */
  readonly device: Device
  readonly host: Device
  readonly #kept = new Map<string, Promise<unknown>>()

  private constructor(task: Task, cache: StageCache, device: Device, host: Device) {
    this.task = task
    this.cache = cache
    this.device = device
    this.host = host
  }

  static async open(name: string, { folder, device, threads }: RunOptions): Promise<TaskRun> {
    const own = join(folder, name)
    const task = await (name === GENERATED ? openGenerated(join(own, 'data')) : openTask(name))
    const host = new Device({ kind: 'cpu', threads })
    const { kind = 'cpu', precision } = device
    const isHost = kind === 'cpu' && precision !== 'bfloat16'
    return new TaskRun(task, new StageCache(own), isHost ? host : new Device({ threads, ...device, kind }), host)
  }

  get name(): string {
    return this.task.name
  }

  label(name: string): TaskLabel {
    return this.task.labels.find(label => label.name === name)!
  }

  aggregates(): Promise<FeatureTable> {
    return this.#once('aggregates', () => aggregate(this.task.source))
  }

  /** Events as every encoder of the task sees them. */
  encoded(): Promise<EncodedEvents> {
    return this.#once('encoded', async () => encodeSource(this.task.source, await fitEncoding(this.task.source)))
  }

  /** How an encoder was trained; the first call trains it, or goes on where a run before was ended. */
  training(name: string): Promise<Training> {
    return this.cache.get(`pretrain-${name}`, ENCODERS[name], async () => {
      const line = progressLine({})
      const begun = performance.now()
      try {
        const { encoder, log } = await continuePretraining(this.task.source, {
          ...ENCODERS[name],
          device: this.device,
          out: this.#modelFolder(name),
          onProgress: progress => line.update(progress),
        })
        encoder.dispose()
        return { log, seconds: (performance.now() - begun) / 1000 }
      } finally {
        line.done()
      }
    })
  }

  /** An encoder by its name in `ENCODERS`, or the untrained one. The caller disposes it. */
  async encoder(name: string): Promise<Encoder> {
    if (name === UNTRAINED) {
      const ours = await this.encoder(OURS)
      const untrained = new Encoder(ours.encoding, ours.config, { device: this.device, seed: 1 })
      ours.dispose()
      return untrained
    }
    if (!existsSync(join(this.#modelFolder(name), 'config.json'))) await this.training(name)
    return (await loadEncoder(this.#modelFolder(name), { device: this.device })).encoder
  }

  /** Vectors of an encoder, or one of the controls. */
  vectors(name: string): Promise<VectorTable> {
    return this.#once(`vectors ${name}`, async () => {
      const encoded = await this.encoded()
      if (name === 'count alone') return countAlone(encoded)
      if (name === 'dates alone') return datesAlone(encoded)
      if (name in PARTS) return columns(await this.vectors(OURS), ...PARTS[name])
      const isShuffled = name === 'shuffled order'
      const encoder = await this.encoder(isShuffled ? OURS : name)
      try {
        return await encoder.encodeBlock(isShuffled ? shuffleOrder(encoded) : encoded)
      } finally {
        encoder.dispose()
      }
    })
  }

  labels(label: string): LabelTable {
    return this.label(label)
  }

  async close(): Promise<void> {
    await this.task.source.close()
    if (this.device !== this.host) this.device.close()
    this.host.close()
  }

  #modelFolder(name: string): string {
    return this.cache.path(`model-${name}`, ENCODERS[name], '')
  }

  #once<T>(what: string, make: () => Promise<T>): Promise<T> {
    const kept = this.#kept.get(what) as Promise<T> | undefined
    if (kept) return kept
    const made = make()
    this.#kept.set(what, made)
    return made
  }
}

function columns({ ids, width, vectors }: VectorTable, begin: number, end = width): VectorTable {
  const kept = end - begin
  const values = new Float32Array(ids.length * kept)
  for (let i = 0; i < ids.length; i++) values.set(vectors.subarray(i * width + begin, i * width + end), i * kept)
  return { ids, width: kept, vectors: values }
}
