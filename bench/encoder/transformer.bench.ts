// A pre-training step of our encoder against one of a Transformer of the same width, made of the same kernels, in turns.

import { type EncoderConfig, transformerConfig } from '../../lib/encoder/config.js'
import type { Device } from '../../lib/runtime/device.js'
import { benchDevice } from '../support/device.js'
import { benchEncoder, CONFIG, evenEvents, inTurns, THREADS } from './contenders.js'
import { compared, type Row, toLines } from './rows.js'
import { TrainingStep } from './training_step.js'

/** About 8 000 events in each. */
const SHAPES = [
  { users: 64, length: 128 },
  { users: 16, length: 512 },
  { users: 4, length: 2000 },
  { users: 2, length: 4000 },
]
/** From here on the article claims it. */
const TARGET = { ratio: 2, length: 512 }
const TURNS = 5

export default () => toLines(transformerBench())

async function* transformerBench(): AsyncGenerator<Row> {
  const device = benchDevice(THREADS)
  try {
    for (const { users, length } of SHAPES) yield await measure(device, users, length)
  } finally {
    device.close()
  }
}

async function measure(device: Device, users: number, length: number): Promise<Row> {
  const events = evenEvents(users, length)
  const contender = (name: string, config: Partial<EncoderConfig>) => {
    const encoder = benchEncoder(device, config)
    const step = new TrainingStep(encoder, events, ['masked'])
    const dispose = () => {
      step.dispose()
      encoder.dispose()
    }
    return { name, run: () => step.run(1), dispose }
  }
  const both = [contender('ours', {}), contender('Transformer', transformerConfig(CONFIG.width))]
  // What a step returns is its loss, not its time.
  const timed = both.map(({ name, run }) => ({ name, run: async () => void (await run()) }))
  const [ours, theirs] = await inTurns(timed, TURNS)
  for (const { dispose } of both) dispose()
  const rate = (seconds: number) => (users * length) / seconds
  return compared({
    bench: 'encoder/transformer',
    shape: `(${users}, ${length})`,
    unit: 'events/s',
    ours: rate(ours.median),
    spread: ours.spread,
    peer: theirs.name,
    theirs: rate(theirs.median),
    target: length >= TARGET.length ? TARGET.ratio : undefined,
  })
}
