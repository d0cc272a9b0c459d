// One task from events to AUCs: aggregates, an untrained encoder, pre-trained vectors, both, and the controls.

import { Encoder } from '../../lib/encoder/encoder.js'
import type { EncodedEvents } from '../../lib/events/encode.js'
import { encodeSource } from '../../lib/events/index.js'
import type { PretrainOptions } from '../../lib/pretrain/options.js'
import { pretrain } from '../../lib/pretrain/pretrain.js'
import { progressLine } from '../../lib/report/progress.js'
import { Device } from '../../lib/runtime/device.js'
import { aggregate } from '../../lib/transfer/aggregate.js'
import { probe } from '../../lib/transfer/probe.js'
import type { Table } from '../../lib/transfer/tables.js'
import { Philox } from '../../lib/util/philox.js'
import type { Task } from './tasks.js'

export interface Score {
  readonly mean: number
  readonly sd: number
}

/** The rows of the report, in order. */
export const contenders = [
  'aggregates',
  'untrained',
  'vectors',
  'aggregates + vectors',
  'vectors, shuffled order',
  'count alone',
  'dates alone',
] as const
export type Contender = (typeof contenders)[number]

export interface LabelResult {
  readonly task: string
  readonly label: string
  readonly metric: string
  readonly rows: number
  readonly scores: Readonly<Record<Contender, Score>>
}

export interface TaskResult {
  readonly task: string
  readonly labels: readonly LabelResult[]
  readonly seconds: {
    readonly aggregate: number
    readonly pretrain: number
    readonly encode: number
    readonly probe: number
  }
  readonly events: number
  readonly entities: number
}

/** Runs a task with the defaults, or with the options given. Nothing looks at a test fold before the probe does. */
export async function evaluateTask(task: Task, options: PretrainOptions = {}): Promise<TaskResult> {
  const device = new Device()
  const line = progressLine({})
  const seconds = { aggregate: 0, pretrain: 0, encode: 0, probe: 0 }
  const timed = async <R>(part: keyof typeof seconds, work: () => Promise<R>): Promise<R> => {
    const begun = performance.now()
    const result = await work()
    seconds[part] += (performance.now() - begun) / 1000
    return result
  }
  try {
    const features = await timed('aggregate', () => aggregate(task.source))
    const { encoder } = await timed('pretrain', () =>
      pretrain(task.source, { ...options, device, onProgress: progress => line.update(progress) }),
    )
    line.done()
    const untrained = new Encoder(encoder.encoding, encoder.config, { device, seed: 1 })
    const encoded = await encodeSource(task.source, encoder.encoding)
    const [vectors, random, shuffled] = await timed('encode', async () => [
      await encoder.encodeBlock(encoded),
      await untrained.encodeBlock(encoded),
      await encoder.encodeBlock(shuffleOrder(encoded)),
    ])
    const labels: LabelResult[] = []
    for (const label of task.labels) {
      const run = (vectors: Table, features?: Table) =>
        timed('probe', () => probe({ vectors, features, labels: label, device }))
      const alone = async (vectors: Table) => (await run(vectors)).results.vectors
      const all = await run(vectors, features)
      labels.push({
        task: task.name,
        label: label.name,
        metric: all.metric,
        rows: all.rows,
        scores: {
          aggregates: all.results.features!,
          untrained: await alone(random),
          vectors: all.results.vectors,
          'aggregates + vectors': all.results.both!,
          'vectors, shuffled order': await alone(shuffled),
          'count alone': await alone(countAlone(encoded)),
          'dates alone': await alone(datesAlone(encoded)),
        },
      })
    }
    encoder.dispose()
    untrained.dispose()
    return { task: task.name, labels, seconds, events: encoded.time.length, entities: encoded.ids.length }
  } finally {
    line.done()
    device.close()
  }
}

/** The permutation control: the same events of each entity in random order. Gaps move with their events. */
export function shuffleOrder(encoded: EncodedEvents): EncodedEvents {
  const random = new Philox(1, 77)
  const { offsets } = encoded
  const from = Int32Array.from({ length: encoded.time.length }, (_, t) => t)
  for (let i = 0; i + 1 < offsets.length; i++) random.shuffle(from.subarray(offsets[i], offsets[i + 1]))
  const inputs = encoded.inputs.map(input => {
    if (input.offsets) {
      const words = input.offsets
      const moved = new Int32Array(words.length)
      from.forEach((source, t) => {
        moved[t + 1] = moved[t] + words[source + 1] - words[source]
      })
      const codes = new Int32Array(input.codes.length)
      from.forEach((source, t) => {
        codes.set(input.codes.subarray(words[source], words[source + 1]), moved[t])
      })
      return { ...input, codes, offsets: moved }
    }
    const codes = from.map(source => input.codes[source])
    const fraction = input.fraction && Float32Array.from(from, source => input.fraction![source])
    return { ...input, codes, fraction }
  })
  return { ...encoded, inputs }
}

/** The number of events, as it is and in logarithm: what the size of the sample alone gives away. */
function countAlone({ ids, offsets }: EncodedEvents): Table {
  const values = new Float32Array(ids.length * 2)
  ids.forEach((_, i) => {
    values[2 * i] = offsets[i + 1] - offsets[i]
    values[2 * i + 1] = Math.log1p(values[2 * i])
  })
  return { ids, width: 2, vectors: values }
}

/** First and last time: what the dates of the sample alone give away. */
function datesAlone({ ids, offsets, time }: EncodedEvents): Table {
  const values = new Float32Array(ids.length * 2)
  ids.forEach((_, i) => {
    values[2 * i] = time[offsets[i]]
    values[2 * i + 1] = time[offsets[i + 1] - 1]
  })
  return { ids, width: 2, vectors: values }
}
