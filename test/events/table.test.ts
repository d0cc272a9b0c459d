// Tables out and in again: the same values by every ending, whole files or none.

import { execFileSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { gunzipSync, gzipSync } from 'node:zlib'
import { describe, expect, it } from 'vitest'
import {
  readTable,
  readVectorBlocks,
  readVectors,
  VectorWriter,
  writeTable,
  writeVectors,
} from '../../lib/events/index.js'
import { Philox } from '../../lib/util/philox.js'
import { EventFiles } from '../support/event_files.js'

const files = new EventFiles()

const awkward = ['plain', 'with, comma', 'with "quotes"', 'two\nlines', ' blanks ', '007', 'é😀', 'NA', '']
const ids = awkward.slice(0, -1)

describe('features', () => {
  const special = [0, -0, 1e-320, 1.7976931348623157e308, -1 / 3, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 53]
  const table = {
    ids,
    columns: {
      'a.b[x,"y"]': Float64Array.from(special),
      none: new Float64Array(8).fill(Number.NaN),
      n: new Float64Array(8).fill(3),
    },
  }

  it.each(['.csv', '.csv.gz', '.parquet'])('survive %s bit for bit', async ending => {
    const file = files.path(ending)
    await writeTable(file, 'user id', table)
    const again = await readTable(file, { id: 'user id' })
    expect(again.ids).toEqual(ids)
    for (const [name, column] of Object.entries(table.columns)) {
      expect(again.columns[name].length).toBe(8)
      expect([...again.columns[name]].every((value, i) => Object.is(value, column[i]))).toBe(true)
    }
  })

  it('of many rows go in several row groups', async () => {
    const random = new Philox(4)
    const count = 150_001
    const big = {
      ids: Array.from({ length: count }, (_, i) => `u${i}`),
      columns: { x: new Float64Array(count).map(() => random.normal()) },
    }
    big.columns.x[77_777] = Number.NaN
    const file = files.path('.parquet')
    await writeTable(file, 'id', big)
    const again = await readTable(file, { id: 'id' })
    expect(again.ids.every((id, i) => id === big.ids[i])).toBe(true)
    expect(again.columns.x.every((value, i) => Object.is(value, big.columns.x[i]))).toBe(true)
  })

  it('refuse unlike columns, a clash with the id, and other endings', async () => {
    const short = { ids: ['a', 'b'], columns: { x: new Float64Array(1) } }
    await expect(writeTable(files.path('.csv'), 'id', short)).rejects.toThrow(/2 values in 'x' but received 1/)
    await expect(writeTable(files.path('.csv'), 'n', table)).rejects.toThrow(/no column named as the id/)
    await expect(writeTable(files.path('.txt'), 'id', table)).rejects.toThrow(/ending in \.csv, \.csv\.gz or \.parquet/)
  })
})

describe('vectors', () => {
  const random = new Philox(6)
  const vectors = new Float32Array(ids.length * 5).map(() => random.normal() * 10 ** random.below(8))
  vectors.set([0, 1e-40, 3.4028234663852886e38, -7, 123456789])

  it.each(['.csv', '.csv.gz', '.parquet'])('survive %s bit for bit', async ending => {
    const file = files.path(ending)
    await writeVectors(file, 'id', ids, vectors)
    expect(await readVectors(file, { id: 'id' })).toEqual({ idColumn: 'id', ids, width: 5, vectors })
    // Without a name: the one column that holds no vectors.
    expect(await readVectors(file)).toEqual({ idColumn: 'id', ids, width: 5, vectors })
  })

  it.each(['.csv', '.parquet'])('are read block by block, and by id, from %s', async ending => {
    const many = Array.from({ length: 5000 }, (_, i) => `it's ${i}`)
    const values = Float32Array.from({ length: 10_000 }, (_, i) => i / 3)
    const file = files.path(ending)
    await writeVectors(file, 'user', many, values)
    const read: string[] = []
    let blocks = 0
    for await (const { ids, width, vectors } of readVectorBlocks(file)) {
      expect(vectors).toEqual(values.subarray(read.length * width, (read.length + ids.length) * width))
      read.push(...ids)
      blocks++
    }
    expect(read).toEqual(many)
    expect(blocks).toBeGreaterThan(1)
    const only = await readVectors(file, { only: ["it's 7", 'nobody'] })
    expect(only).toEqual({ idColumn: 'user', ids: ["it's 7"], width: 2, vectors: values.slice(14, 16) })
    // One left early gives its database back: the process would not end otherwise.
    for await (const _ of readVectorBlocks(file)) break
  })

  it('have the columns that other programs expect', async () => {
    const csv = files.path('.csv')
    await writeVectors(csv, 'account', ['a', 'b'], Float32Array.of(1, 0.5, -2, 0.1))
    expect(readFileSync(csv, 'utf8')).toBe('account,v0,v1\na,1,0.500000000\nb,-2,0.100000001\n')
    const parquet = files.path('.parquet')
    await writeVectors(parquet, 'account', ['a', 'b'], Float32Array.of(1, 0.5, -2, 0.1))
    const table = await readTable(parquet, { id: 'account', columns: [] })
    expect(table.ids).toEqual(['a', 'b'])
    await expect(readTable(parquet, { id: 'account' })).rejects.toThrow(/single values in 'v'/)
  })

  it('come in pieces, and are copied at once', async () => {
    const count = 3000
    const all = new Float32Array(count * 64).map((_, i) => i % 1000)
    const names = Array.from({ length: count }, (_, i) => `u${i}`)
    for (const ending of ['.parquet', '.csv.gz']) {
      const file = files.path(ending)
      const writer = new VectorWriter(file, 'id', 64)
      const buffer = new Float32Array(64 * 7)
      for (let at = 0; at < count; at += 7) {
        const size = Math.min(7, count - at)
        buffer.set(all.subarray(at * 64, (at + size) * 64))
        await writer.append(names.slice(at, at + size), buffer.subarray(0, size * 64))
        buffer.fill(-1)
      }
      expect(existsSync(file)).toBe(false)
      await writer.close()
      expect(await readVectors(file, { id: 'id' })).toEqual({ idColumn: 'id', ids: names, width: 64, vectors: all })
    }
  })

  it('may come in pieces that do not wait for each other', async () => {
    const file = files.path('.csv')
    const writer = new VectorWriter(file, 'id', 2)
    const names = ['a', 'b', 'c']
    await Promise.all(names.map((name, i) => writer.append([name], Float32Array.of(i, 2 * i))))
    await writer.close()
    expect(await readVectors(file)).toMatchObject({ ids: names, vectors: Float32Array.of(0, 0, 1, 2, 2, 4) })
    const given = new VectorWriter(files.path('.csv'), 'id', 2)
    const appended = Promise.allSettled(names.map(name => given.append([name], Float32Array.of(1, 2))))
    await given.abort(new Error('stopped'))
    for (const one of await appended) expect(one).toMatchObject({ status: 'rejected', reason: new Error('stopped') })
  })

  it('are refused once the file is closed', async () => {
    const file = files.path('.csv')
    const writer = new VectorWriter(file, 'id', 2)
    await writer.append(['a'], Float32Array.of(1, 2))
    const closed = writer.close()
    await expect(writer.append(['b'], Float32Array.of(3, 4))).rejects.toMatchObject({ code: 'CLOSED' })
    await closed
    expect((await readVectors(file)).ids).toEqual(['a'])
  })

  it('may come one by one, and leave nothing in memory', { timeout: 60_000 }, async () => {
    setFlagsFromString('--expose-gc')
    const collect = runInNewContext('gc') as () => void
    const heap = () => {
      collect()
      return process.memoryUsage().heapUsed
    }
    const writer = new VectorWriter(files.path('.csv'), 'id', 2)
    const row = Float32Array.of(1, 2)
    const add = async (rows: number) => {
      for (let i = 0; i < rows; i++) await writer.append(['a'], row)
    }
    await add(1000)
    const before = heap()
    await add(30_000)
    // A promise for each would be 9 MB.
    expect(heap() - before).toBeLessThan(3e6)
    await writer.close()
  })

  it('leave nothing behind when given up', async () => {
    const file = files.path('.parquet')
    const writer = new VectorWriter(file, 'id', 2)
    await writer.append(['a'], Float32Array.of(1, 2))
    await writer.abort()
    await expect(writer.append(['b'], Float32Array.of(1, 2))).rejects.toThrow('aborted')
    await expect(writer.close()).rejects.toThrow('aborted')
    expect(readdirSync(files.folder).filter(name => name.includes('tmp'))).toEqual([])
    expect(existsSync(file)).toBe(false)
  })

  it.each([
    ['v0', '.parquet'],
    ['v', '.csv'],
    ['v7', '.csv'],
  ])('have ids that are called %s, and no vectors of that name, in %s', async (id, ending) => {
    const file = files.path(ending)
    await writeVectors(file, id, ['a', 'b'], Float32Array.of(1, 2, 3, 4, 5, 6))
    const want = { idColumn: id, ids: ['a', 'b'], width: 3, vectors: Float32Array.of(1, 2, 3, 4, 5, 6) }
    expect(await readVectors(file)).toEqual(want)
  })

  it('refuse ids that are called as the vectors are, before anything is written', async () => {
    const before = readdirSync(files.folder)
    const clash =
      /^\[writeVectors\] expected ids of another name than the vectors but received 'v\d*'; write \.\w+, or rename/
    for (const [ending, name] of [
      ['.csv', 'v0'],
      ['.csv.gz', 'v1'],
      ['.csv', 'v2'],
      ['.parquet', 'v'],
    ]) {
      expect(() => new VectorWriter(files.path(ending), name, 2)).toThrow(clash)
      await expect(writeVectors(files.path(ending), name, ['a'], Float32Array.of(1, 2))).rejects.toThrow(RangeError)
    }
    expect(readdirSync(files.folder)).toEqual(before)
    // What can be told apart is written, and read by its name.
    for (const [ending, id] of [
      ['.csv', 'v'],
      ['.csv', 'v3'],
      ['.csv', 'v01'],
      ['.parquet', 'v0'],
    ]) {
      const file = files.path(ending)
      await writeVectors(file, id, ['a'], Float32Array.of(1, 2))
      expect(await readVectors(file, { id })).toMatchObject({ ids: ['a'], width: 2, vectors: Float32Array.of(1, 2) })
    }
  })

  it('refuse a wrong number of values and unlike widths', async () => {
    await expect(writeVectors(files.path('.csv'), 'id', ids, new Float32Array(3))).rejects.toThrow(
      /one vector for each of 8 ids/,
    )
    const uneven = await files.parquet('SELECT * FROM (VALUES (1, [1.0, 2.0]), (2, [1.0])) t(id, v)')
    await expect(readVectors(uneven, { id: 'id' })).rejects.toThrow(/vectors of one width .*'widths 1 to 2'/)
    const none = files.write('.csv', 'id,x\n1,2\n')
    await expect(readVectors(none, { id: 'id' })).rejects.toMatchObject({ code: 'COLUMN_MISSING' })
    await expect(readVectors(none, { id: 'user' })).rejects.toMatchObject({ code: 'COLUMN_MISSING' })
    const two = files.write('.csv', 'id,name,v0\n1,a,2\n')
    await expect(readVectors(two)).rejects.toThrow(/one column of '.*' beside the vectors but received 'id, name'/)
    const gap = files.write('.csv', 'id,v0,v1,v3\n1,2,3,4\n')
    for (const options of [{}, { id: 'id' }]) await expect(readVectors(gap, options)).rejects.toThrow(/v3/)
    const words = files.write('.csv', 'id,v0\n1,2\n3,x\n')
    await expect(readVectors(words, { id: 'id' })).rejects.toThrow(/a number in column 'v0', row 2 .* received 'x'/)
  })
})

describe('readTable', () => {
  it('takes columns of numbers for numbers and others for text, and does as told', async () => {
    const file = files.write('.csv', 'user,label,city,code,empty\n7,1,Bonn,007,\nx,,"",12,\n')
    const { ids: found, columns, texts } = await readTable(file, { id: 'user', text: ['code'] })
    expect(found).toEqual(['7', 'x'])
    expect(columns).toEqual({ label: Float64Array.of(1, Number.NaN), empty: Float64Array.of(Number.NaN, Number.NaN) })
    expect(texts).toEqual({ city: ['Bonn', null], code: ['007', '12'] })
    expect((await readTable(file, { columns: ['label'] })).ids).toEqual(['1', '2'])
    await expect(readTable(file, { id: 'user', numeric: ['city'] })).rejects.toThrow(
      /a number in column 'city', row 1 .*'Bonn'/,
    )
    await expect(readTable(file, { id: 'users' })).rejects.toThrow(
      /column 'users' in .* received user, label, city, code, empty/,
    )
    const hole = files.write('.csv', 'user,label\na,1\n,2\n')
    await expect(readTable(hole, { id: 'user' })).rejects.toThrow(/a value in 'user', row 2/)
  })

  it('reads JSON lines and Parquet of any type', async () => {
    const json = files.write('.jsonl', '{"id": 1, "x": 2.5, "s": "a"}\n{"id": "b", "s": "c"}\n')
    expect(await readTable(json, { id: 'id' })).toEqual({
      ids: ['1', 'b'],
      names: ['x', 's'],
      columns: { x: Float64Array.of(2.5, Number.NaN) },
      texts: { s: ['a', 'c'] },
    })
    const parquet = await files.parquet(
      `SELECT 5::BIGINT AS id, true AS yes, 3::DECIMAL(5, 1) AS d, DATE '2020-01-01' AS day, NULL::FLOAT AS f`,
    )
    expect(await readTable(parquet, { id: 'id' })).toEqual({
      ids: ['5'],
      names: ['yes', 'd', 'day', 'f'],
      columns: { yes: Float64Array.of(1), d: Float64Array.of(3), f: Float64Array.of(Number.NaN) },
      texts: { day: ['2020-01-01'] },
    })
  })

  it('names a missing column once', async () => {
    const file = files.write('.csv', 'user,risk\nu,1\n')
    await expect(readTable(file, { id: 'user', columns: ['rsk'], numeric: ['rsk'] })).rejects.toThrow(
      /expected column 'rsk' in '/,
    )
  })

  it('refuses a truncated gzip', async () => {
    const whole = gzipSync(`id,x\n${Array.from({ length: 5000 }, (_, i) => `${i},${i * i}\n`).join('')}`)
    const file = files.write('.csv.gz', whole.subarray(0, whole.length - 4))
    await expect(readTable(file, { id: 'id' })).rejects.toMatchObject({ code: 'FILE_BROKEN' })
  })
})

// DuckDB's client ends a stream that fails, once it has begun, like one that is whole.
describe('what is wrong far behind the first rows', () => {
  const count = 80_000
  const lines = Array.from({ length: count }, (_, i) => `u${i},${i},${i % 7}`)
  const broken = (line: string) => lines.with(count - 10, line).join('\n')
  const options = { threads: 1, id: 'id' }

  it('is an error of tables and of vectors', async () => {
    const text = files.write('.csv', `id,v0,v1\n${broken('u,oops,1')}\n`)
    const message = `column 'v0', row ${count - 9} of '${text}' but received 'oops'`
    const table = readTable(text, { ...options, numeric: ['v0'] })
    await expect(table).rejects.toMatchObject({ code: 'CELL_INVALID', message: expect.stringContaining(message) })
    const vectors = readVectors(text, options)
    await expect(vectors).rejects.toMatchObject({ code: 'CELL_INVALID', message: expect.stringContaining(message) })
    const half = files.write('.csv', `id,v0,v1\n${broken('u,1')}\n`)
    await expect(readVectors(half, options)).rejects.toMatchObject({ code: 'FILE_BROKEN' })
  })

  it('is an error too where a signal ends the reading', async () => {
    const whole = files.write('.csv', `id,v0,v1\n${lines.join('\n')}\n`)
    const stop = new AbortController()
    let rows = 0
    const reading = (async () => {
      for await (const { ids } of readVectorBlocks(whole, { ...options, signal: stop.signal })) {
        rows += ids.length
        // While the next block is on its way.
        setImmediate(() => stop.abort(new Error('stopped')))
      }
    })()
    await expect(reading).rejects.toThrow('stopped')
    expect(rows).toBeLessThan(count)
  })
})

describe('files appear whole or not at all', () => {
  const table = {
    ids: Array.from({ length: 20_000 }, (_, i) => `user ${i}`),
    columns: { x: new Float64Array(20_000).map(Math.sin) },
  }

  it('keeps the old file when the new one fails, and no other', async () => {
    const file = files.write('.csv', 'old')
    const controller = new AbortController()
    const writing = writeTable(file, 'id', table, { signal: controller.signal })
    controller.abort(new Error('stopped'))
    await expect(writing).rejects.toThrow('stopped')
    expect(readFileSync(file, 'utf8')).toBe('old')
    expect(readdirSync(files.folder).filter(name => name.endsWith('.tmp'))).toEqual([])
    await writeTable(file, 'id', table)
    expect(readFileSync(file, 'utf8').split('\n').length).toBe(20_002)
  })

  it('makes a folder that is not there, as for models', async () => {
    const deep = join(files.folder, 'not', 'there', 'x.csv')
    await writeTable(deep, 'id', table)
    expect(readFileSync(deep, 'utf8').split('\n').length).toBe(20_002)
  })

  it('names a folder that cannot be, and a file that is a folder', async () => {
    const lost = join(files.write('.csv', 'old'), 'where.csv')
    await expect(writeTable(lost, 'id', table)).rejects.toMatchObject({
      code: 'WRITE_FAILED',
      message: expect.stringContaining(lost),
    })
    const folder = join(files.folder, 'dir.csv')
    execFileSync('mkdir', [folder])
    await expect(writeTable(folder, 'id', table)).rejects.toMatchObject({
      code: 'WRITE_FAILED',
      message: expect.stringMatching(/dir\.csv/),
    })
  })

  // The device that is always full is Linux's alone.
  it.skipIf(!existsSync('/dev/full'))('says that a disk is full', async () => {
    await expect(writeTable('/dev/full', 'id', table)).rejects.toMatchObject({
      code: 'WRITE_FAILED',
      message: '[files] expected to write /dev/full but received a full disk; free some space',
    })
    expect(statSync('/dev/full').isCharacterDevice()).toBe(true)
  })

  // Windows' shell has no `ulimit`.
  it.skipIf(process.platform === 'win32')('removes what does not fit (file size limit of the shell)', () => {
    const program = `
      import { writeTable, writeVectors } from '${join(import.meta.dirname, '../../lib/events/write.ts')}'
      process.on('SIGXFSZ', () => {})
      const ids = Array.from({ length: 50000 }, (_, i) => 'user ' + i)
      for (const ending of ['.csv', '.parquet']) {
        await writeVectors('${files.folder}/limit' + ending, 'id', ids, new Float32Array(400000).map(Math.sin)).then(
          () => console.log('written'), error => console.log(error.code, error.message))
      }`
    const script = files.write('.mts', program)
    const command = `ulimit -f 64; exec "${process.execPath}" --import tsx "${script}"`
    const out = execFileSync('sh', ['-c', command], { encoding: 'utf8', cwd: join(import.meta.dirname, '../..') })
    expect(
      out.match(/^WRITE_FAILED .* expected to write .*limit\.(csv|parquet) but received Error: EFBIG/gm),
    ).toHaveLength(2)
    expect(readdirSync(files.folder).filter(name => name.includes('limit'))).toEqual([])
  })

  it('writes gzip that other programs read', async () => {
    const file = files.path('.csv.gz')
    await writeTable(file, 'id', { ids: ['a'], columns: { x: Float64Array.of(1.5) } })
    expect(gunzipSync(readFileSync(file)).toString()).toBe('id,x\na,1.5\n')
  })
})
