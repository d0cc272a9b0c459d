import { expect, it } from 'vitest'
import type { DeviceBatch } from '../../lib/encoder/batch.js'
import { Encoder } from '../../lib/encoder/encoder.js'
import type { Pass } from '../../lib/encoder/layers.js'
import { wholeSequences } from '../../lib/events/batch.js'
import { encodeSource, fitEncoding } from '../../lib/events/index.js'
import { PretrainModel } from '../../lib/pretrain/model.js'
import { resolveOptions } from '../../lib/pretrain/options.js'
import { scope } from '../../lib/runtime/tensor.js'
import { openDevice } from '../support/devices.js'
import { smallSource } from '../support/small_source.js'

const source = smallSource()
const encoding = await fitEncoding(source)
const encoded = await encodeSource(source, encoding)
const whole = wholeSequences(encoded.offsets, Int32Array.of(0, 1, 2, 3))

it('drops elements by the whole seed and by the step', () => {
  const device = openDevice()
  const dropSeed = (seed: number, stream: number): number => {
    const encoder = new Encoder(encoding, { width: 8, heads: 2, blocks: 1, dropout: 0.5 }, { device })
    const model = new PretrainModel(encoder, resolveOptions({ seed }, encoded.time.length))
    const seen: number[] = []
    const forward = encoder.forward.bind(encoder)
    encoder.forward = (batch: DeviceBatch, pass?: Pass) => {
      seen.push(pass!.dropout!.seed)
      return forward(batch, pass)
    }
    scope(() => void model.losses(model.prepare(encoded, whole, stream), true))
    model.dispose()
    encoder.dispose()
    expect(seen.length).toBe(1)
    return seen[0]
  }
  expect(dropSeed(1, 5)).toBe(dropSeed(1, 5))
  const cases = [dropSeed(1, 5), dropSeed(1, 6), dropSeed(2, 5), dropSeed(1 + 2 ** 32, 5)]
  expect(new Set(cases).size).toBe(cases.length)
})
