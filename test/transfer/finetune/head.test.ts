import { expect, it } from 'vitest'
import { Encoder } from '../../../lib/index.js'
import { Head } from '../../../lib/transfer/finetune/head.js'
import { openDevice } from '../../support/devices.js'
import { failEveryAllocation } from '../../support/failing.js'
import { plantedEvents } from '../../support/planted.js'

it('leaves no memory behind, whichever allocation of a new head fails', async () => {
  const { encoding } = await plantedEvents(20)
  const device = openDevice({ guard: false })
  const encoder = new Encoder(encoding, { width: 8, heads: 2, blocks: 0 }, { device })
  const tries = await failEveryAllocation(device, () => new Head(encoder, 3).dispose())
  // Weight and bias with their gradients, scale and shift.
  expect(tries).toBe(7)
  encoder.dispose()
})
