import { expect, it } from 'vitest'
import { Encoder } from '../../../lib/index.js'
import { binding } from '../../../lib/native.js'
import { Head } from '../../../lib/transfer/finetune/head.js'
import { openDevice } from '../../support/devices.js'
import { plantedEvents } from '../../support/planted.js'

it('leaves no memory behind, whichever allocation of a new head fails', async () => {
  const { encoding } = await plantedEvents(20)
  const device = openDevice({ guard: false })
  const encoder = new Encoder(encoding, { width: 8, heads: 2, blocks: 0 }, { device })
  const before = device.info().liveBytes
  let n = 0
  for (let isMade = false; !isMade; ) {
    binding.stream_fail_allocation(device.handle, ++n)
    try {
      new Head(encoder, 3).dispose()
      isMade = true
    } catch (error) {
      expect(error).toMatchObject({ code: 'OUT_OF_MEMORY' })
    }
    binding.stream_fail_allocation(device.handle, 0)
    expect(device.info().liveBytes, `live bytes after failure ${n}`).toBe(before)
  }
  // Weight and bias with their gradients, scale and shift.
  expect(n).toBe(7)
  encoder.dispose()
})
