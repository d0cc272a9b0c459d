// How time grows with the length of sequences, for the three kinds of attention, at the same number of events.

import { benchDevice } from '../support/device.js'
import { benchEncoder, evenEvents, inTurns, THREADS } from './contenders.js'

const LENGTHS = [250, 1000, 4000, 16_000, 64_000]
const EVENTS = 64_000
const TURNS = 2
/** Longer sequences of full attention take too long to be worth waiting for. */
const FULL_UP_TO = 4000
/** Time per event may grow this much from the shortest to the longest sequences and still count as linear. */
const LINEAR_WITHIN = 1.3

export default async function* scalingBench(): AsyncGenerator<string> {
  const device = benchDevice(THREADS)
  try {
    for (const attention of ['block', 'fixed', 'full'] as const) {
      const encoder = benchEncoder(device, { attention })
      const lengths = LENGTHS.filter(length => attention !== 'full' || length <= FULL_UP_TO)
      const perEvent: number[] = []
      for (const length of lengths) {
        const events = evenEvents(EVENTS / length, length)
        const [{ median }] = await inTurns([{ name: attention, run: () => encoder.encodeBlock(events) }], TURNS)
        perEvent.push((1e6 * median) / EVENTS)
        yield `encoder/scaling  ${attention} attention, N=${length}  ${perEvent.at(-1)?.toFixed(2)} µs per event`
      }
      encoder.dispose()
      const growth = perEvent[perEvent.length - 1] / perEvent[0]
      const verdict = growth <= LINEAR_WITHIN ? 'linear' : 'not linear'
      yield `encoder/scaling  ${attention} attention, N=${lengths[0]} to ${lengths.at(-1)}: ${growth.toFixed(2)}× per event, ${verdict}`
    }
  } finally {
    device.close()
  }
}
