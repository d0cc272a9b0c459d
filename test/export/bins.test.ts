import { readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { crc32 } from 'node:zlib'
import { beforeAll, describe, expect, it } from 'vitest'
import { loadBins, saveBins } from '../../lib/export/bins.js'
import { toLightgbm } from '../../lib/export/lightgbm.js'
import { BinnedMatrix } from '../../lib/runtime/binned_matrix.js'
import { GbrtTrainer } from '../../lib/trees/gbrt.js'
import { openDevice } from '../support/devices.js'
import { temporaryFolder } from '../support/folder.js'
import { TestRandom } from '../support/random.js'
import { smallTable } from '../support/tables.js'

const ROWS = 3000
const device = openDevice()
const folder = temporaryFolder()
const path = join(folder, 'table.bins')

const { columns: numbers, labels } = smallTable(ROWS, 20)
const columns = {
  ...Object.fromEntries(numbers.map((column, f) => [`n${f}`, column])),
  'größe "x"': Float64Array.from({ length: ROWS }, (_, r) => [-Infinity, Infinity, 0, 1e-9 * r][r % 4]),
  kind: Int32Array.from({ length: ROWS }, (_, r) => ((r * 7) % 40) ** 2),
  constant: new Float32Array(ROWS).fill(2),
  nothing: new Float32Array(ROWS).fill(Number.NaN),
  infinite: new Float32Array(ROWS).fill(Infinity),
}
const binned = () => BinnedMatrix.from(device, { columns }, { categorical: ['kind'] })
const train = async (matrix: BinnedMatrix) =>
  toLightgbm((await new GbrtTrainer(matrix, { numIterations: 5, minDataPerGroup: 5 }).fit({ targets: labels })).model)

/** The file after a change, with a checksum that is right again. */
function mended(file: Buffer): Buffer {
  file.writeUInt32LE(crc32(file.subarray(0, -4)), file.length - 4)
  return file
}

/** The file with another header. */
function reheaded(file: Buffer, change: (header: Record<string, unknown>) => unknown): Buffer {
  const length = Number(file.readBigUInt64LE(8))
  const json = JSON.stringify(change(JSON.parse(file.toString('utf8', 16, 16 + length))))
  const text = Buffer.from(json)
  const start = Buffer.from(file.subarray(0, 16))
  start.writeBigUInt64LE(BigInt(text.length), 8)
  return mended(Buffer.concat([start, text, file.subarray(16 + length)]))
}

describe('saved bins', () => {
  let matrix: BinnedMatrix
  let file: Buffer
  beforeAll(async () => {
    matrix = await binned()
    await saveBins(matrix, path)
    file = await readFile(path)
  })

  it('are the same when read: columns, bins, other rows, models', async () => {
    const loaded = await loadBins(device, path)
    expect([loaded.rows, loaded.names]).toEqual([ROWS, matrix.names])
    expect(loaded.columns).toEqual(matrix.columns)
    expect(await loaded.read()).toEqual(await matrix.read())
    const others = { columns: Object.values(columns).map(column => column.slice(7, 1007).reverse()) }
    expect(await (await loaded.like(others)).read()).toEqual(await (await matrix.like(others)).read())
    expect(await train(loaded)).toBe(await train(matrix))
    await saveBins(loaded, join(folder, 'again.bins'))
    expect(await readFile(join(folder, 'again.bins'))).toEqual(file)
  })

  it('are refused when one byte of them is another, or the end is missing', async () => {
    const random = new TestRandom(5)
    const device = openDevice()
    const before = device.info().liveBytes
    const damaged = join(folder, 'damaged.bins')
    const places = [
      0,
      7,
      8,
      15,
      16,
      file.length - 1,
      ...Array.from({ length: 60 }, () => random.integer(0, file.length - 1)),
    ]
    for (const at of places) {
      const copy = Buffer.from(file)
      copy[at] ^= 1 << random.integer(0, 7)
      await writeFile(damaged, copy)
      await expect(loadBins(device, damaged)).rejects.toMatchObject({ code: 'BINS_INVALID' })
    }
    for (const length of [0, 5, 16, 200, file.length - 1]) {
      await writeFile(damaged, file.subarray(0, length))
      await expect(loadBins(device, damaged)).rejects.toMatchObject({ code: 'BINS_INVALID' })
    }
    expect(device.info().liveBytes).toBe(before)
  })

  type Change = (file: Buffer) => Buffer
  const length = (bytes: Buffer) => 16 + Number(bytes.readBigUInt64LE(8))
  const bound =
    (at: number, value: number): Change =>
    bytes => {
      bytes.writeDoubleLE(value, length(bytes) + at * 8)
      return mended(bytes)
    }
  const column =
    (f: number, change: object): Change =>
    bytes =>
      reheaded(bytes, header => {
        const list = header.columns as object[]
        return { ...header, columns: list.map((one, i) => (i === f ? { ...one, ...change } : one)) }
      })
  const hostile: Record<string, [Change, RegExp]> = {
    'bounds that do not ascend': [bound(3, -50), /ascend/],
    'a bound of NaN': [bound(0, Number.NaN), /ascend/],
    'a bin that a column does not have': [
      bytes => {
        bytes[bytes.length - 5] = 200 // of `infinite`, which has one bin
        return mended(bytes)
      },
      /bins that the columns have/,
    ],
    'more rows than bytes': [bytes => reheaded(bytes, header => ({ ...header, rows: 2 ** 31 })), /bytes/],
    'no rows': [bytes => reheaded(bytes, header => ({ ...header, rows: 0 })), /rows from 1/],
    'half a row': [bytes => reheaded(bytes, header => ({ ...header, rows: 0.5 })), /rows from 1/],
    'a name too few': [bytes => reheaded(bytes, header => ({ ...header, names: ['a'] })), /names/],
    'no columns': [bytes => reheaded(bytes, header => ({ ...header, columns: [], names: [] })), /columns/],
    'a list as header': [bytes => reheaded(bytes, () => [1]), /rows from 1/],
    'a strange kind': [column(0, { kind: 'text' }), /columns of a kind/],
    'NaN for categories': [column(21, { hasNaN: true }), /categories, none of them NaN/],
    'too many bounds': [column(0, { bounds: 256 }), /255 bounds/],
  }

  it.each(Object.keys(hostile))('are refused with %s', async name => {
    const [change, error] = hostile[name]
    const damaged = join(folder, 'hostile.bins')
    await writeFile(damaged, change(Buffer.from(file)))
    await expect(loadBins(device, damaged)).rejects.toThrow(error)
    await expect(loadBins(device, damaged)).rejects.toMatchObject({ code: 'BINS_INVALID' })
  })

  it('leave nothing behind when they cannot be written or read', async () => {
    await expect(loadBins(device, join(folder, 'none.bins'))).rejects.toMatchObject({ code: 'FILE_NOT_FOUND' })
    await expect(loadBins(device, folder)).rejects.toMatchObject({ code: 'FILE_NOT_FOUND' })
    const signal = AbortSignal.abort()
    await expect(loadBins(device, path, { signal })).rejects.toThrow(/abort/i)
    await expect(saveBins(matrix, join(folder, 'unsaved.bins'), { signal })).rejects.toThrow(/abort/i)
    expect((await readdir(folder)).filter(name => name.includes('unsaved'))).toEqual([])
  })
})
