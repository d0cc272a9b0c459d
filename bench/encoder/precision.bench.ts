// What products of bfloat16 gain on the CPU: the encoder with them against itself in float32, in turns, and how far its vectors move.

import type { EncodedEvents } from '../../lib/events/encode.js'
import { Device } from '../../lib/runtime/device.js'
import { SeqriskError } from '../../lib/util/errors.js'
import { benchEncoder, evenEvents, inTurns, THREADS } from './contenders.js'
import { compared, type Row, type Skip, toLines } from './rows.js'
import { TrainingStep } from './training_step.js'

const BENCH = 'encoder/precision'
/** users, length, runs in a turn */
const INFERENCE = [
  { users: 1, length: 128, repeats: 100 },
  { users: 32, length: 512, repeats: 2 },
  { users: 8, length: 4000, repeats: 1 },
]
const TRAINING = [
  { users: 32, length: 512 },
  { users: 4, length: 4000 },
]
const TURNS = 9
const STEPS = 2

export default () => toLines(precisionBench())

async function* precisionBench(): AsyncGenerator<Row | Skip> {
  let rounded: Device
  try {
    rounded = new Device({ kind: 'cpu', threads: THREADS, precision: 'bfloat16' })
  } catch (error) {
    if (!(error instanceof SeqriskError) || error.code !== 'NO_BFLOAT16') throw error
    return yield { bench: BENCH, reason: error.message }
  }
  const exact = new Device({ kind: 'cpu', threads: THREADS })
  const devices = [rounded, exact] as const
  try {
    for (const { users, length, repeats } of INFERENCE)
      yield await inference(devices, evenEvents(users, length), repeats)
    for (const { users, length } of TRAINING) yield await training(devices, evenEvents(users, length))
  } finally {
    for (const device of devices) device.close()
  }
}

async function inference(devices: readonly Device[], encoded: EncodedEvents, repeats: number): Promise<Row> {
  const encoders = devices.map(device => benchEncoder(device))
  const [near, exact] = await Promise.all(encoders.map(encoder => encoder.encodeBlock(encoded)))
  let [difference, size] = [0, 0]
  for (const [i, value] of exact.vectors.entries()) {
    difference += (near.vectors[i] - value) ** 2
    size += value ** 2
  }
  const off = Math.sqrt(difference / size).toExponential(1)
  const runs = encoders.map((encoder, i) => ({
    name: devices[i].variant,
    repeats,
    run: () => encoder.encodeBlock(encoded),
  }))
  const row = against(await inTurns(runs, TURNS), encoded, `inference, vectors ${off} off`)
  for (const encoder of encoders) encoder.dispose()
  return row
}

async function training(devices: readonly Device[], encoded: EncodedEvents): Promise<Row> {
  const encoders = devices.map(device => benchEncoder(device))
  const steps = encoders.map(encoder => new TrainingStep(encoder, encoded, ['masked']))
  const runs = steps.map((step, i) => ({
    name: devices[i].variant,
    run: async () => {
      const begun = performance.now()
      await step.run(STEPS)
      return (performance.now() - begun) / 1000 / STEPS
    },
  }))
  const row = against(await inTurns(runs, TURNS), encoded, 'training step')
  for (const item of [...steps, ...encoders]) item.dispose()
  return row
}

function against([near, exact]: Awaited<ReturnType<typeof inTurns>>, { ids, time }: EncodedEvents, what: string): Row {
  return compared({
    bench: BENCH,
    shape: `(${ids.length}, ${time.length / ids.length}) ${what}`,
    unit: 'events/s',
    ours: time.length / near.median,
    spread: near.spread,
    peer: exact.name,
    theirs: time.length / exact.median,
  })
}
