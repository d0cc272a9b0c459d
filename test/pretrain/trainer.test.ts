import { expect, it } from 'vitest'
import { Encoder } from '../../lib/encoder/encoder.js'
import { encodeSource, fitEncoding } from '../../lib/events/index.js'
import { resolveOptions } from '../../lib/pretrain/options.js'
import { splitSteps } from '../../lib/pretrain/split.js'
import { Trainer } from '../../lib/pretrain/trainer.js'
import { atOnce } from '../../lib/util/pace.js'
import { openDevice } from '../support/devices.js'
import { failEveryAllocation } from '../support/failing.js'
import { smallSource } from '../support/small_source.js'

it('leaves no memory behind, whichever allocation of a new trainer fails', async () => {
  const source = smallSource()
  const encoding = await fitEncoding(source)
  const encoded = await encodeSource(source, encoding)
  const options = resolveOptions({}, encoded.time.length)
  const split = atOnce(splitSteps(encoded, options))
  const device = openDevice({ guard: false })
  const encoder = new Encoder(encoding, { width: 8, heads: 2, blocks: 1 }, { device })
  const tries = await failEveryAllocation(device, () => new Trainer(encoder, encoded, split, options, '', {}).dispose())
  // Value and gradient of each weight of the heads, and two moments of those and of the encoder's.
  expect(tries).toBeGreaterThan(40)
  encoder.dispose()
})
