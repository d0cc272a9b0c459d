// Models, checkpoints, logs and vectors on a disk that fills up: a clear error, what was there before stays, and nothing
// half written is left. On a disk of its own, which takes root to mount; and with the n-th write refused, for every n.

import { open, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { beforeEach, describe, expect, it, vi } from 'vitest'
import { readSafetensors, writeSafetensors } from '../../lib/export/safetensors.js'
import {
  Encoder,
  fitEncoding,
  loadEncoder,
  type PretrainOptions,
  pretrain,
  saveEncoder,
  VectorWriter,
  writeTable,
  writeVectors,
} from '../../lib/index.js'
import { expectSameBits } from '../support/close.js'
import { mountDisk } from '../support/disk.js'
import { temporaryFolder } from '../support/folder.js'
import { smallSource } from '../support/small_source.js'

const disk = mountDisk()

/** Every file under a folder with its bytes. */
async function contents(folder: string): Promise<Map<string, string>> {
  const files = new Map<string, string>()
  for (const name of (await readdir(folder, { recursive: true })).sort()) {
    const path = join(folder, name)
    if ((await stat(path)).isFile()) files.set(name, (await readFile(path)).toString('base64'))
  }
  return files
}

const full = {
  code: 'WRITE_FAILED',
  message: expect.stringMatching(/^\[files\] expected to write .* but received a full disk; free some space$/),
}
const source = smallSource()
const ids = Array.from({ length: 4000 }, (_, i) => `user ${i}`)

describe.skipIf(disk === null)('on a full disk (skipped without the right to mount one)', () => {
  const at = (name: string) => join(disk!, name)

  beforeEach(async () => {
    for (const name of await readdir(disk!)) await rm(at(name), { recursive: true })
  })

  it.each(['vectors.csv', 'vectors.csv.gz', 'vectors.parquet'])('%s: the old file stays', async name => {
    const few = Float32Array.from({ length: 30 }, (_, i) => Math.sin(i))
    await writeVectors(at(name), 'id', ids.slice(0, 10), few)
    const before = await contents(disk!)
    const many = Float32Array.from({ length: 128 * ids.length }, (_, i) => Math.sin(i))
    await expect(writeVectors(at(name), 'id', ids, many)).rejects.toMatchObject(full)
    expect(await contents(disk!)).toEqual(before)
    // In pieces, as encode writes them.
    const writer = new VectorWriter(at(name), 'id', 128)
    const pieces = async () => {
      for (let i = 0; i < ids.length; i += 500) {
        await writer.append(ids.slice(i, i + 500), many.subarray(128 * i, 128 * (i + 500)))
      }
      await writer.close()
    }
    await expect(pieces()).rejects.toMatchObject(full)
    expect(await contents(disk!)).toEqual(before)
  })

  it.each(['table.csv', 'table.parquet'])('%s: the old file stays', async name => {
    await writeTable(at(name), 'id', { ids: ['a'], columns: { x: Float64Array.of(1) } })
    const before = await contents(disk!)
    const column = () => Float64Array.from(ids, (_, i) => Math.sin(i))
    const columns = Object.fromEntries(Array.from({ length: 60 }, (_, i) => [`c${i}`, column()]))
    await expect(writeTable(at(name), 'id', { ids, columns })).rejects.toMatchObject(full)
    expect(await contents(disk!)).toEqual(before)
  })

  it('a model: the old one stays, and loads', async () => {
    const encoding = await fitEncoding(source)
    const small = new Encoder(encoding, { width: 16, blocks: 1, heads: 2 })
    await saveEncoder(at('model'), small, source.schema)
    const before = await contents(disk!)
    const large = new Encoder(encoding, { width: 256, blocks: 2 })
    await expect(saveEncoder(at('model'), large, source.schema)).rejects.toMatchObject(full)
    expect(await contents(disk!)).toEqual(before)
    const { encoder } = await loadEncoder(at('model'))
    expectSameBits((await encoder.encode(source)).vectors, (await small.encode(source)).vectors)
    for (const one of [small, large, encoder]) one.dispose()
  })

  it('a checkpoint: training stops, the last checkpoint stays, and resumes to the same bits', async () => {
    const options: PretrainOptions = { width: 16, blocks: 1, heads: 2, batchEvents: 256, epochs: 4, seed: 1 }
    const whole = await pretrain(source, options)
    const want = (await whole.encoder.encode(source)).vectors
    const filler = at('filler')
    const fillUp: Promise<void>[] = []
    const out = at('model')
    const filled = pretrain(source, {
      ...options,
      out,
      checkpointSeconds: 1e6,
      onProgress: progress => {
        // The second epoch finds its disk full.
        if (progress.phase === 'train' && progress.epoch === 1) fillUp.push(fill(filler))
      },
    })
    await expect(filled).rejects.toMatchObject(full)
    await Promise.all(fillUp)
    expect((await readdir(out)).sort()).toEqual(['checkpoint.json', 'checkpoint.safetensors'])
    expect(JSON.parse(await readFile(join(out, 'checkpoint.json'), 'utf8')).epochs).toHaveLength(1)
    await readSafetensors(join(out, 'checkpoint.safetensors'))
    await rm(filler)
    const resumed = await pretrain(source, { ...options, out, resume: true })
    expectSameBits((await resumed.encoder.encode(source)).vectors, want)
    for (const { encoder } of [whole, resumed]) encoder.dispose()
  })

  /** Takes all the room that is left. */
  async function fill(path: string): Promise<void> {
    const file = await open(path, 'a')
    const block = Buffer.alloc(4096)
    await (async () => {
      for (;;) await file.write(block)
    })().catch(() => {})
    await file.close()
  }
})

describe('the n-th write is refused', () => {
  it('for every n: a clear error and the old model, until the new one is written', async () => {
    const folder = temporaryFolder()
    const path = join(folder, 'weights.safetensors')
    const file = (value: number) => ({
      tensors: new Map(
        Array.from(
          { length: 5 },
          (_, i) => [`t${i}`, { shape: [8], values: new Float32Array(8).fill(value) }] as const,
        ),
      ),
      metadata: {},
    })
    await writeSafetensors(path, file(1))
    const old = await contents(folder)
    const probe = await open(path, 'r')
    const prototype = Object.getPrototypeOf(probe) as { write: (...args: unknown[]) => Promise<unknown> }
    await probe.close()
    const original = prototype.write
    let refused = 0
    for (let n = 1; ; n++) {
      let calls = 0
      const spy = vi.spyOn(prototype, 'write').mockImplementation(function (this: unknown, ...args) {
        if (++calls < n) return original.apply(this, args)
        return Promise.reject(Object.assign(new Error('ENOSPC: no space left on device, write'), { code: 'ENOSPC' }))
      })
      const failure = await writeSafetensors(path, file(2)).then(
        () => null,
        (error: unknown) => error,
      )
      spy.mockRestore()
      if (failure === null) break
      expect(failure).toMatchObject(full)
      expect(await contents(folder), `write ${n}`).toEqual(old)
      refused++
    }
    // Length, header and five tensors.
    expect(refused).toBe(7)
    expect((await readSafetensors(path)).tensors.get('t4')?.values[0]).toBe(2)
  })

  it('a short write goes on where it stopped', async () => {
    const folder = temporaryFolder()
    const path = join(folder, 'weights.safetensors')
    await writeFile(path, '')
    const probe = await open(path, 'r')
    const prototype = Object.getPrototypeOf(probe) as { write: (...args: unknown[]) => Promise<unknown> }
    await probe.close()
    const original = prototype.write
    const spy = vi.spyOn(prototype, 'write').mockImplementation(function (this: unknown, ...args) {
      const [bytes, offset, length] = args as [Uint8Array, number, number]
      return original.call(this, bytes, offset, Math.min(3, length))
    })
    const values = Float32Array.from({ length: 100 }, (_, i) => i)
    await writeSafetensors(path, { tensors: new Map([['a', { shape: [100], values }]]), metadata: {} })
    spy.mockRestore()
    expect((await readSafetensors(path)).tensors.get('a')?.values).toEqual(values)
  })
})
