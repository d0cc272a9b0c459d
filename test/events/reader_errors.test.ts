// Files that cannot be read: each names the file, the place and what to do, and leaves nothing behind.

import { readdirSync } from 'node:fs'
import Module from 'node:module'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { describe, expect, it, vi } from 'vitest'
import { defineSchema, readEvents, readTable } from '../../lib/events/index.js'
import { SeqriskError } from '../../lib/util/errors.js'
import { EventFiles } from '../support/event_files.js'
import { temporaryFolder } from '../support/folder.js'

const files = new EventFiles()
const spills = temporaryFolder()

const schema = defineSchema({
  entity: 'user',
  time: 'at',
  fields: { type: { kind: 'categorical' }, amount: { kind: 'numeric' } },
})
const head = 'user,at,type,amount\n'
const good = 'u,2020-01-01,a,1\n'
const gz = gzipSync(head + Array.from({ length: 20_000 }, (_, i) => `u${(i * 7919) % 1000},${i},a,${i}\n`).join(''))
const flipped = Buffer.from(gz)
flipped[gz.length - 6] ^= 1

async function failure(
  path: string | string[],
  time: string | { column: string; format: string } = 'at',
): Promise<unknown> {
  const source = readEvents(path, { ...schema, time } as typeof schema, { temporaryFolder: spills })
  try {
    await source.summary()
  } catch (error) {
    return error
  }
  return null
}

const cases: [string, () => string | Promise<string>, string, RegExp][] = [
  [
    'a missing file',
    () => join(files.folder, 'absent.csv'),
    'FILE_NOT_FOUND',
    /existing file but received '.*absent\.csv'/,
  ],
  ['a glob without match', () => join(files.folder, 'absent*.csv'), 'FILE_NOT_FOUND', /glob that matches/],
  ['an empty folder', () => files.emptyFolder(), 'FILE_NOT_FOUND', /folder with/],
  ['an empty file', () => files.write('.csv', ''), 'FILE_EMPTY', /0 bytes/],
  ['an empty gzip', () => files.write('.csv.gz', gzipSync('')), 'FILE_EMPTY', /header line/],
  ['a header alone', () => files.write('.csv', head), 'FILE_EMPTY', /at least one event/],
  ['empty JSON lines', () => files.write('.jsonl', '\n'), 'FILE_EMPTY', /at least one object/],
  [
    'a missing column',
    () => files.write('.csv', 'user,at,kind,amount\nu,1,a,1\n'),
    'COLUMN_MISSING',
    /'type' in '.*' but received user, at, kind, amount/,
  ],
  [
    'a column twice',
    () => files.write('.csv', 'user,at,type,amount,type\nu,1,a,1,b\n'),
    'COLUMN_MISSING',
    /one column 'type'/,
  ],
  [
    'a missing column of Parquet',
    () => files.parquet(`SELECT 1 AS "user", 2 AS "at", 3 AS amount`),
    'COLUMN_MISSING',
    /received user, at, amount/,
  ],
  [
    'JSON lines without any of the fields',
    () => files.write('.jsonl', '{"user": 1, "at": 2, "amounts": 3}\n'),
    'COLUMN_MISSING',
    /columns 'type', 'amount' in '.*' but received user, at, amounts; name the columns that exist/,
  ],
  [
    'JSON lines without the entity',
    () => files.write('.jsonl', '{"id": 1, "at": 2, "amount": 3}\n'),
    'COLUMN_MISSING',
    /column 'user' in '.*' but received id, at, amount/,
  ],
  [
    'JSON lines without the time',
    () => files.write('.jsonl', '{"user": 1, "amount": 3}\n'),
    'COLUMN_MISSING',
    /column 'at' in '.*' but received user, amount/,
  ],
  [
    "JSON lines with a field in other letters' case",
    () => files.write('.jsonl', '{"user": 1, "at": 2, "Type": "a", "amount": 3}\n'),
    'COLUMN_MISSING',
    /column 'type' in '.*' but received user, at, Type, amount/,
  ],
  [
    'a half-written last row',
    () => files.write('.csv', `${head}${good}u,2020-01-0`),
    'FILE_BROKEN',
    /line 3 of '.*' but received 'u,2020-01-0'/,
  ],
  ['an open quote', () => files.write('.csv', `${head}${good}u,2020-01-01,"a,1\n`), 'FILE_BROKEN', /line 3 .*quote/],
  ['a row too long', () => files.write('.csv', `${head}${good}${good}u,1,a,1,5\n`), 'FILE_BROKEN', /line 4 /],
  [
    'bytes that are no UTF-8',
    () =>
      files.write('.csv', Buffer.concat([Buffer.from(head), Buffer.from([0x75, 0x2c, 0x31, 0x2c, 0xff, 0x2c, 10])])),
    'FILE_BROKEN',
    /line 2 /,
  ],
  [
    'UTF-16, as a spreadsheet writes it',
    () => files.write('.csv', Buffer.from(`\ufeff${head}${good}`, 'utf16le')),
    'FILE_BROKEN',
    /expected CSV in UTF-8 in '.*' but received UTF-16; save it as UTF-8/,
  ],
  [
    'UTF-16 of the other order',
    () => files.write('.csv.gz', gzipSync(Buffer.from(`\ufeff${head}${good}`, 'utf16le').swap16())),
    'FILE_BROKEN',
    /received UTF-16/,
  ],
  ...(['little', 'big'] as const).map((order): (typeof cases)[number] => [
    `UTF-16 without a byte order mark, ${order} endian`,
    () => {
      const bytes = Buffer.from(`${head}${good}`, 'utf16le')
      return files.write('.csv', order === 'big' ? bytes.swap16() : bytes)
    },
    'FILE_BROKEN',
    /expected CSV in UTF-8 in '.*' but received NUL bytes, as UTF-16 has; save it as UTF-8/,
  ]),
  ['a gzip named .csv', () => files.write('.csv', gz), 'FILE_BROKEN', /received gzip; name it \.csv\.gz/],
  [
    'a spreadsheet named .csv',
    () => files.write('.csv', Buffer.from('PK\x03\x04rest')),
    'FILE_BROKEN',
    /received a zip archive or spreadsheet; save it as CSV/,
  ],
  [
    'a truncated gzip',
    () => files.write('.csv.gz', gz.subarray(0, gz.length - 5)),
    'FILE_BROKEN',
    /unexpected end of file/,
  ],
  [
    'half a gzip',
    () => files.write('.csv.gz', gz.subarray(0, gz.length >> 1)),
    'FILE_BROKEN',
    /unexpected end of file|whole CSV row/,
  ],
  ['a gzip with a wrong checksum', () => files.write('.csv.gz', flipped), 'FILE_BROKEN', /incorrect data check/],
  ['a gzip that is none', () => files.write('.csv.gz', head + good), 'FILE_BROKEN', /incorrect header check/],
  [
    'half a Parquet file',
    async () =>
      files.write(
        '.parquet',
        (await import('node:fs')).readFileSync(await files.parquet('SELECT 1 AS a')).subarray(0, 60),
      ),
    'FILE_BROKEN',
    /whole parquet file/,
  ],
  [
    'half a JSON line',
    () => files.write('.jsonl', '{"user": 1, "at": 2, "type": "a", "amount": 1}\n{"user": 1, "at"'),
    'FILE_BROKEN',
    /whole jsonl file .* line 3/,
  ],
  [
    'a JSON line that is no object',
    () => files.write('.jsonl', '{"user": 1, "at": 2, "type": "a", "amount": 1}\n[1]\n'),
    'FILE_BROKEN',
    /line 2/,
  ],
  [
    'a word in a numeric column',
    () => files.write('.csv', `${head}${good}u,2020-01-01,a,NA\n`),
    'CELL_INVALID',
    /a number in column 'amount', row 2 of '.*' but received 'NA'/,
  ],
  [
    'a number with underscores',
    () => files.write('.csv', `${head}u,2020-01-01,a,1_000\n`),
    'CELL_INVALID',
    /received '1_000'/,
  ],
  [
    'a time that is none',
    () => files.write('.csv', `${head}${good}u,2020-02-30,a,1\n`),
    'CELL_INVALID',
    /column 'at', row 2 .* received '2020-02-30'/,
  ],
  [
    'a word among numbers of time',
    () => files.write('.csv', `${head}u,1,a,1\nu,soon,a,1\n`),
    'CELL_INVALID',
    /received 'soon'/,
  ],
  [
    'an endless time',
    () => files.write('.csv', `${head}u,infinity,a,1\n`),
    'CELL_INVALID',
    /finite time in column 'at', row 1/,
  ],
  ['no time', () => files.write('.csv', `${head}${good}u,,a,1\n`), 'CELL_INVALID', /finite time in column 'at', row 2/],
  [
    'no entity',
    () => files.write('.csv', `${head}${good},2020-01-01,a,1\n`),
    'CELL_INVALID',
    /entity in column 'user', row 2/,
  ],
  [
    'lists of unlike lengths',
    () => files.parquet(`SELECT 'u' AS "user", [1, 2] AS "at", ['a'] AS type, [1, 2] AS amount`),
    'CELL_INVALID',
    /list of 2 values in column 'type', row 1 .* received 1/,
  ],
  [
    'a list beside single times',
    () => files.parquet(`SELECT 'u' AS "user", 1 AS "at", ['a'] AS type, 1 AS amount`),
    'COLUMN_MISSING',
    /one value per row in 'type'/,
  ],
  [
    'dates in a numeric column',
    () => files.parquet(`SELECT 'u' AS "user", 1 AS "at", 'a' AS type, DATE '2020-01-01' AS amount`),
    'CELL_INVALID',
    /a finite|a number/,
  ],
]

describe('unreadable events', () => {
  it.each(cases)('%s', async (_, file, code, message) => {
    const path = await file()
    const error = await failure(path)
    expect(error).toBeInstanceOf(SeqriskError)
    expect(error).toMatchObject({ code, message: expect.stringMatching(message) })
    expect((error as Error).message).toContain(path.replace(/\*.*/, ''))
    expect((error as Error).message).toMatch(/^\[readEvents\] expected /)
    expect(readdirSync(spills)).toEqual([])
  })

  it('a time that breaks the format', async () => {
    const path = files.write('.csv', `${head}u,31.12.2020,a,1\nu,2020-12-31,a,1\n`)
    const error = await failure(path, { column: 'at', format: '%d.%m.%Y' })
    expect(error).toMatchObject({
      code: 'CELL_INVALID',
      message: expect.stringMatching(/%d.%m.%Y in column 'at', row 2 .*'2020-12-31'/),
    })
  })

  it('a number that breaks the format, in Parquet as in CSV', async () => {
    const rows = `(VALUES ('u', 20201231, 'a', 1), ('u', 20201332, 'a', 1)) t("user", "at", type, amount)`
    const csv = files.write('.csv', `${head}u,20201231,a,1\nu,20201332,a,1\n`)
    for (const path of [csv, await files.parquet(`SELECT * FROM ${rows}`)]) {
      const error = await failure(path, { column: 'at', format: '%Y%m%d' })
      expect(error).toMatchObject({
        code: 'CELL_INVALID',
        message: expect.stringMatching(/%Y%m%d in column 'at', row 2 .*'20201332'/),
      })
    }
  })

  it('times of two kinds in two files', async () => {
    const error = await failure([files.write('.csv', head + good), files.write('.csv', `${head}u,5,a,1\n`)])
    expect(error).toMatchObject({
      code: 'CELL_INVALID',
      message: expect.stringMatching(/calendar times in '.*' but received 'number'/),
    })
  })

  it('a file of unknown kind, and options that do not exist', async () => {
    expect(await failure(files.write('.xlsx', 'x'))).toMatchObject({
      message: expect.stringMatching(/ending in \.csv/),
    })
    // @ts-expect-error: no such option
    expect(() => readEvents('a.csv', schema, { memoryLimits: '1GB' })).toThrow(/did you mean 'memoryLimit'\?/)
    expect(() => readEvents('a.csv', schema, { threads: 0 })).toThrow(RangeError)
    await expect(
      readEvents('a.csv', schema).chunks({ eventsPerChunk: 0 })[Symbol.asyncIterator]().next(),
    ).rejects.toThrow(RangeError)
  })

  it('too little memory: said once, and what to do', async () => {
    const source = readEvents(files.write('.csv', head + good), schema, { memoryLimit: '1MB', threads: 1 })
    await expect(source.summary()).rejects.toMatchObject({
      code: 'OUT_OF_MEMORY',
      message: expect.stringMatching(
        /^\[readEvents\] expected room for the data but received: (?!.*\[readEvents\]).*; raise memoryLimit/,
      ),
    })
  })

  it.each([['lots'], [2e9], ['2000000000'], ['80%'], ['-1GB']])('a memory limit of %j', async memoryLimit => {
    const message = /expected memoryLimit like '2GB' but received/
    expect(() => readEvents('a.csv', schema, { memoryLimit } as object)).toThrow(message)
    await expect(readTable('a.csv', { memoryLimit } as object)).rejects.toThrow(message)
  })

  it('no schema', () => {
    expect(() => readEvents('a.csv', undefined as never)).toThrow(
      /^\[readEvents\] expected an object but received undefined; write \{"entity"/,
    )
  })

  it('without DuckDB: the package is named at once', () => {
    const lookUp = vi.spyOn(Module as unknown as { _load: (...args: unknown[]) => unknown }, '_load')
    lookUp.mockImplementation(() => {
      throw new Error("Cannot find module '@duckdb/node-api'")
    })
    try {
      expect(() => readEvents('events.csv', schema)).toThrow(/npm install @duckdb\/node-api/)
      expect(() => readEvents('events.csv', schema)).toThrow(expect.objectContaining({ code: 'PACKAGE_MISSING' }))
    } finally {
      lookUp.mockRestore()
    }
  })
})
