// Cells: numbers beside the category that explains them.

import { describe, expect, it } from 'vitest'
import { type CellInput, defineSchema, encodeSource, fitEncoding, fromRows } from '../../lib/events/index.js'
import { TestRandom } from '../support/random.js'

const schema = defineSchema({
  entity: 'u',
  time: 't',
  fields: { kind: { kind: 'categorical' }, place: { kind: 'categorical' }, amount: { kind: 'numeric' } },
})

const KINDS = ['rent', 'food', 'coffee'] as const
const SCALE = { rent: 1000, food: 50, coffee: 3 }

/** Amounts that depend on the kind, not on the place. */
function payments(count: number, draw: (kind: (typeof KINDS)[number], random: TestRandom) => number | null) {
  const random = new TestRandom(8)
  return Array.from({ length: count }, (_, t) => {
    const kind = KINDS[t % 3]
    return { u: `u${t % 40}`, t, kind, place: `p${(t * 7) % 5}`, amount: draw(kind, random) }
  })
}

async function fit(rows: ReturnType<typeof payments>) {
  const source = fromRows(schema, rows)
  const encoding = await fitEncoding(source)
  const cells = encoding.inputs.find((input): input is CellInput => input.kind === 'cells')
  return { source, encoding, cells, encoded: await encodeSource(source, encoding) }
}

describe('which category', () => {
  it('is the one that explains the ranks of the number', async () => {
    const { cells } = await fit(payments(3000, (kind, random) => SCALE[kind] * Math.exp(0.3 * random.normal())))
    expect(cells).toMatchObject({ name: 'amount|kind', field: 'amount', by: 'kind', part: 'field' })
  })

  it('is none when no category explains anything', async () => {
    const { cells } = await fit(payments(3000, (_, random) => random.normal()))
    expect(cells).toBeUndefined()
  })

  it('is none for a constant, for numbers that are all missing, and for too few', async () => {
    expect((await fit(payments(600, () => 4))).cells).toBeUndefined()
    expect((await fit(payments(600, () => null))).cells).toBeUndefined()
    expect((await fit(payments(60, kind => SCALE[kind]))).cells).toBeUndefined()
  })
})

describe('bins', () => {
  const rows = payments(12_000, (kind, random) => SCALE[kind] * Math.exp(0.3 * random.normal()))

  it('hold an eighth of their group each, as near as a sample of 512 can tell', async () => {
    const { encoding, encoded, cells } = await fit(rows)
    expect(cells!.groups.map(group => group.starts.length)).toEqual([8, 8, 8])
    expect(cells!.size).toBe(26)
    const { codes } = encoded.inputs[encoding.inputs.indexOf(cells!)]
    const counts = new Int32Array(cells!.size)
    for (const code of codes) counts[code]++
    expect([counts[0], counts[1]]).toEqual([0, 0])
    // An eighth of 512 is off by √(512 · 1/8 · 7/8) / 512 = 1.5 % of the group; four times that.
    for (const count of counts.subarray(2)) expect(Math.abs(count / 4000 - 1 / 8)).toBeLessThan(0.06)
  })

  it('are one per value where values are few', async () => {
    const { cells, encoded, encoding } = await fit(payments(3000, (kind, random) => SCALE[kind] + random.integer(0, 2)))
    const food = cells!.groups.findIndex(group => group.value === 'food')
    expect(cells!.groups[food].starts).toEqual([50, 51, 52])
    const codes = encoded.inputs[encoding.inputs.indexOf(cells!)].codes
    expect(new Set(codes).size).toBe(9)
  })

  it('code what was never seen: other values, missing and infinite numbers, numbers beyond the ends', async () => {
    const { encoding, cells } = await fit(rows)
    const food = cells!.groups.findIndex(group => group.value === 'food')
    const first = 2 + 8 * food
    const cases: [kind: string | null, amount: number | null, code: number][] = [
      ['food', 1e-9, first],
      ['food', 1e9, first + 7],
      ['food', Number.POSITIVE_INFINITY, first + 7],
      ['food', Number.NEGATIVE_INFINITY, first],
      ['food', null, 0],
      ['gold', 50, 0],
      [null, 50, 0],
    ]
    const odd = cases.map(([kind, amount], t) => ({ u: 'x', t, kind, place: 'p', amount }))
    const encoded = await encodeSource(fromRows(schema, odd), encoding)
    expect([...encoded.inputs[encoding.inputs.indexOf(cells!)].codes]).toEqual(cases.map(one => one[2]))
  })

  it('are plain data, the same for the same events', async () => {
    const { encoding } = await fit(rows)
    expect(JSON.parse(JSON.stringify(encoding))).toEqual(encoding)
    expect((await fit(rows)).encoding).toEqual(encoding)
  })
})
