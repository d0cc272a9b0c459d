// Rows in memory behave as the same rows in a file.

import fc from 'fast-check'
import { afterAll, describe, expect, it } from 'vitest'
import { defineSchema, type EventRow, fitEncoding, fromRows, readEvents } from '../../lib/events/index.js'
import { EventFiles, plainEvents } from '../support/event_files.js'

const files = new EventFiles()
afterAll(() => files.remove())

const schema = defineSchema({
  entity: 'user',
  time: 'at',
  fields: {
    type: { kind: 'categorical', minCount: 1 },
    amount: { kind: 'numeric', buckets: 6 },
    note: { kind: 'text' },
  },
})
type Row = EventRow<typeof schema.fields, 'user', 'at'>

describe('fromRows', () => {
  it('sorts stably and keeps missing apart from empty-looking values', async () => {
    const source = fromRows(schema, [
      { user: 'b', at: 2, type: true, amount: 1, note: 'x' },
      { user: 7, at: 9, type: 0, amount: Number.NaN, note: '' },
      { user: 'b', at: 1, type: 'NA', amount: null, note: undefined },
      { user: 'b', at: 2, type: '', amount: Number.POSITIVE_INFINITY, note: 'y' },
    ])
    expect(await source.summary()).toMatchObject({ entities: 2, events: 4, time: 'number' })
    expect(await plainEvents(source)).toEqual([
      ['b', 1, 'NA', null, null],
      ['b', 2, 'true', 1, 'x'],
      ['b', 2, null, Number.POSITIVE_INFINITY, 'y'],
      ['7', 9, '0', null, null],
    ])
  })

  it.each([
    [new Date(1500), 1500],
    ['1970-01-01', 0],
    ['1970-01-01 00:00:01.5+01:00', 1500 - 3_600_000],
    ['1969-12-31T23:00Z', -3_600_000],
    ['0044-03-15', -60_772_291_200_000],
  ])('reads the time %s', async (at, time) => {
    const source = fromRows(schema, [{ user: 'u', at, type: null, amount: null, note: null }])
    expect((await plainEvents(source))[0][1]).toBe(time)
  })

  const bad: [string, object, RegExp][] = [
    ['no entity', { user: '' }, /an entity in 'user' of row 1/],
    ['a time of another kind', { at: '2020-01-01' }, /a finite number in 'at' of row 1/],
    ['a time without end', { at: Number.NaN }, /a finite number/],
    ['text for a number', { amount: '5' }, /a number in 'amount' of row 1 but received '5'/],
    ['an object for a category', { type: {} }, /in 'type' of row 1 but received Object/],
    ['a number for text', { note: 5 }, /a text in 'note' of row 1 but received 5/],
  ]
  it.each(bad)('refuses %s', async (_, change, message) => {
    const fine = { user: 'u', at: 1, type: null, amount: null, note: null }
    const source = fromRows(schema, [fine, { ...fine, ...change } as Row])
    await expect(source.summary()).rejects.toMatchObject({
      code: 'CELL_INVALID',
      message: expect.stringMatching(message),
    })
  })

  it('refuses dates that are none, and an empty list', async () => {
    for (const at of ['2020-02-30', '2020-13-01', '2020-01-01T25:00', '2020-01-01T00:61', 'soon', '2020']) {
      await expect(
        fromRows(schema, [{ user: 'u', at, type: null, amount: null, note: null }]).summary(),
      ).rejects.toThrow(/ISO date/)
    }
    await expect(fromRows(schema, []).summary()).rejects.toMatchObject({ code: 'FILE_EMPTY' })
  })

  describe('takes the times that files take', () => {
    const NOON = Date.UTC(2024, 6, 1, 12)
    const HOUR = 3_600_000
    const timesOf = async (at: string) => {
      const file = files.write('.csv', `user,at,type,amount,note\nu,${at},,,\n`)
      const row = { user: 'u', at, type: null, amount: null, note: null }
      const sources = [readEvents(file, schema, { threads: 1 }), fromRows(schema, [row])]
      return Promise.all(
        sources.map(source =>
          plainEvents(source).then(
            ([event]) => event[1],
            error => error.code,
          ),
        ),
      )
    }
    it.each([
      ['2024-07-01T12:00Z', NOON],
      ['2024-07-01T12:00+02:00', NOON - 2 * HOUR],
      ['2024-07-01 12:00Z', NOON],
      ['2024-07-01 12:00-0230', NOON + 2.5 * HOUR],
      ['2024-07-01 12:00', NOON],
      ['2024-7-1 9:05', NOON - 3 * HOUR + 300_000],
      ['2024-07-01T12:00:01+02', NOON - 2 * HOUR + 1000],
      ['2024-07-01 12:00:00 UTC', NOON],
      ['2024-07-01 12:00 UTC', NOON],
      ['2024-07-01T12:00:00.5Z', NOON + 500],
      ['2024-07-01T12:00:00.0019999Z', NOON + 1.999],
      ['2024-07-01T23:59:59.9999999', NOON + 12 * HOUR - 0.001],
      ['2024-02-29', Date.UTC(2024, 1, 29)],
      ['0044-03-15', -60_772_291_200_000],
      ['12024-07-01', Date.UTC(12024, 6, 1)],
    ])('%s', async (at, time) => {
      expect(await timesOf(at)).toEqual([time, time])
    })

    it.each([
      ['2024-07-01T24:00:00Z'],
      ['2024-07-01T12:60Z'],
      ['2024-07-01T12:00:60Z'],
      ['2024-07-01T12'],
      ['2024-07-01T12:00:00.Z'],
      ['2024-07-01  12:00:00'],
      ['2024-07-01 12:00:00 +02:00'],
      ['2024-07-01T12:00+24:00'],
      ['2024-07-01T12:00+02:60'],
      ['2024-07-01T12:00:00+02:30:15'],
      ['2024-07-01 12:00:00 Europe/Moscow'],
      ['2024/07/01'],
      ['24-07-01'],
      ['-0044-03-15'],
      ['112024-07-01'],
      ['2024-07-01 (BC)'],
      ['2023-02-29'],
      ['2023-02-29T12:00Z'],
      ['epoch'],
    ])('not %s', async at => {
      expect(await timesOf(at)).toEqual(['CELL_INVALID', 'CELL_INVALID'])
    })
  })

  it('gives the same events and the same encoding as the same rows in a CSV file', async () => {
    const cell = fc.option(fc.constantFrom('a', 'b', 'c', 'é', 'NA', '😀', 'a b'), { nil: null })
    const row: fc.Arbitrary<Row> = fc.record({
      user: fc.constantFrom('u', 'v', 'w'),
      at: fc.constantFrom('1999-12-31T23:00:00', '2000-01-01', '2000-02-29 10:00:00+05:30'),
      type: cell,
      amount: fc.option(fc.integer({ min: -20, max: 20 }), { nil: null }),
      note: cell,
    })
    await fc.assert(
      fc.asyncProperty(fc.array(row, { minLength: 1, maxLength: 60 }), async list => {
        const text = list.map(one =>
          [one.user, one.at, one.type, one.amount, one.note].map(value => value ?? '').join(','),
        )
        const file = files.write('.csv', `user,at,type,amount,note\n${text.join('\n')}\n`)
        const sources = [fromRows(schema, list), readEvents(file, schema, { threads: 1 })]
        const encodings = await Promise.all(sources.map(source => fitEncoding(source)))
        expect(encodings[0]).toEqual(encodings[1])
        const events = await Promise.all(sources.map(source => plainEvents(source, 10)))
        expect(events[0]).toEqual(events[1])
      }),
      { numRuns: 15, seed: 1 },
    )
  })
})
