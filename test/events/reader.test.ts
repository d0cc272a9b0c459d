// Reading events: every format gives the same events; order, ties, times, missing values and chunk limits.

import { readdirSync, symlinkSync } from 'node:fs'
import { readFile, writeFile } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { describe, expect, it } from 'vitest'
import { defineSchema, type EventSource, fitEncoding, fromRows, readEvents } from '../../lib/events/index.js'
import { EventFiles, plainEvents } from '../support/event_files.js'
import { temporaryFolder } from '../support/folder.js'

const files = new EventFiles()

const schema = defineSchema({
  entity: 'user',
  time: 'at',
  fields: { type: { kind: 'categorical' }, amount: { kind: 'numeric' }, note: { kind: 'text' } },
})
const DAY = 86_400_000
const csvOf = (rows: readonly object[]) =>
  [Object.keys(rows[0]), ...rows.map(row => Object.values(row))].map(cells => cells.join(',')).join('\n')

const csv = `user,at,type,amount,note,unused
b,1970-01-03,pay,3.5,"one, ""two""\nthree",x
a,1970-01-02,NA,-1e3,,x
b,1970-01-01,,,plain,x
a,1970-01-02,"",nan,again,x
`
const expected = [
  ['b', 0, null, null, 'plain'],
  ['b', 2 * DAY, 'pay', 3.5, 'one, "two"\nthree'],
  ['a', DAY, 'NA', -1000, null],
  ['a', DAY, null, null, 'again'],
]

const rowsSql = `SELECT * FROM (VALUES
  ('b', DATE '1970-01-03', 'pay', 3.5::FLOAT, 'one, "two"' || chr(10) || 'three'),
  ('a', DATE '1970-01-02', 'NA', -1000, NULL), ('b', DATE '1970-01-01', NULL, NULL, 'plain'),
  ('a', DATE '1970-01-02', NULL, 'nan'::FLOAT, 'again')) t("user", "at", type, amount, note)`
const listsSql = `SELECT * FROM (VALUES
  ('b', [TIMESTAMP '1970-01-03', TIMESTAMP '1970-01-01'], ['pay', NULL], [3.5, NULL], ['one, "two"' || chr(10) || 'three', 'plain']),
  ('a', [TIMESTAMP '1970-01-02', TIMESTAMP '1970-01-02'], ['NA', NULL], [-1000, NULL], [NULL, 'again']),
  ('c', [], [], NULL, [])) t("user", "at", type, amount, note)`
const json = [
  { note: 'one, "two"\nthree', amount: 3.5, type: 'pay', at: '1970-01-03', user: 'b' },
  { user: 'a', at: '1970-01-02', type: 'NA', amount: -1000, note: null },
  { user: 'b', at: '1970-01-01', note: 'plain' },
  { user: 'a', at: '1970-01-02', amount: 'nan', note: 'again', unused: [1, { x: 2 }] },
]

describe('formats', () => {
  const cases: [string, () => string | Promise<string>][] = [
    ['CSV', () => files.write('.csv', csv)],
    [
      'CSV with CRLF and a byte order mark',
      () => files.write('.csv', `\ufeff${csv.replaceAll(',x\n', ',x\r\n').replace('unused\n', 'unused\r\n')}`),
    ],
    ['CSV without a last line end', () => files.write('.csv', csv.trimEnd())],
    [
      'CSV with semicolons',
      () => files.write('.csv', csv.replace('one, ', 'one# ').replaceAll(',', ';').replace('one# ', 'one, ')),
    ],
    ['CSV.gz', () => files.write('.csv.gz', gzipSync(csv))],
    [
      'CSV.gz of two members',
      () => files.write('.csv.gz', Buffer.concat([gzipSync(csv.slice(0, 90)), gzipSync(csv.slice(90))])),
    ],
    ['Parquet, an event per row', () => files.parquet(rowsSql)],
    ['Parquet, an entity per row', () => files.parquet(listsSql)],
    ['JSON lines', () => files.write('.jsonl', json.map(one => JSON.stringify(one)).join('\n'))],
    [
      'JSON lines, gzipped',
      () => files.write('.ndjson.gz', gzipSync(json.map(one => `${JSON.stringify(one)}\n`).join(''))),
    ],
  ]
  it.each(cases)('%s', async (_, file) => {
    expect(await plainEvents(readEvents(await file(), schema))).toEqual(expected)
  })

  it('keeps single values of list files for all events of the entity', async () => {
    const file = await files.parquet(
      `SELECT 'u' AS "user", [2, 1] AS "at", 'same' AS type, [5, 6] AS amount, NULL::VARCHAR[] AS note`,
    )
    expect(await plainEvents(readEvents(file, schema))).toEqual([
      ['u', 1, 'same', 6, null],
      ['u', 2, 'same', 5, null],
    ])
  })

  it('takes keys that no object of JSON lines has for missing values', async () => {
    const lines = (...rows: object[]) => files.write('.jsonl', rows.map(row => `${JSON.stringify(row)}\n`).join(''))
    const daily = [
      lines({ user: 'u', at: 1, type: 'a' }, { user: 'v', at: 2, type: 'b' }),
      lines({ user: 'u', at: 3, amount: 4 }),
      lines({ user: 'w', at: [5, 6], note: ['x', null] }),
    ]
    expect(await plainEvents(readEvents(daily, schema))).toEqual([
      ['u', 1, 'a', null, null],
      ['u', 3, null, 4, null],
      ['v', 2, 'b', null, null],
      ['w', 5, null, null, 'x'],
      ['w', 6, null, null, null],
    ])
    const source = readEvents(daily[0], schema)
    const rows = fromRows(schema, [
      { user: 'u', at: 1, type: 'a' },
      { user: 'v', at: 2, type: 'b' },
    ])
    expect(await fitEncoding(source)).toEqual(await fitEncoding(rows))
    await source.close()
  })

  it('reads several files, globs and folders as one, in the order given', async () => {
    const one = new EventFiles()
    one.write('.csv', 'user,at,type,amount,note\nu,1,second,,\n')
    one.write('.csv', 'note,amount,type,at,user\n,,third,1,u\n')
    const first = files.write('.jsonl', '{"user": "u", "at": 1, "type": "first", "amount": null, "note": null}')
    const types = async (patterns: string[]) => (await plainEvents(readEvents(patterns, schema))).map(event => event[2])
    expect(await types([first, `${one.folder}/*.csv`])).toEqual(['first', 'second', 'third'])
    expect(await types([one.folder, first])).toEqual(['second', 'third', 'first'])
  })

  it('reads a file once that is named twice, where it was named first', async () => {
    const one = new EventFiles()
    const [a, b] = ['a', 'b'].map(type => one.write('.csv', `user,at,type,amount,note\nu,1,${type},,\n`))
    const types = async (patterns: string[]) => (await plainEvents(readEvents(patterns, schema))).map(event => event[2])
    expect(await types([b, `${one.folder}/*.csv`])).toEqual(['b', 'a'])
    expect(await types([one.folder, a, b])).toEqual(['a', 'b'])
    expect(await types([a, `${one.folder}/../${basename(one.folder)}/${basename(a)}`])).toEqual(['a'])
    // Links, where the system lets everyone make them.
    if (process.platform === 'win32') return
    const link = one.path('.csv')
    symlinkSync(b, link)
    expect(await types([link, a, b])).toEqual(['b', 'a'])
  })

  it.each(['.csv', '.jsonl', '.parquet'])(
    'reads the %s file of a name, not one that it matches as a glob',
    async ending => {
      const folder = temporaryFolder()
      const content: Record<string, (type: string) => string | Promise<Buffer>> = {
        '.csv': type => `user,at,type,amount,note\nu,1,${type},,\n`,
        '.jsonl': type => `{"user": "u", "at": 1, "type": "${type}", "amount": null, "note": null}`,
        '.parquet': async type =>
          readFile(
            await files.parquet(
              `SELECT 'u' AS "user", 1 AS "at", '${type}' AS type, 2::FLOAT AS amount, NULL::VARCHAR AS note`,
            ),
          ),
      }
      // Windows knows no stars in names.
      const names = ['e1', 'e[1]', 'w[!a]', 'wb', ...(process.platform === 'win32' ? [] : ['s*r', 'star'])].sort()
      const types = async (path: string) => (await plainEvents(readEvents(path, schema))).map(event => event[2])
      for (const name of names) await writeFile(join(folder, name + ending), await content[ending](name))
      for (const name of names) expect(await types(join(folder, name + ending))).toEqual([name])
      expect(await types(folder)).toEqual(names)
    },
  )

  it('reads numbers, booleans and nested values of Parquet as text where text is asked for', async () => {
    const file = await files.parquet(
      `SELECT 7::BIGINT AS "user", 1 AS "at", true AS type, 2::DECIMAL(4, 1) AS amount, 12::INTEGER AS note`,
    )
    expect(await plainEvents(readEvents(file, schema))).toEqual([['7', 1, 'true', 2, '12']])
  })
})

describe('order', () => {
  it('entities by first appearance, events by time, ties as they stand, across files', async () => {
    const rows = Array.from({ length: 5000 }, (_, i) => `u${(i * 7) % 13},${(i * 31) % 17},t${i},${i},`)
    const head = 'user,at,type,amount,note\n'
    const parts = [
      files.write('.csv', head + rows.slice(0, 2000).join('\n')),
      files.write('.csv.gz', gzipSync(head + rows.slice(2000).join('\n'))),
    ]
    const entity = (i: number) => (i * 7) % 13
    const order = Array.from({ length: 5000 }, (_, i) => i)
    const firsts = order.slice(0, 13).map(entity)
    order.sort(
      (a, b) => firsts.indexOf(entity(a)) - firsts.indexOf(entity(b)) || ((a * 31) % 17) - ((b * 31) % 17) || a - b,
    )
    const events = await plainEvents(readEvents(parts, schema, { threads: 2 }), 333)
    expect(events.map(event => event[3])).toEqual(order)
    expect(events.map(event => event[2])).toEqual(order.map(i => `t${i}`))
  })

  it('chunks hold whole entities: a long one stands alone', async () => {
    const rows = [5, 1, 2, 40, 1, 3].flatMap((length, user) => Array.from({ length }, (_, t) => `u${user},${t},,${t},`))
    const source = readEvents(files.write('.csv', `user,at,type,amount,note\n${rows.join('\n')}\n`), schema)
    const shapes: number[][] = []
    const progress: number[] = []
    const onProgress = (report: { phase: string; done: number; total: number }) => {
      if (report.phase === 'events') progress.push(report.done / report.total)
    }
    for await (const chunk of source.chunks({ eventsPerChunk: 8, onProgress })) shapes.push([...chunk.offsets])
    expect(shapes).toEqual([
      [0, 5, 6, 8],
      [0, 40],
      [0, 1, 4],
    ])
    expect(progress.at(-1)).toBe(1)
    expect((await plainEvents(source)).length).toBe(52)
  })

  it('can be walked twice at once and left early', async () => {
    const rows = Array.from({ length: 3000 }, (_, i) => `u${i % 100},${i},a,1,`).join('\n')
    const source = readEvents(files.write('.csv', `user,at,type,amount,note\n${rows}\n`), schema)
    for await (const first of source.chunks({ eventsPerChunk: 60 })) {
      let inner = 0
      for await (const chunk of source.chunks({ eventsPerChunk: 60 })) inner += chunk.ids.length
      expect([first.ids.length, inner]).toEqual([2, 100])
      break
    }
    await source.close()
    await source.close()
  })
})

describe('fields named like members of Object', () => {
  const fields = JSON.parse('{"__proto__":{"kind":"numeric"},"constructor":{"kind":"categorical"}}')
  const members = { entity: 'user', time: 'at', fields }
  const want = [
    ['u', 1, 2.5, 'a'],
    ['u', 2, null, 'b'],
  ]

  it('are read from files', async () => {
    const file = files.write('.csv', 'user,at,__proto__,constructor\nu,1,2.5,a\nu,2,,b\n')
    expect(await plainEvents(readEvents(file, members))).toEqual(want)
  })

  it('are read from rows', async () => {
    const rows = [
      '{"user":"u","at":1,"__proto__":2.5,"constructor":"a"}',
      '{"user":"u","at":2,"__proto__":null,"constructor":"b"}',
    ]
    expect(
      await plainEvents(
        fromRows(
          members,
          rows.map(row => JSON.parse(row)),
        ),
      ),
    ).toEqual(want)
  })
})

describe('time', () => {
  const timeOf = async (cells: string[], time: string | { column: string; format: string } = 'at') => {
    const file = files.write('.csv', `user,at,type,amount,note\n${cells.map(cell => `u,"${cell}",,,`).join('\n')}\n`)
    const events = await plainEvents(readEvents(file, { ...schema, time } as typeof schema))
    return events.map(event => event[1])
  }
  it.each([
    ['1970-01-01T00:00:01', 1000],
    ['1970-01-01 00:00:01.25', 1250],
    ['1970-01-01T02:00:01+02:00', 1000],
    ['1969-12-31T23:30:01-00:30', 1000],
    ['1970-01-01T00:00:01Z', 1000],
    ['1969-12-31', -DAY],
    ['-62', -62],
    ['1.5e3', 1500],
  ])('%s is %d; a text without a zone is UTC', async (cell, time) => {
    expect(await timeOf([cell])).toEqual([time])
  })

  it('follows a strptime format, with and without a zone', async () => {
    expect(await timeOf(['02.01.1970 01:00'], { column: 'at', format: '%d.%m.%Y %H:%M' })).toEqual([DAY + 3_600_000])
    expect(await timeOf(['02.01.1970 +0200'], { column: 'at', format: '%d.%m.%Y %z' })).toEqual([DAY - 7_200_000])
  })

  it.each([
    `DATE '1970-01-02'`,
    `TIMESTAMP '1970-01-02'`,
    `TIMESTAMP_S '1970-01-02'`,
    `TIMESTAMP_MS '1970-01-02'`,
    `TIMESTAMP_NS '1970-01-02'`,
    `TIMESTAMPTZ '1970-01-02 05:30:00+05:30'`,
    `'1970-01-02'`,
  ])('of Parquet may be %s', async value => {
    const file = await files.parquet(`SELECT 'u' AS "user", ${value} AS "at", '' AS type, NULL AS amount, '' AS note`)
    expect((await plainEvents(readEvents(file, schema)))[0][1]).toBe(DAY)
  })

  it('follows a strptime format in numbers of Parquet, as in CSV', async () => {
    const time = { column: 'at', format: '%Y%m%d' }
    const read = async (file: string) => {
      const source = readEvents(file, { ...schema, time } as typeof schema)
      expect((await source.summary()).time).toBe('calendar')
      return (await plainEvents(source)).map(event => event[1])
    }
    const want = [DAY, 2 * DAY]
    expect(await read(files.write('.csv', 'user,at,type,amount,note\nu,19700102,,,\nu,19700103,,,\n'))).toEqual(want)
    const cells = (at: string) => `'u' AS "user", ${at} AS "at", '' AS type, NULL AS amount, '' AS note`
    expect(await read(await files.parquet(`SELECT ${cells('19700102 + range')} FROM range(2)`))).toEqual(want)
    expect(await read(await files.parquet(`SELECT ${cells('[19700102, 19700103]')}`))).toEqual(want)
    const json = [19700102, 19700103].map(at => JSON.stringify({ user: 'u', at, type: '', amount: 1, note: '' }))
    expect(await read(files.write('.jsonl', json.join('\n')))).toEqual(want)
  })

  it('says which parts of the time vary', async () => {
    const varies = async (cells: string[]) => {
      const file = files.write('.csv', `user,at,type,amount,note\n${cells.map(cell => `u,${cell},,,`).join('\n')}\n`)
      const source = readEvents(file, schema)
      const summary = await source.summary()
      await source.close()
      return summary
    }
    expect(await varies(['1999-01-31', '1999-02-07'])).toMatchObject({
      time: 'calendar',
      varies: { hour: false, weekday: false, day: true },
    })
    expect((await varies(['1960-01-01T10:00:00', '1960-01-02T11:00:00'])).varies).toEqual({
      hour: true,
      weekday: true,
      day: true,
    })
    expect(await varies(['1', '2'])).toMatchObject({
      time: 'number',
      varies: { hour: false, weekday: false, day: false },
    })
  })
})

describe('resources', () => {
  it('spills to a folder that is gone after close', async () => {
    const rows = Array.from(
      { length: 150_000 },
      (_, i) => `user number ${i % 20_000},${i % 977},type of event ${i % 1000},${i},note ${i}`,
    )
    const file = files.write('.csv', `user,at,type,amount,note\n${rows.join('\n')}\n`)
    const temporary = temporaryFolder()
    const source = readEvents(file, schema, { memoryLimit: '48MB', threads: 1, temporaryFolder: temporary })
    let [events, sum] = [0, 0]
    for await (const chunk of source.chunks()) {
      events += chunk.time.length
      for (const amount of chunk.columns.amount) sum += amount
    }
    expect([events, sum]).toEqual([150_000, (150_000 * 149_999) / 2])
    expect(readdirSync(temporary)).toHaveLength(1)
    await source.close()
    expect(readdirSync(temporary)).toHaveLength(0)
  })

  it('serves many values in the order of the events, by one dictionary', async () => {
    const rows = Array.from({ length: 70_000 }, (_, i) => `u${i >> 4},${i},t${i},1,${i % 2 ? '' : 'x'}`)
    const source = readEvents(files.write('.csv', `user,at,type,amount,note\n${rows.join('\n')}\n`), schema)
    const dictionaries = new Set<readonly string[]>()
    let next = 0
    for await (const { columns } of source.chunks({ eventsPerChunk: 5000 })) {
      dictionaries.add(columns.type.dictionary)
      expect(columns.note.dictionary).toEqual(['x'])
      for (const code of columns.type.codes) {
        if (columns.type.dictionary[code] !== `t${next++}`) expect.fail(`event ${next - 1} has a wrong value`)
      }
    }
    expect(next).toBe(70_000)
    expect(dictionaries.size).toBe(1)
    await source.close()
  })

  // Other processes may keep this one from the cores for as long: hence the further tries.
  it('stops within 100 ms when cancelled, and can be used again', { retry: 4 }, async () => {
    const rows = Array.from({ length: 200_000 }, (_, i) => `u${i % 9999},${i},t${i % 100},${i},n${i}`)
    const source = readEvents(files.write('.csv', `user,at,type,amount,note\n${rows.join('\n')}\n`), schema)
    const controller = new AbortController()
    let abortedAt = 0
    setTimeout(() => {
      abortedAt = performance.now()
      controller.abort(new Error('enough'))
    }, 20)
    await expect(source.summary({ signal: controller.signal })).rejects.toThrow('enough')
    expect(performance.now() - abortedAt).toBeLessThan(100)
    expect((await source.summary()).events).toBe(200_000)
    const iterating = (async () => {
      for await (const _ of source.chunks({ signal: AbortSignal.timeout(5), eventsPerChunk: 100 }));
    })()
    await expect(iterating).rejects.toMatchObject({ name: 'TimeoutError' })
    await source.close()
  })
})

describe('one source and two callers', () => {
  const rows = Array.from({ length: 100_000 }, (_, i) => ({
    user: `u${i % 999}`,
    at: i,
    type: `t${i % 100}`,
    amount: i,
    note: 'n',
  }))
  const sources: [string, () => EventSource][] = [
    ['files', () => readEvents(files.write('.csv', csvOf(rows)), schema)],
    ['rows', () => fromRows(schema, rows)],
  ]

  it.each(sources)('of %s: who leaves takes nothing from the other', async (_, open) => {
    const source = open()
    const told = new AbortController()
    const seen: number[] = []
    const first = source.summary({ signal: told.signal, onProgress: () => told.abort(new Error('the first left')) })
    const second = source.summary({ onProgress: ({ done }) => void seen.push(done) })
    await expect(first).rejects.toThrow('the first left')
    expect((await second).events).toBe(100_000)
    expect(seen.length).toBeGreaterThan(0)
    expect((await source.summary()).events).toBe(100_000)
    await source.close()
  })

  it.each(sources)('of %s: it ends when both have left, and begins anew', async (_, open) => {
    const source = open()
    const told = new AbortController()
    const callers = [1, 2].map(() => source.summary({ signal: told.signal }))
    setTimeout(() => told.abort(new Error('both left')), 5)
    for (const one of callers) await expect(one).rejects.toThrow('both left')
    expect((await source.summary()).events).toBe(100_000)
    await source.close()
  })
})

describe('statistics', () => {
  it('values come by falling count, then by code points; missing apart', async () => {
    const cells = ['b', 'a', 'b', '', 'é', 'z', '😀', '\uffee', 'a', '']
    const source = readEvents(
      files.write('.csv', `user,at,type,amount,note\n${cells.map((cell, i) => `u,${i},${cell},,`).join('\n')}\n`),
      schema,
    )
    const found: [string, number][] = []
    for await (const block of source.values('type'))
      found.push(...block.values.map((value, i): [string, number] => [value, block.counts[i]]))
    expect(found).toEqual([
      ['a', 2],
      ['b', 2],
      ['z', 1],
      ['é', 1],
      ['\uffee', 1],
      ['😀', 1],
    ])
    expect(await source.missing('type')).toBe(2)
    await expect(source.numbers('type' as 'amount', 4)).rejects.toThrow(/numeric field/)
    await source.close()
  })

  it('quantiles are exact and leave out what is not finite', async () => {
    const cells = ['5', '', 'inf', '1', '2', 'nan', '3', '4', '-inf', '2']
    const source = readEvents(
      files.write(
        '.csv',
        `user,at,type,amount,note\n${cells.map((cell, i) => `u${i >> 2},${i * i},,${cell},`).join('\n')}\n`,
      ),
      schema,
    )
    const few = await source.numbers('amount', 5)
    expect([...few.distinct!]).toEqual([1, 2, 3, 4, 5])
    expect([...few.quantiles]).toEqual([1, 2, 2, 3, 4, 5])
    expect((await source.numbers('amount', 4)).distinct).toBeNull()
    // Gaps inside u0, u1 and u2; never across two entities.
    expect([...(await source.numbers(null, 7)).distinct!]).toEqual([1, 3, 5, 9, 11, 13, 17])
    await source.close()
  })
})
