import { describe, expect, test } from 'vitest'
import { sliceSteps, wholeSequences } from '../../lib/events/batch.js'
import { encodeSource, fitEncoding } from '../../lib/events/index.js'
import { MASK } from '../../lib/events/inputs.js'
import { defineSchema, fromRows, pretrain } from '../../lib/index.js'
import { MAX_PAIRS } from '../../lib/ops/pair_contrastive.js'
import { maskEvents } from '../../lib/pretrain/masked_events.js'
import { cutInPieces, hideCalendar } from '../../lib/pretrain/quick_thought.js'
import { atOnce } from '../../lib/util/pace.js'
import { Philox } from '../../lib/util/philox.js'
import { smallSource } from '../support/small_source.js'

const source = smallSource()
const encoding = await fitEncoding(source)
const encoded = await encodeSource(source, encoding)
const whole = wholeSequences(encoded.offsets, Int32Array.from(encoded.ids.keys()))
const pairs = cutInPieces(whole, new Philox(3))
const packed = atOnce(sliceSteps(encoded, pairs.pieces))
const hidden = hideCalendar(packed, pairs, encoding.inputs, new Philox(4))
const calendar = ['age', 'rest', 'hour', 'weekday', 'day']

/** Whether all events of a piece are hidden, or none; undefined for a part of them. */
function isHidden(codes: Int32Array, piece: number): boolean | undefined {
  const own = codes.subarray(packed.offsets[piece], packed.offsets[piece + 1])
  if (own.every(code => code === MASK)) return true
  return own.includes(MASK) ? undefined : false
}

test('a batch of many short sequences has as many pairs as the loss takes', async () => {
  const schema = defineSchema({ entity: 'u', time: 't', fields: { kind: { kind: 'categorical' } } })
  const entities = MAX_PAIRS + 100
  const short = fromRows(
    schema,
    Array.from({ length: 2 * entities }, (_, i) => ({ u: `u${i >> 1}`, t: i, kind: i % 3 === 0 ? 'a' : 'b' })),
  )
  const { encoder, log } = await pretrain(short, {
    ...{ width: 8, blocks: 1, heads: 1, epochs: 1, heldOut: 0, batchEvents: 4 * MAX_PAIRS },
  })
  encoder.dispose()
  expect(log[0].steps).toBe(1)
  expect(log[0].terms.quick!.loss).toBeGreaterThan(0)
  const many = wholeSequences(
    Int32Array.from({ length: entities + 1 }, (_, i) => 2 * i),
    Int32Array.from({ length: entities }, (_, i) => i),
  )
  const cut = cutInPieces(many, new Philox(1))
  expect([cut.first.length, cut.pieces.length]).toEqual([MAX_PAIRS, 2 * MAX_PAIRS + 100])
  expect(cut.pieces.at(-1)).toEqual(many.at(-1))
})

describe('hiding the calendar', () => {
  test('takes place and age from one piece of each pair, by lot, and nothing else', () => {
    const seen = { first: 0, second: 0 }
    for (const [i, input] of hidden.inputs.entries()) {
      if (calendar.includes(encoding.inputs[i].part)) continue
      expect(input).toBe(packed.inputs[i])
    }
    const inputs = hidden.inputs.filter((_, i) => calendar.includes(encoding.inputs[i].part))
    expect(inputs).toHaveLength(2)
    pairs.first.forEach((first, i) => {
      const isFirst = isHidden(inputs[0].codes, first)
      seen[isFirst ? 'first' : 'second']++
      for (const { codes } of inputs) {
        expect(isHidden(codes, first)).toBe(isFirst)
        expect(isHidden(codes, pairs.second[i])).toBe(!isFirst)
      }
    })
    expect(seen.first).toBeGreaterThan(pairs.first.length / 4)
    expect(seen.second).toBeGreaterThan(pairs.first.length / 4)
  })

  test('leaves the batch that it was given as it was', () => {
    for (const { codes, offsets } of packed.inputs) if (!offsets) expect(codes.includes(MASK)).toBe(false)
  })

  test('asks for no prediction of what it hides', () => {
    const { rows, targets } = maskEvents(hidden, new Philox(5), { rate: 0.5 })
    let asked = 0
    for (const [i, input] of hidden.inputs.entries()) {
      if (input.offsets) continue
      rows.forEach((row, at) => {
        expect(targets[i][at]).toBe(input.codes[row] === MASK ? -1 : input.codes[row])
        if (targets[i][at] >= 0) asked++
      })
    }
    expect(asked).toBeGreaterThan(rows.length)
  })
})

test('predicts the fields and the gap alone where told so', async () => {
  const terms = async (predict: 'all' | 'fields') => {
    const { encoder, log } = await pretrain(source, { width: 8, heads: 2, blocks: 1, epochs: 1, masked: { predict } })
    encoder.dispose()
    return Object.keys(log[0].terms)
  }
  const all = await terms('all')
  expect(all).toEqual(expect.arrayContaining(['masked.time.age', 'masked.time.rest', 'masked.time.gap']))
  const isCalendar = (name: string) => calendar.some(part => name === `masked.time.${part}`)
  expect(await terms('fields')).toEqual(all.filter(name => !isCalendar(name)))
})

test.each([
  [{ masked: { rate: 0 } }, /masked\.rate in \(0, 1\]/],
  [{ masked: { predict: 'some' } }, /masked\.predict 'all' or 'fields'/],
  [{ quick: { hide: true } }, /\[pretrain: quick\]/],
] as const)('refuses %j', async (options, message) => {
  await expect(pretrain(source, options as object)).rejects.toThrow(message)
})
