// From files to bins: what a reader gives is binned like the same columns in memory.

import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { describe, expect, it } from 'vitest'
import {
  BinnedMatrix,
  columnsOfLayout,
  GbrtTrainer,
  kmeans,
  layoutOfModel,
  loadLightgbm,
  readingOf,
  readTable,
  saveLightgbm,
  tableLayout,
  writeTable,
} from '../../lib/index.js'
import { layoutOf } from '../../lib/trees/table_input.js'
import { openDevice } from '../support/devices.js'
import { temporaryFolder } from '../support/folder.js'
import { smallTable } from '../support/tables.js'

const folder = temporaryFolder()

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

const device = openDevice()

describe('columns of a file', () => {
  it.each(Object.keys(WRITERS))('are binned as those in memory are: %s', async name => {
    const path = join(folder, name)
    await WRITERS[name](path)
    const read = await readTable(path, name.endsWith('parquet') ? { id: 'id' } : {})
    const layout = tableLayout(read, { categorical: ['colour'] })
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

describe('categories of text', () => {
  const country = colours.map(colour => (colour === null ? null : `in ${colour}`))
  const amount = Float64Array.from(table[3])
  const targets = Float32Array.from(country, (one, r) => Number((one === 'in red') !== amount[r] > 1))

  it('train, are saved with the model, and are scored by their names, known or not', async () => {
    const data = { columns: { amount }, texts: { country } }
    const layout = tableLayout(data, { categorical: ['country'] })
    expect(layout).toEqual({ names: ['amount', 'country'], levels: [null, ['in blue', 'in green', 'in red']] })
    const columns = columnsOfLayout(layout, data)
    const matrix = await BinnedMatrix.from(device, { columns }, { names: layout.names, categorical: ['country'] })
    const fit = await new GbrtTrainer(matrix, { numIterations: 5 }).fit({ targets })
    const path = join(folder, 'model.txt')
    await saveLightgbm(fit.model.withLevels(layout.levels), path)
    const model = await loadLightgbm(path)
    const own = layoutOfModel(model)
    expect(own).toEqual(layout)
    await writeFile(join(folder, 'new.csv'), 'id,country,amount\nx,in red,2\ny,in blue,2\nz,in mauve,0\n')
    const read = await readTable(join(folder, 'new.csv'), { id: 'id', ...readingOf(own) })
    const scores = await model.predict(device, { columns: columnsOfLayout(own, read) })
    const codes = { columns: { amount: Float64Array.of(2, 2, 0), country: Float64Array.of(2, 0, Number.NaN) } }
    expect(scores).toEqual(await fit.model.predict(device, codes))
    expect(scores[0]).toBeLessThan(scores[1])
    expect(() => fit.model.withLevels([null])).toThrow(/levels of 2 features but received 1/)
  })

  it('in place of numbers are refused by the name of their column', async () => {
    const columns = { amount, country } as never
    const refused = /expected a typed array of numbers in column 'country' but received \[in red,/
    await expect(BinnedMatrix.from(device, { columns })).rejects.toThrow(refused)
    await expect(kmeans(device, { columns }, { clusters: 2 })).rejects.toThrow(refused)
    await expect(BinnedMatrix.from(device, { columns: [amount, country] as never })).rejects.toThrow(/'Column_1'/)
    const text = { columns: {}, texts: { amount: ['much'] } }
    const layout = { names: ['amount'], levels: [null] }
    expect(() => columnsOfLayout(layout, text)).toThrow(/numbers in 'amount' but received 'much'/)
    expect(() => columnsOfLayout(layout, { columns: {}, texts: {} })).toThrow(/a column 'amount' but received 'none'/)
    // Read as the other kind, every value would be unknown.
    const digits = { names: ['code'], levels: [['1', '2', 'x']] }
    const codes = { columns: { code: Float64Array.of(1, 2) }, texts: {} }
    expect(() => columnsOfLayout(digits, codes)).toThrow(
      /text in 'code' but received 1; read the table with what readingOf/,
    )
    const grades = { columns: {}, texts: { grade: ['-1', '5', 'n/a'] } }
    expect(() => columnsOfLayout({ names: ['grade'], levels: [[-1, 5]] }, grades)).toThrow(/numbers in 'grade'/)
    const odd = { columns: { valueOf: amount }, texts: {} }
    expect(columnsOfLayout(tableLayout(odd, { categorical: [] }), odd)).toEqual([amount])
    // @ts-expect-error no such option
    expect(() => tableLayout(text, { categoric: ['amount'] })).toThrow(/did you mean 'categorical'/)
  })
})
