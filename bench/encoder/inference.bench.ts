// Inference: ours against onnxruntime-node with the same encoder and weights, in turns in one process.

import { Encoder } from '../../lib/encoder/encoder.js'
import { sliceBatch, wholeSequences } from '../../lib/events/batch.js'
import type { EncodedEvents } from '../../lib/events/encode.js'
import type { EventEncoding } from '../../lib/events/inputs.js'
import { exportEncoder } from '../../lib/export/onnx.js'
import { padInputs } from '../../lib/export/onnx_inputs.js'
import type { Device } from '../../lib/runtime/device.js'
import {
  INSTALL,
  INSTALLED_BY,
  loadOnnxruntime,
  type Onnxruntime,
  type OnnxSession,
  type OnnxTensor,
} from '../peers/onnxruntime.js'
import { benchDevice, benchPrecision, mayInstall } from '../support/device.js'
import { benchEncoder, CONFIG, evenEvents, expectSame, inTurns, THREADS } from './contenders.js'
import { realEvents } from './real_events.js'
import { compared, type Row, type Skip, toLines } from './rows.js'

const BENCH = 'encoder/inference'
/** users, length, runs in a turn, turns, target */
const SHAPES = [
  { users: 1, length: 128, repeats: 100, turns: 8, target: 1.5 },
  { users: 32, length: 512, repeats: 2, turns: 9, target: 2 },
  { users: 8, length: 4000, repeats: 1, turns: 9, target: 2 },
]
const REAL = [
  { task: 'physionet', events: 100_000, turns: 3, target: 3 },
  { task: 'bpic2012', events: 100_000, turns: 3, target: 3 },
]
/** Padded events of one of the rival's batches on real data. */
const PADDED_EVENTS = 4096
/** Operands of bfloat16 have 8 bits. */
const TOLERANCE = { float32: 1e-4, bfloat16: 0.05 }[benchPrecision()]

export default () => toLines(inferenceBench())

async function* inferenceBench(): AsyncGenerator<Row | Skip> {
  const ort = loadOnnxruntime({ install: mayInstall() })
  if (!ort)
    yield { bench: BENCH, reason: `onnxruntime-node is not installed; ${mayInstall() ? INSTALL : INSTALLED_BY}` }
  const device = benchDevice(THREADS)
  try {
    for (const shape of SHAPES) yield* even(device, ort, shape)
    for (const { task, events, turns, target } of REAL) {
      const real = await realEvents(task, events)
      if (real) yield* uneven(device, ort, { name: task, ...real, turns, target })
      else yield { bench: BENCH, reason: `no events of ${task} beside this checkout` }
    }
  } finally {
    device.close()
  }
}

async function* even(device: Device, ort: Onnxruntime | null, shape: (typeof SHAPES)[number]): AsyncGenerator<Row> {
  const { users, length, repeats, turns, target } = shape
  const encoder = benchEncoder(device)
  const encoded = evenEvents(users, length)
  const ours = { name: 'ours', repeats, run: () => encoder.encodeBlock(encoded) }
  const contenders: { name: string; repeats: number; run: () => Promise<unknown> }[] = [ours]
  let session: OnnxSession | null = null
  if (ort) {
    // What suits the rival best: sizes known beforehand, no padding, no masks.
    const model = await exportEncoder(encoder, { operators: 'onnxruntime', users, length, padded: false })
    session = await ort.session(model, THREADS)
    const feeds = ort.feeds(session, padInputs(encoder.encoding, encoded))
    const { vectors } = await session.run(feeds)
    expectSame(vectors.data, (await ours.run()).vectors, TOLERANCE, BENCH)
    contenders.push({ name: `onnxruntime ${ort.version}`, repeats, run: () => session!.run(feeds) })
  }
  const [mine, theirs] = await inTurns(contenders, turns)
  const events = users * length
  const row = { bench: BENCH, shape: `(${users}, ${length})`, peer: theirs?.name, target: ort ? target : undefined }
  if (users > 1) {
    const peer = theirs && events / theirs.median
    yield compared({ ...row, unit: 'events/s', ours: events / mine.median, spread: mine.spread, theirs: peer })
  } else {
    const ms = { ...row, unit: 'ms' } as const
    const p50 = { ours: 1000 * mine.median, theirs: theirs && 1000 * theirs.median, spread: mine.spread }
    yield compared({ ...ms, shape: `${row.shape} p50`, ...p50 })
    yield compared({ ...ms, shape: `${row.shape} p99`, ours: 1000 * mine.p99, theirs: theirs && 1000 * theirs.p99 })
  }
  await session?.release()
  encoder.dispose()
}

interface Uneven {
  readonly name: string
  readonly encoding: EventEncoding
  readonly encoded: EncodedEvents
  readonly turns: number
  readonly target: number
}

async function* uneven(device: Device, ort: Onnxruntime | null, real: Uneven): AsyncGenerator<Row> {
  const { name, encoding, encoded, turns, target } = real
  const encoder = new Encoder(encoding, CONFIG, { device, seed: 1 })
  const events = encoded.time.length
  const ours = { name: 'ours', run: () => encoder.encodeBlock(encoded) }
  const contenders: { name: string; run: () => Promise<unknown> }[] = [ours]
  let session: OnnxSession | null = null
  let padded = 0
  if (ort) {
    session = await ort.session(await exportEncoder(encoder, { operators: 'onnxruntime' }), THREADS)
    const batches = sortedBatches(encoded.offsets).map(sequences => {
      const inputs = padInputs(encoding, sliceBatch(encoded, wholeSequences(encoded.offsets, sequences)))
      padded += inputs[encoding.inputs[0].name].values.length
      return { sequences, feeds: ort.feeds(session!, inputs) }
    })
    const vectors = new Float32Array(encoded.ids.length * encoder.width)
    await runAll(session, batches, (rows, sequences) => {
      sequences.forEach((sequence, i) => {
        vectors.set(rows.subarray(i * encoder.width, (i + 1) * encoder.width), sequence * encoder.width)
      })
    })
    expectSame(vectors, (await ours.run()).vectors, TOLERANCE, `${BENCH} ${name}`)
    contenders.push({ name: `onnxruntime ${ort.version}`, run: () => runAll(session!, batches, () => {}) })
  }
  const [mine, theirs] = await inTurns(contenders, turns)
  const peer = theirs && `${theirs.name}, ${(padded / events).toFixed(2)}× padded`
  const rates = { ours: events / mine.median, spread: mine.spread, theirs: theirs && events / theirs.median }
  yield compared({ bench: BENCH, shape: name, unit: 'events/s', peer, target: ort ? target : undefined, ...rates })
  await session?.release()
  encoder.dispose()
}

interface Batch {
  readonly sequences: Int32Array
  readonly feeds: Record<string, OnnxTensor>
}

async function runAll(
  session: OnnxSession,
  batches: readonly Batch[],
  take: (rows: Float32Array, sequences: Int32Array) => void,
): Promise<void> {
  for (const { sequences, feeds } of batches) take((await session.run(feeds)).vectors.data, sequences)
}

/** Sorted by length, so that little is padded. */
function sortedBatches(offsets: Int32Array): Int32Array[] {
  const length = (i: number) => offsets[i + 1] - offsets[i]
  const order = Int32Array.from({ length: offsets.length - 1 }, (_, i) => i).sort((a, b) => length(a) - length(b))
  const batches: Int32Array[] = []
  for (let from = 0; from < order.length; ) {
    let to = from + 1
    while (to < order.length && (to + 1 - from) * length(order[to]) <= PADDED_EVENTS) to++
    batches.push(order.slice(from, to))
    from = to
  }
  return batches
}
