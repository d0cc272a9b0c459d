// Fine-tuning on a card: near the CPU's numbers, the same bits in two runs and resumed.

import { describe, it } from 'vitest'
import { readParameters } from '../../lib/encoder/model_files.js'
import { cudaStatus, type Device, Encoder, type FinetuneOptions, finetuneEncoded } from '../../lib/index.js'
import { expectClose, expectSameBits } from '../support/close.js'
import { openDevice } from '../support/devices.js'
import { temporaryFolder } from '../support/folder.js'
import { plantedEvents, plantedSchema } from '../support/planted.js'
import { stopAfter } from '../support/stops.js'

const { devices, missing } = cudaStatus()
const reason = devices.length > 0 ? '' : ` (skipped: ${missing})`
const config = { width: 16, blocks: 2, heads: 2, attentionSize: 8 }
const { encoded, encoding, labels } = await plantedEvents(200)
// The same initial weights on both kinds of device.
const start = new Encoder(encoding, config, { device: openDevice(), seed: 5 })
const weights = await readParameters(start.parameters)

async function run(device: Device, targets: Float64Array, options: Partial<FinetuneOptions> = {}) {
  const init = new Encoder(encoding, config, { device, weights })
  const own = { init, epochs: 3, validation: 0.2, seed: 1, schema: plantedSchema, ...options }
  const model = await finetuneEncoded(encoded, targets, own)
  const scores = Float32Array.from(await model.scoreEncoded(encoded))
  const { vectors } = await model.encodeEncoded(encoded)
  model.dispose()
  init.dispose()
  return { scores, vectors }
}

// What runs there needs one; the name says why there is none.
describe.skipIf(devices.length === 0)(`fine-tuning on a card${reason}`, () => {
  it.each([
    ['order', labels.order],
    ['kind', labels.kind],
    ['size', labels.size],
  ])('comes near the CPU, and to the same bits twice (%s)', async (_, targets) => {
    const cpu = await run(openDevice(), targets)
    const first = await run(openDevice({ kind: 'cuda' }), targets)
    const second = await run(openDevice({ kind: 'cuda' }), targets)
    expectSameBits(second.scores, first.scores, 'scores')
    expectSameBits(second.vectors, first.vectors, 'vectors')
    // Rounding differs from the first step on, and AdamW divides by small gradients' sizes.
    expectClose(first.vectors, cpu.vectors, { absolute: 0, relative: 2e-2 }, 'vectors')
    expectClose(first.scores, cpu.scores, { absolute: 2e-2, relative: 2e-2 }, 'scores')
  })

  it('tunes in bfloat16 to the same bits twice, and near float32', async () => {
    const float32 = await run(openDevice({ kind: 'cuda' }), labels.order)
    const tune = () => run(openDevice({ kind: 'cuda', precision: 'bfloat16' }), labels.order)
    const [first, second] = [await tune(), await tune()]
    expectSameBits(second.scores, first.scores, 'scores')
    expectSameBits(second.vectors, first.vectors, 'vectors')
    // An activation errs by up to 2⁻⁸, and three epochs of AdamW follow their gradients' signs.
    expectClose(first.vectors, float32.vectors, { absolute: 0, relative: 2 ** -4 }, 'vectors')
    expectClose(first.scores, float32.scores, { absolute: 0.1, relative: 0 }, 'scores')
  })

  it('fits the head of the CPU', async () => {
    for (const targets of [labels.order, labels.kind, labels.size]) {
      const cpu = await run(openDevice(), targets, { epochs: 0 })
      const card = await run(openDevice({ kind: 'cuda' }), targets, { epochs: 0 })
      expectClose(card.scores, cpu.scores, { absolute: 1e-3, relative: 1e-3 }, 'scores')
    }
  })

  it('resumes to the same bits', async () => {
    const whole = await run(openDevice({ kind: 'cuda' }), labels.order)
    const out = temporaryFolder()
    const device = openDevice({ kind: 'cuda' })
    await stopAfter(9, control => run(device, labels.order, { out, ...control }))
    const resumed = await run(openDevice({ kind: 'cuda' }), labels.order, { out, resume: true })
    expectSameBits(resumed.scores, whole.scores, 'scores')
  })
})
