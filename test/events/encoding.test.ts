// Encodings: what is fitted, and what every kind of value becomes.

import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  concatEncoded,
  defineSchema,
  type EncodedEvents,
  type EventEncoding,
  type EventRow,
  encodeChunk,
  encodedChunks,
  encodeSource,
  type Fields,
  fitEncoding,
  fromRows,
  type InputSpec,
  type NumericInput,
  type Schema,
} from '../../lib/events/index.js'
import { hashText, words } from '../../lib/events/text.js'

const schema = defineSchema({
  entity: 'u',
  time: 't',
  fields: {
    type: { kind: 'categorical' },
    open: { kind: 'categorical', hash: 10 },
    amount: { kind: 'numeric', buckets: 4 },
    note: { kind: 'text', hash: 100 },
  },
})
type Row = EventRow<typeof schema.fields, 'u', 't'>
const row = (change: Partial<Row> & { t: Row['t'] }): Row => ({
  u: 'u',
  type: 'a',
  open: 'x',
  amount: 1,
  note: 'word',
  ...change,
})

function input<K extends InputSpec['kind']>(encoding: EventEncoding, name: string, kind: K) {
  const found = encoding.inputs.find(one => one.name === name)
  if (found?.kind !== kind) return expect.fail(`no ${kind} input ${name}`)
  return found as Extract<InputSpec, { kind: K }>
}

async function encodeRows<F extends Fields>(
  own: Schema<F, 'u', 't'>,
  rows: EventRow<F, 'u', 't'>[],
  encoding?: EventEncoding,
) {
  const source = fromRows(own, rows)
  const fitted = encoding ?? (await fitEncoding(source))
  const encoded = await encodeSource(source, fitted)
  return { encoding: fitted, encoded, column: (name: string) => encoded.inputs.find(one => one.name === name)! }
}

describe('categorical', () => {
  const values = ['b', 'b', 'a', 'a', null, null, null, 'once']
  const rows = values.map((type, t) => row({ type, t }))

  it('lists values by falling count, then text; missing is a value; rare ones are unknown', async () => {
    const { encoding, column } = await encodeRows(schema, rows)
    const type = input(encoding, 'type', 'categorical')
    expect([type.values, type.size]).toEqual([[null, 'a', 'b'], 5])
    expect([...column('type').codes]).toEqual([4, 4, 3, 3, 2, 2, 2, 0])
  })

  it('makes values and missing ones it has not seen unknown', async () => {
    const { encoding } = await encodeRows(schema, [row({ t: 1 }), row({ t: 2 })])
    const { column } = await encodeRows(
      schema,
      [row({ t: 1, type: 'new' }), row({ t: 2, type: null }), row({ t: 3 })],
      encoding,
    )
    expect([...column('type').codes]).toEqual([0, 0, 2])
  })

  it('keeps minCount and maxValues', async () => {
    const source = fromRows(schema, rows)
    const fit = async (options: object) => input(await fitEncoding(source, options), 'type', 'categorical').values
    expect(await fit({ minCount: 1 })).toEqual([null, 'a', 'b', 'once'])
    expect(await fit({ minCount: 3 })).toEqual([null])
    expect(await fit({ maxValues: 2 })).toEqual([null, 'a'])
  })

  it('hashes open vocabularies, with an id of its own for missing', async () => {
    const { encoding, column } = await encodeRows(schema, [
      row({ t: 1, open: 'é' }),
      row({ t: 2, open: null }),
      row({ t: 3, open: 'é' }),
    ])
    expect(input(encoding, 'open', 'categorical').size).toBe(13)
    const id = 2 + (hashText('é') % 10)
    expect([...column('open').codes]).toEqual([id, 12, id])
  })
})

describe('numeric', () => {
  const at = async (edgesFrom: (number | null)[], values: number[]) => {
    const { encoding } = await encodeRows(
      schema,
      edgesFrom.map((amount, t) => row({ t, amount })),
    )
    const { column } = await encodeRows(
      schema,
      values.map((amount, t) => row({ t, amount })),
      encoding,
    )
    const { codes, fraction } = column('amount')
    return {
      edges: input(encoding, 'amount', 'numeric').edges,
      pairs: [...codes].map((code, i) => [code, fraction![i]]),
    }
  }

  it('cuts at quantiles; inside a bin the position, beyond the edges clamped', async () => {
    const { edges, pairs } = await at([0, 1, 2, 3, 4, 5, 6, 8], [0, 0.25, 1, 8, 7, 99, -5, Number.NaN])
    expect(edges).toEqual([0, 1, 3, 5, 8])
    const third = Math.fround(2 / 3)
    expect(pairs).toEqual([
      [2, 0],
      [2, 0.25],
      [3, 0],
      [5, 1],
      [5, third],
      [5, 1],
      [2, 0],
      [0, 0],
    ])
  })

  it('puts −Infinity in the first bin and Infinity in the last', async () => {
    const { pairs } = await at([0, 1, 2, 3, 4, 5], [Number.NEGATIVE_INFINITY, Number.POSITIVE_INFINITY])
    expect(pairs).toEqual([
      [2, 0],
      [5, 1],
    ])
  })

  it('gives few distinct values a bin each', async () => {
    const { edges, pairs } = await at([5, 5, 5, 5, 1, 2, null], [1, 2, 5, 3.5])
    expect(edges).toEqual([1, 2, 5, 8])
    expect(pairs).toEqual([
      [2, 0],
      [3, 0],
      [4, 0],
      [3, 0.5],
    ])
  })

  it('copes with one value, with none, and with huge ones', async () => {
    expect((await at([7, 7], [7, 9])).pairs).toEqual([
      [2, 0],
      [2, 1],
    ])
    const none = await at([null, null], [3, Number.NaN])
    expect([none.edges, none.pairs]).toEqual([
      [0, 1],
      [
        [2, 1],
        [0, 0],
      ],
    ])
    const huge = await at([-1.7e308, -1e308, 0, 1e308, 1.7e308, 5], [-1.7e308, 1.7e308, 0])
    for (const [code, fraction] of huge.pairs) {
      expect(code).toBeGreaterThanOrEqual(2)
      expect(fraction >= 0 && fraction <= 1).toBe(true)
    }
  })

  it('is monotone, and each training value lies inside its bin', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.double({ noNaN: true, min: -1e6, max: 1e6 }), { minLength: 1, maxLength: 60 }),
        async values => {
          const ascending = values.toSorted((a, b) => a - b)
          const { encoding, column } = await encodeRows(
            schema,
            ascending.map((amount, t) => row({ t, amount })),
          )
          const { edges } = input(encoding, 'amount', 'numeric')
          const { codes, fraction } = column('amount')
          for (const [i, value] of ascending.entries()) {
            const bin = codes[i] - 2
            expect(edges[bin] <= value && value <= edges[bin + 1]).toBe(true)
            if (i > 0) expect(codes[i] + fraction![i]).toBeGreaterThanOrEqual(codes[i - 1] + fraction![i - 1])
          }
        },
      ),
      { numRuns: 50, seed: 2 },
    )
  })
})

describe('time', () => {
  it('is the log gap to the previous event of the entity; the first has none', async () => {
    const rows = [row({ t: 0 }), row({ t: 1 }), row({ t: 1 }), row({ t: 4 }), row({ u: 'v', t: 100 })]
    const { encoding, column } = await encodeRows(schema, rows)
    const edges = input(encoding, 'time.gap', 'numeric').edges
    expect(edges.slice(0, 3)).toEqual([0, Math.log1p(1), Math.log1p(3)])
    expect([...column('time.gap').codes]).toEqual([0, 3, 2, 4, 0])
    expect(encoding.inputs.map(one => one.name)).toEqual([
      ...['type', 'open', 'amount', 'note'],
      ...['time.gap', 'time.age', 'time.rest'],
    ])
  })

  it('is the log age, and the log rest up to the last event of the entity', async () => {
    const rows = [row({ t: 0 }), row({ t: 97 }), row({ t: 99 }), row({ u: 'v', t: 100 })]
    const { encoding, column } = await encodeRows(schema, rows)
    expect(encoding.newest).toBe(100)
    expect(input(encoding, 'time.age', 'numeric').edges.slice(0, 4)).toEqual([0, 1, 3, 100].map(Math.log1p))
    expect([...column('time.age').codes]).toEqual([5, 4, 3, 2])
    expect(input(encoding, 'time.rest', 'numeric').edges.slice(0, 3)).toEqual([0, 2, 99].map(Math.log1p))
    expect([...column('time.rest').codes]).toEqual([4, 3, 2, 2])
  })

  it('counts ages back from another present, and what lies after it as now', async () => {
    const rows = [row({ t: 0 }), row({ t: 97 }), row({ t: 99 }), row({ u: 'v', t: 100 })]
    const { encoding } = await encodeRows(schema, rows)
    const { column } = await encodeRows(schema, rows, { ...encoding, newest: 98 })
    expect([...column('time.age').codes]).toEqual([4, 3, 2, 2])
    expect([...column('time.rest').codes]).toEqual([4, 3, 2, 2])
  })

  it('has calendar parts where they vary, in UTC, also before 1970', async () => {
    const times = ['1969-12-31T23:59:59Z', '1970-01-01T00:00:00Z', '2000-02-29T12:00:00Z', '2100-03-01T06:00:00Z']
    const { column } = await encodeRows(
      schema,
      times.map(t => row({ t })),
    )
    expect([...column('time.hour').codes]).toEqual([25, 2, 14, 8])
    expect([...column('time.weekday').codes]).toEqual([4, 5, 3, 2])
    expect([...column('time.day').codes]).toEqual([32, 2, 30, 2])
    const dates = await encodeRows(schema, [row({ t: '2020-01-01' }), row({ t: '2020-01-02' })])
    expect(dates.encoding.inputs.map(one => one.name).slice(4)).toEqual([
      ...['time.gap', 'time.age', 'time.rest'],
      ...['time.weekday', 'time.day'],
    ])
  })

  it('agrees with Date on every part of random times', async () => {
    const dates = fc.sample(
      fc.date({ noInvalidDate: true, min: new Date('1600-01-01'), max: new Date('2400-01-01') }),
      { numRuns: 500, seed: 3 },
    )
    dates.sort((a, b) => a.getTime() - b.getTime())
    const { column } = await encodeRows(
      schema,
      dates.map(t => row({ t })),
    )
    expect([...column('time.hour').codes]).toEqual(dates.map(date => 2 + date.getUTCHours()))
    expect([...column('time.weekday').codes]).toEqual(dates.map(date => 2 + ((date.getUTCDay() + 6) % 7)))
    expect([...column('time.day').codes]).toEqual(dates.map(date => 1 + date.getUTCDate()))
  })

  it('refuses events whose times are of another kind', async () => {
    const { encoding } = await encodeRows(schema, [row({ t: 1 })])
    const dates = [row({ t: '2020-01-01' })]
    await expect(encodeRows(schema, dates, encoding)).rejects.toThrow(
      "[encodeChunk] expected times that are plain numbers, as those of the fit, but received 'dates'; give numbers in the unit of those",
    )
    const { encoding: ofDates } = await encodeRows(schema, dates)
    await expect(encodeRows(schema, [row({ t: 1_577_836_800_000 })], ofDates)).rejects.toThrow(
      "expected times that are dates, as those of the fit, but received 'plain numbers'; give Dates (new Date(milliseconds)) or ISO texts",
    )
  })
})

describe('text', () => {
  it('splits words, and hashes them to the same ids for ever', () => {
    expect(words('  Hello, WORLD! x2 Straße—日本語 ')).toEqual(['hello', 'world', 'x2', 'straße', '日本語'])
    expect(words('… !')).toEqual([])
    expect(words('abcd e', 3)).toEqual(['<ab', 'abc', 'bcd', 'cd>', '<e>'])
    // From an independent transcription of both algorithms.
    const known = [2872998923, 444641715, 2290972270, 2387039943, 855877642]
    expect(['', 'a', 'hello', 'é', '😀'].map(hashText)).toEqual(known)
  })

  it('has the words of each event, none for empty or missing text', async () => {
    const notes = ['one two', '', null, 'two', '!']
    const { encoding, column } = await encodeRows(
      schema,
      notes.map((note, t) => row({ t, note })),
    )
    expect(input(encoding, 'note', 'text')).toMatchObject({ size: 102, aggregate: 'mean', ngrams: null })
    const [one, two] = ['one', 'two'].map(word => 2 + (hashText(word) % 100))
    expect([...column('note').codes]).toEqual([one, two, two])
    expect([...column('note').offsets!]).toEqual([0, 2, 2, 2, 3, 3])
  })
})

describe('encodings', () => {
  const rows = Array.from({ length: 300 }, (_, i) =>
    row({ u: `u${i % 7}`, t: i, type: `t${i % 5}`, amount: i % 11, note: i % 3 ? `n${i % 13} more` : null }),
  )

  it('survive JSON', async () => {
    const { encoding, encoded } = await encodeRows(schema, rows)
    const again = await encodeRows(schema, rows, JSON.parse(JSON.stringify(encoding)))
    expect(again.encoded).toEqual(encoded)
  })

  it('do not depend on how the source is cut in chunks', async () => {
    const { encoding, encoded } = await encodeRows(schema, rows)
    const parts: EncodedEvents[] = []
    for await (const part of encodedChunks(fromRows(schema, rows), encoding, { eventsPerChunk: 50 })) parts.push(part)
    expect(parts.length).toBeGreaterThan(3)
    expect(concatEncoded(parts)).toEqual(encoded)
  })

  it('keep the newest events with lastEvents, and their gaps', async () => {
    const { encoding, encoded } = await encodeRows(schema, rows)
    const cut = await encodeSource(fromRows(schema, rows), encoding, { lastEvents: 3 })
    expect([...cut.offsets]).toEqual([0, 3, 6, 9, 12, 15, 18, 21])
    for (const [i, { codes, offsets }] of encoded.inputs.entries()) {
      if (offsets) continue
      const want = cut.ids.flatMap((_, s) => [...codes.subarray(encoded.offsets[s + 1] - 3, encoded.offsets[s + 1])])
      expect([...cut.inputs[i].codes]).toEqual(want)
    }
    expect((await fitEncoding(fromRows(schema, rows), { lastEvents: 2 })).lastEvents).toBe(2)
    await expect(fitEncoding(fromRows(schema, rows), { lastEvents: 64_001 })).rejects.toThrow(
      /lastEvents in \[1, 64000\]/,
    )
  })

  it('count ages back from asOf, with the checks of encode', async () => {
    const { encoding, encoded } = await encodeRows(schema, rows)
    const source = fromRows(schema, rows)
    expect(await encodeSource(source, encoding, { asOf: encoding.newest })).toEqual(encoded)
    const asOf = encoding.newest + 1000
    const later = await encodeSource(source, encoding, { asOf })
    expect(later).toEqual(await encodeSource(source, { ...encoding, newest: asOf }))
    expect(later).not.toEqual(encoded)
    const refused = encodeSource(source, encoding, { asOf: Number.NaN })
    await expect(refused).rejects.toThrow('[encodeSource] expected asOf to be a time but received NaN')
    await expect(encodeSource(source, encoding, { asOf: new Date() })).rejects.toThrow(TypeError)
  })

  it('refuse chunks without their columns, and wrong options', async () => {
    const { encoding } = await encodeRows(schema, rows)
    const other = defineSchema({ entity: 'u', time: 't', fields: { type: { kind: 'numeric' } } })
    for await (const chunk of fromRows(other, [{ u: 'u', t: 1, type: 1 }]).chunks()) {
      expect(() => encodeChunk(chunk, encoding)).toThrow(/a categorical column 'type' but received 'numbers'/)
      expect(() => encodeChunk(chunk, encoding, { lastEvents: 0 })).toThrow(RangeError)
    }
    // What Object has of that name is no column.
    const member = { entity: 'u', time: 't', fields: { constructor: { kind: 'categorical' } } } as const
    const ofMember = await fitEncoding(fromRows(member, [{ u: 'u', t: 1, constructor: 'a' }]))
    for await (const chunk of fromRows(other, [{ u: 'u', t: 1, type: 1 }]).chunks()) {
      expect(() => encodeChunk(chunk, ofMember)).toThrow(/a categorical column 'constructor' but received undefined/)
    }
    // @ts-expect-error: no such option
    await expect(fitEncoding(fromRows(schema, rows), { bucket: 3 })).rejects.toThrow(/did you mean 'buckets'/)
    await expect(fitEncoding(fromRows(schema, rows), { buckets: 0 })).rejects.toThrow(/whole number ≥ 1/)
    const clash = defineSchema({ entity: 'u', time: 't', fields: { 'time.gap': { kind: 'numeric' } } })
    await expect(fitEncoding(fromRows(clash, [{ u: 'u', t: 1, 'time.gap': 1 }]))).rejects.toThrow(/names of their own/)
  })

  it('have bins of equal weight', async () => {
    const uniform = Array.from({ length: 4000 }, (_, i) => row({ t: i, amount: ((i * 2654435761) % 4096) / 7 }))
    const source = fromRows(schema, uniform)
    const encoding = await fitEncoding(source)
    const spec = input(encoding, 'amount', 'numeric') as NumericInput
    const counts = new Array(spec.size).fill(0)
    for (const code of (await encodeSource(source, encoding)).inputs[2].codes) counts[code]++
    expect(counts.slice(2)).toHaveLength(4)
    for (const count of counts.slice(2)) expect(Math.abs(count - 1000)).toBeLessThanOrEqual(2)
  })
})
