import { expect, it } from 'vitest'
import { Encoder } from '../../lib/encoder/encoder.js'
import { encodeSource, fitEncoding } from '../../lib/events/index.js'
import { binding } from '../../lib/native.js'
import { resolveOptions } from '../../lib/pretrain/options.js'
import { splitSteps } from '../../lib/pretrain/split.js'
import { Trainer } from '../../lib/pretrain/trainer.js'
import { atOnce } from '../../lib/util/pace.js'
import { openDevice } from '../support/devices.js'
import { smallSource } from '../support/small_source.js'

it('leaves no memory behind, whichever allocation of a new trainer fails', async () => {
  const source = smallSource()
  const encoding = await fitEncoding(source)
  const encoded = await encodeSource(source, encoding)
  const options = resolveOptions({}, encoded.time.length)
  const split = atOnce(splitSteps(encoded, options))
  const device = openDevice({ guard: false })
  const encoder = new Encoder(encoding, { width: 8, heads: 2, blocks: 1 }, { device })
  const before = device.info().liveBytes
  let n = 0
  for (let isMade = false; !isMade; ) {
    binding.stream_fail_allocation(device.handle, ++n)
    try {
      new Trainer(encoder, encoded, split, options, '', {}).dispose()
      isMade = true
    } catch (error) {
      expect(error).toMatchObject({ code: 'OUT_OF_MEMORY' })
    }
    binding.stream_fail_allocation(device.handle, 0)
    expect(device.info().liveBytes, `live bytes after failure ${n}`).toBe(before)
  }
  // Value and gradient of each weight of the heads, and two moments of those and of the encoder's.
  expect(n).toBeGreaterThan(40)
  encoder.dispose()
})
