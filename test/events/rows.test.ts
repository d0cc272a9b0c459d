// Rows in memory behave as the same rows in a file.

import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { defineSchema, type EventRow, fitEncoding, fromRows, readEvents } from '../../lib/events/index.js'
import { EventFiles, plainEvents } from '../support/event_files.js'

const files = new EventFiles()

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
    ['no number as an entity', { user: Number.NaN }, /an entity in 'user' of row 1 but received NaN/],
    [
      'a whole number that may have been rounded, as an entity',
      { user: 2 ** 53 },
      /a number below 2\^53 in 'user' of row 1 but received 9007199254740992; give a text or a bigint$/,
    ],
    ['a time of another kind', { at: '2020-01-01' }, /a finite number in 'at' of row 1/],
    ['a time without end', { at: Number.NaN }, /a finite number/],
    ['text for a number', { amount: '5' }, /a number in 'amount' of row 1 but received '5'/],
    ['an object for a category', { type: {} }, /in 'type' of row 1 but received Object/],
    ['a bigint for a number', { amount: 5n }, /a number in 'amount' of row 1 but received 5n/],
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

  it('takes entities that are bigints, as drivers of databases give them', async () => {
    const large = [12_345_678_901_234_567_890n, '12345678901234567890', 2 ** 53 - 1, -1.5]
    const rows = [7n, 7, '7', ...large].map((user, at) => ({ user, at, type: 'a', amount: 1, note: '' }))
    const events = await plainEvents(fromRows(schema, rows))
    const texts = ['12345678901234567890', '12345678901234567890', '9007199254740991', '-1.5']
    expect(events.map(([user]) => user)).toEqual(['7', '7', '7', ...texts])
  })

  it.each([[null], [undefined], [5]])('refuses %s as a row', async row => {
    const fine = { user: 'u', at: 1, type: null, amount: null, note: null }
    for (const rows of [[row], [fine, row]]) {
      const message = `[fromRows] expected row ${rows.length - 1} to be an object but received ${row}`
      await expect(fromRows(schema, rows as never).summary()).rejects.toThrow(new TypeError(message))
    }
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

  describe('with a format of times', () => {
    const inFormat = (format: string) => ({ ...schema, time: { column: 'at', format } }) as const
    const row = (at: string | number | Date) => ({ user: 'u', at, type: null, amount: null, note: null })
    const TEN = Date.UTC(2024, 6, 1, 10)

    const formats: [string, string, number | null][] = [
      ['%m/%d/%Y %H:%M', '07/01/2024 10:00', TEN],
      ['%m/%d/%Y %H:%M', '7/1/2024  10:00 ', TEN],
      ['%m/%d/%Y %H:%M', '07/01/2024', null],
      ['%m/%d/%Y %H:%M', '07/01/2024 24:00', null],
      ['%-d.%-m.%y', '1.7.24', TEN - 36_000_000],
      ['%d.%m.%y', '31.12.69', -86_400_000],
      ['%d.%m.%Y', '31.02.2024', null],
      ['%Y%m%d', '20240701', TEN - 36_000_000],
      ['%Y%m%d', '202471', null],
      ['%Y%m%d%H%M%S', '20240701100001', TEN + 1000],
      ['%Y-%d-%m', '2024-01-07', TEN - 36_000_000],
      ['%Y-%d-%m', '2024-07-31', null],
      ['%d %b %Y %I:%M:%S %p', '1 JUL 2024 12:00:01 am', TEN - 36_000_000 + 1000],
      ['%B %d, %Y %I %p', 'July 1, 2024 12 PM', TEN + 7_200_000],
      ['%d %b %Y %I %p', '1 Jul 2024 13 PM', null],
      ['%d %b %Y %I %p', '1 Jul 2024 0 AM', null],
      ['%a %b %d %H:%M:%S %z %Y', 'Mon Jul 01 08:00:00 -0200 2024', TEN],
      ['%Y-%m-%dT%H:%M:%S.%f%z', '2024-07-01T12:00:00.25+02:00', TEN + 250],
      ['%d.%m.%Y %H:%M:%S.%f', '01.07.2024 12:00:00.1234567', null],
      ['%d%%%m^%Y', '1%7^2024', TEN - 36_000_000],
    ]
    it.each(formats)('reads by %j what files do: %s', async (format, at, time) => {
      const file = files.write('.csv', `user,at,type,amount,note\nu,"${at}",,,\n`)
      const times = [readEvents(file, inFormat(format), { threads: 1 }), fromRows(inFormat(format), [row(at)])]
      const found = times.map(source =>
        plainEvents(source).then(
          ([event]) => event[1],
          error => error.code,
        ),
      )
      expect(await Promise.all(found)).toEqual([time ?? 'CELL_INVALID', time ?? 'CELL_INVALID'])
    })

    it.each([[new Date(TEN)], ['2024-07-01T10:00Z'], ['07/01/2024 10:00']])('takes %s', async at => {
      const source = fromRows(inFormat('%m/%d/%Y %H:%M'), [row(at)])
      expect(await source.summary()).toMatchObject({ time: 'calendar' })
      expect((await plainEvents(source))[0][1]).toBe(TEN)
    })

    it('reads the digits of a number', async () => {
      const source = fromRows(inFormat('%Y%m%d'), [row(20240701)])
      expect(await source.summary()).toMatchObject({ time: 'calendar' })
      expect((await plainEvents(source))[0][1]).toBe(TEN - 36_000_000)
    })

    it('says what it takes', async () => {
      await expect(fromRows(inFormat('%d.%m.%Y'), [row('soon')]).summary()).rejects.toMatchObject({
        code: 'CELL_INVALID',
        message: expect.stringMatching(
          /a Date, an ISO date or date-time or a text in the format %d\.%m\.%Y in 'at' of row 0/,
        ),
      })
      await expect(fromRows(inFormat('%Y %j'), [row('2024 60')]).summary()).rejects.toThrow(
        /a Date or an ISO date or date-time \(of '%Y %j' only files are read\) in 'at' of row 0 but received '2024 60'/,
      )
      expect((await plainEvents(fromRows(inFormat('%Y %j'), [row('2024-07-01 10:00')])))[0][1]).toBe(TEN)
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
