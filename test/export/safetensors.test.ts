import { type FileHandle, open, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it, vi } from 'vitest'
import { readSafetensors, writeSafetensors } from '../../lib/export/safetensors.js'
import { temporaryFolder } from '../support/folder.js'
import { TestRandom } from '../support/random.js'

const folder = temporaryFolder()

/** A file with that header and so many bytes of values. */
async function craft(header: unknown, bytes: number, length?: bigint): Promise<string> {
  const text = Buffer.from(typeof header === 'string' ? header : JSON.stringify(header))
  const prefix = Buffer.alloc(8)
  prefix.writeBigUInt64LE(length ?? BigInt(text.length))
  const path = join(folder, 'crafted.safetensors')
  await writeFile(path, Buffer.concat([prefix, text, Buffer.alloc(bytes)]))
  return path
}

const entry = (shape: unknown, from: number, to: number, dtype = 'F32') => ({ dtype, shape, data_offsets: [from, to] })

describe('safetensors', () => {
  it('reads what it wrote', async () => {
    const path = join(folder, 'model.safetensors')
    const tensors = new Map([
      ['a', { shape: [2, 3], values: Float32Array.of(1, -2, 3.5, Number.NaN, Number.POSITIVE_INFINITY, -0) }],
      ['b.weight', { shape: [1], values: Float32Array.of(7) }],
      ['empty', { shape: [0, 4], values: new Float32Array(0) }],
    ])
    await writeSafetensors(path, { tensors, metadata: { note: 'héllo' } })
    const read = await readSafetensors(path)
    expect(read.metadata).toEqual({ note: 'héllo' })
    expect([...read.tensors.keys()]).toEqual(['a', 'b.weight', 'empty'])
    for (const [name, { shape, values }] of tensors) {
      expect(read.tensors.get(name)!.shape).toEqual(shape)
      expect(Buffer.from(read.tensors.get(name)!.values.buffer)).toEqual(Buffer.from(values.buffer))
    }
    expect((await readdir(folder)).filter(name => name.endsWith('.tmp'))).toEqual([])
  })

  it.each<[string, unknown, number, bigint?]>([
    ['a header longer than the file', {}, 0, 1n << 40n],
    ['a header of the largest length', {}, 0, (1n << 64n) - 1n],
    ['a header that is no JSON', '{"a":', 0],
    ['a header that is a list', [], 0],
    ['a header in broken UTF-8', '\ud800', 0],
    ['an entry that is no object', { a: 7 }, 0],
    ['another type', { a: entry([1], 0, 4, 'I64') }, 4],
    ['a negative size', { a: entry([-1], 0, 4) }, 4],
    ['a size that is no integer', { a: entry([0.5], 0, 4) }, 4],
    ['sizes whose product overflows', { a: entry([2 ** 40, 2 ** 40], 0, 4) }, 4],
    ['a range past the end', { a: entry([2], 0, 8) }, 4],
    ['a range that falls', { a: entry([1], 4, 0) }, 4],
    ['a range of another size than the shape', { a: entry([2], 0, 4) }, 4],
    ['overlapping tensors', { a: entry([2], 0, 8), b: entry([2], 4, 12) }, 12],
    ['a gap between tensors', { a: entry([1], 0, 4), b: entry([1], 8, 12) }, 12],
    ['bytes behind the last tensor', { a: entry([1], 0, 4) }, 8],
    ['metadata that is no text', { __metadata__: { a: 1 } }, 0],
  ])('refuses %s', async (_, header, bytes, length) => {
    await expect(readSafetensors(await craft(header, bytes, length))).rejects.toMatchObject({ code: 'MODEL_INVALID' })
  })

  it('refuses short, missing and truncated files', async () => {
    const short = join(folder, 'short.safetensors')
    await writeFile(short, Buffer.alloc(5))
    await expect(readSafetensors(short)).rejects.toMatchObject({ code: 'MODEL_INVALID' })
    for (const path of [join(folder, 'none'), folder]) {
      await expect(readSafetensors(path)).rejects.toMatchObject({
        code: 'FILE_NOT_FOUND',
        message: `[safetensors] expected a readable file but received '${path}'; check the path`,
      })
    }
    const path = join(folder, 'model.safetensors')
    await writeSafetensors(path, {
      tensors: new Map([['a', { shape: [64], values: new Float32Array(64) }]]),
      metadata: {},
    })
    const whole = await readFile(path)
    for (const length of [7, 8, 20, whole.length - 4, whole.length - 1]) {
      await writeFile(path, whole.subarray(0, length))
      await expect(readSafetensors(path)).rejects.toMatchObject({ code: 'MODEL_INVALID' })
    }
  })

  it('survives random damage: every file is read or refused, never worse', async () => {
    const path = join(folder, 'fuzzed.safetensors')
    const tensors = new Map([
      ['a', { shape: [2, 2], values: new Float32Array(4) }],
      ['b', { shape: [3], values: new Float32Array(3) }],
    ])
    await writeSafetensors(path, { tensors, metadata: { kind: 'test' } })
    const whole = await readFile(path)
    const random = new TestRandom(3)
    let refused = 0
    for (let round = 0; round < 500; round++) {
      const damaged = Buffer.from(whole)
      for (let k = random.integer(1, 4); k > 0; k--)
        damaged[random.integer(0, damaged.length - 1)] = random.integer(0, 255)
      await writeFile(path, damaged)
      await readSafetensors(path).catch((error: unknown) => {
        expect(error).toMatchObject({ code: 'MODEL_INVALID' })
        refused++
      })
    }
    expect(refused).toBeGreaterThan(100)
  })

  it('reads more than 2 GiB, each tensor in its place', async () => {
    const path = join(folder, 'large.safetensors')
    const small = Float32Array.of(1, 2, 3)
    const size = 2 ** 29 + 1
    const header = JSON.stringify({ b: entry([size], 12, 12 + 4 * size), a: entry([3], 0, 12) }).padEnd(160)
    const file = await open(path, 'w')
    const start = Buffer.alloc(8)
    start.writeBigUInt64LE(BigInt(header.length))
    await file.writev([start, Buffer.from(header), Buffer.from(small.buffer)])
    await file.truncate(8 + header.length + 12 + 4 * size)
    const handles = Object.getPrototypeOf(file) as FileHandle
    await file.close()
    // Large pieces are zeros in the file and in memory: left alone, they take neither time nor room.
    const original = handles.read as (this: unknown, ...given: unknown[]) => Promise<unknown>
    const pieces: [offset: number, length: number, position: number][] = []
    const read = vi.spyOn(handles, 'read').mockImplementation(async function (this: unknown, ...given: unknown[]) {
      const [, offset, length, position] = given as [Uint8Array, number, number, number]
      if (length < 2 ** 20) return original.apply(this, given)
      pieces.push([offset, length, position])
      return { bytesRead: length }
    } as never)
    const { tensors } = await readSafetensors(path).finally(() => read.mockRestore())
    await rm(path)
    expect([...tensors.keys()]).toEqual(['b', 'a'])
    expect(tensors.get('a')?.values).toEqual(small)
    expect(tensors.get('b')?.values.length).toBe(size)
    let at = 0
    for (const [offset, length, position] of pieces) {
      expect([offset, position]).toEqual([at, 8 + header.length + 12 + at])
      expect(length).toBeLessThan(2 ** 31)
      at += length
    }
    // The last piece is small enough to be read.
    expect(at).toBe(2 ** 31)
  })

  it('says what it could not write, and leaves nothing half written', async () => {
    const tensors = new Map([['a', { shape: [4], values: new Float32Array(4) }]])
    const file = join(folder, 'a file')
    await writeFile(file, '')
    const failed = writeSafetensors(join(file, 'model.safetensors'), { tensors, metadata: {} })
    await expect(failed).rejects.toMatchObject({ code: 'WRITE_FAILED' })
    expect((await readdir(folder)).filter(name => name.endsWith('.tmp'))).toEqual([])
  })
})
