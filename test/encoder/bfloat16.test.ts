// Encoders with products of bfloat16 on the CPU. Those of a card are in test/cuda/bfloat16.test.ts.

import { describe, expect, it } from 'vitest'
import { type EncoderConfig, gruConfig, transformerConfig } from '../../lib/encoder/config.js'
import { Encoder } from '../../lib/encoder/encoder.js'
import { fitEncoding } from '../../lib/events/encoding.js'
import { pretrain } from '../../lib/pretrain/pretrain.js'
import type { Device } from '../../lib/runtime/device.js'
import { expectSameBits } from '../support/close.js'
import { cpuWithBfloat16, openDevice } from '../support/devices.js'
import { smallSource } from '../support/small_source.js'

const kinds: [string, Partial<EncoderConfig>][] = [
  ['block', {}],
  ['fixed', { attention: 'fixed' }],
  ['full', { attention: 'full' }],
  ['transformer', transformerConfig(16)],
  ['gru', gruConfig(16)],
  ['dense', { convolution: 'dense' }],
  ['pointwise', { gate: 'pointwise', dilation: 2 }],
]
const sizes = { width: 16, blocks: 2, heads: 2, attentionSize: 8 }

// Null where the processor has no such products: a skipped test says what is missing.
const device = cpuWithBfloat16()

async function vectorsOn(where: Device, config: Partial<EncoderConfig>, batchEvents?: number): Promise<Float32Array> {
  const source = smallSource()
  const encoder = new Encoder(await fitEncoding(source), { ...sizes, ...config }, { device: where, seed: 3 })
  const { vectors } = await encoder.encode(source, { batchEvents })
  encoder.dispose()
  return vectors
}

describe.skipIf(device === null)('encoders in bfloat16', () => {
  it.each(kinds)('%s: vectors are near those of float32', async (_, config) => {
    const exact = await vectorsOn(openDevice(), config)
    const near = await vectorsOn(device!, config)
    const difference = Math.hypot(...near.map((value, i) => value - exact[i]))
    // An operand errs by 2⁻⁹ of itself at most, and errors of products are independent; two blocks add up a few of them.
    expect(difference / Math.hypot(...exact)).toBeLessThan(2 ** -6)
    expect(difference).toBeGreaterThan(0)
  })

  it.each(kinds)('%s: a vector depends on its own entity alone, bit for bit', async (_, config) => {
    expectSameBits(await vectorsOn(device!, config, 1), await vectorsOn(device!, config), 'vectors')
  })

  it('pre-trains as float32 does, to the same bits twice', async () => {
    const losses = async (where: Device) => {
      const { encoder, log } = await pretrain(smallSource(), { ...sizes, device: where, epochs: 3, seed: 2 })
      encoder.dispose()
      return log.map(({ loss }) => loss)
    }
    const [exact, once, again] = [await losses(openDevice()), await losses(device!), await losses(device!)]
    expect(once).toEqual(again)
    expect(once).not.toEqual(exact)
    for (const [i, loss] of once.entries()) expect(Math.abs(loss / exact[i] - 1)).toBeLessThan(0.01)
  })
})
