// From files to bins: what a reader gives is binned like the same columns in memory.

import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { afterAll, describe, expect, it } from 'vitest'
import { readTable } from '../../lib/events/table.js'
import { writeTable } from '../../lib/events/write.js'
import { BinnedMatrix } from '../../lib/runtime/binned_matrix.js'
import { columnsOfLayout, layoutOf } from '../../lib/trees/table_input.js'
import { openDevice } from '../support/devices.js'
import { smallTable } from '../support/tables.js'

const folder = await mkdtemp(join(tmpdir(), 'seqrisk-table-'))
afterAll(() => rm(folder, { recursive: true }))

const ROWS = 3000
const NAMES = ['a', 'holes', 'few', 'd', 'e']
const table = smallTable(ROWS).columns
const colours = Array.from({ length: ROWS }, (_, r) => ['red', 'green', 'blue', null][(r + (r >> 3)) % 4])
const CODES = { blue: 0, green: 1, red: 2 } as const
const codes = Float64Array.from(colours, name => CODES[name as keyof typeof CODES] ?? Number.NaN)
const cell = (value: number) => (Number.isNaN(value) ? '' : String(value))
const csv = [
  [...NAMES, 'colour'].join(','),
  ...colours.map((colour, r) => [...table.map(column => cell(column[r])), colour ?? ''].join(',')),
].join('\n')
const jsonLines = colours
  .map((colour, r) =>
    JSON.stringify({ ...Object.fromEntries(table.map((column, f) => [NAMES[f], column[r]])), colour }),
  )
  .join('\n')

const WRITERS: Record<string, (path: string) => Promise<unknown>> = {
  'table.csv': path => writeFile(path, csv),
  'table.csv.gz': path => writeFile(path, gzipSync(csv)),
  'table.jsonl': path => writeFile(path, jsonLines),
  'table.parquet': path => {
    const numbers = Object.fromEntries(table.map((column, f) => [NAMES[f], Float64Array.from(column)]))
    return writeTable(path, 'id', { ids: colours.map((_, r) => `u${r}`), columns: { ...numbers, colour: codes } })
  },
}

describe('columns of a file', () => {
  const device = openDevice()

  it.each(Object.keys(WRITERS))('are binned as those in memory are: %s', async name => {
    const path = join(folder, name)
    await WRITERS[name](path)
    const read = await readTable(path, name.endsWith('parquet') ? { id: 'id' } : {})
    const layout = layoutOf('test', read, { categorical: ['colour'] })
    expect(layout.names).toEqual([...NAMES, 'colour'])
    const options = { categorical: ['colour'], names: layout.names }
    const fromFile = await BinnedMatrix.from(device, { columns: columnsOfLayout(layout, read) }, options)
    const inMemory = await BinnedMatrix.from(
      device,
      { columns: [...table.map(column => Float64Array.from(column)), codes] },
      options,
    )
    expect(fromFile.columns).toEqual(inMemory.columns)
    expect(await fromFile.read()).toEqual(await inMemory.read())
    // Arrow's columns are typed arrays with an offset into a buffer of their own.
    const whole = new Float32Array(3 + ROWS * table.length)
    const views = table.map((column, f) => {
      whole.set(column, 3 + f * ROWS)
      return whole.subarray(3 + f * ROWS, 3 + (f + 1) * ROWS)
    })
    expect(await (await BinnedMatrix.from(device, { columns: [...views, codes] }, options)).read()).toEqual(
      await inMemory.read(),
    )
  })

  it('may be named like members of Object', async () => {
    const path = join(folder, 'members.csv')
    await writeFile(path, 'id,__proto__,constructor,toString,valueOf\nu0,1,2,3,red\nu1,4,5,6,\nu2,7,8,,blue\n')
    const read = await readTable(path, { id: 'id' })
    expect(Object.keys(read.columns)).toEqual(['__proto__', 'constructor', 'toString'])
    expect([read.texts.constructor, read.columns.valueOf, read.columns.hasOwnProperty]).toEqual([
      undefined,
      undefined,
      undefined,
    ])
    expect(() => layoutOf('test', read)).toThrow(/numbers in 'valueOf' but received 'red'/)
    const layout = layoutOf('test', read, { categorical: ['valueOf', 'constructor'] })
    expect(layout).toEqual({
      names: ['__proto__', 'constructor', 'toString', 'valueOf'],
      levels: [null, [2, 5, 8], null, ['blue', 'red']],
    })
    const columns = columnsOfLayout(layout, read).map(column => [...column])
    expect(columns).toEqual([
      [1, 4, 7],
      [0, 1, 2],
      [3, 6, Number.NaN],
      [1, Number.NaN, 0],
    ])
  })
})
