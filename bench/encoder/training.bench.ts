// A pre-training step (masked event type, 1 000 classes, AdamW): ours against PyTorch, in turns.

import { readParameters } from '../../lib/encoder/model_files.js'
import type { EncodedEvents } from '../../lib/events/encode.js'
import type { Device } from '../../lib/runtime/device.js'
import { hasTorch, INSTALL_TORCH, Torch } from '../peers/torch.js'
import { benchDevice } from '../support/device.js'
import { benchEncoder, CLASSES, CONFIG, evenEvents, expectSame, inTurns, THREADS } from './contenders.js'
import { compared, type Row, type Skip, toLines } from './rows.js'
import { TrainingStep } from './training_step.js'

const BENCH = 'encoder/training'
const SHAPES = [
  { users: 128, length: 128 },
  { users: 32, length: 512 },
  { users: 8, length: 2000 },
  { users: 4, length: 4000 },
]
const TARGET = 2
const TURNS = 5
/** Our steps in a turn: the host prepares a batch while the device works on the one before. */
const STEPS = 2

export default () => toLines(trainingBench())

async function* trainingBench(): AsyncGenerator<Row | Skip> {
  const device = benchDevice(THREADS)
  const torch = hasTorch() ? new Torch(THREADS) : null
  if (!torch) yield { bench: BENCH, reason: `PyTorch is not installed; ${INSTALL_TORCH}` }
  try {
    if (torch) await checkForward(device, torch)
    for (const { users, length } of SHAPES) yield await measure(device, torch, users, length)
  } finally {
    torch?.close()
    device.close()
  }
}

async function measure(device: Device, torch: Torch | null, users: number, length: number): Promise<Row> {
  const encoder = benchEncoder(device)
  const step = new TrainingStep(encoder, evenEvents(users, length), ['masked'])
  const contenders: { name: string; run: () => Promise<number> }[] = [
    {
      name: 'ours',
      run: async () => {
        const begun = performance.now()
        await step.run(STEPS)
        return (performance.now() - begun) / 1000 / STEPS
      },
    },
  ]
  if (torch) {
    const { torch: version } = await torch.open(shapeOf(users, length))
    contenders.push({ name: `PyTorch ${version}`, run: async () => (await torch.steps(1))[0] })
  }
  const [mine, theirs] = await inTurns(contenders, TURNS)
  step.dispose()
  encoder.dispose()
  const events = users * length
  const rates = { ours: events / mine.median, spread: mine.spread, theirs: theirs && events / theirs.median }
  const target = torch ? TARGET : undefined
  return compared({
    bench: BENCH,
    shape: `(${users}, ${length})`,
    unit: 'events/s',
    peer: theirs?.name,
    target,
    ...rates,
  })
}

/** The same weights give the same vectors, of the last layer: what else ours have is not trained. */
async function checkForward(device: Device, torch: Torch): Promise<void> {
  const encoder = benchEncoder(device, { skip: false, sketch: 0 })
  const events: EncodedEvents = evenEvents(3, 70)
  await torch.open(shapeOf(3, 70))
  await torch.load(await readParameters(encoder.parameters))
  const got = await torch.vectors(events.inputs[0].codes)
  expectSame(got, (await encoder.encodeBlock(events)).vectors, 1e-4, BENCH)
  encoder.dispose()
}

function shapeOf(users: number, length: number) {
  const { width = 0, blocks = 0, kernel = 0, heads = 0, attentionSize: block = 0 } = CONFIG
  return { users, length, width, blocks, kernel, heads, block, classes: CLASSES, threads: THREADS }
}
