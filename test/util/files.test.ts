// Files that are whole or not there, of any size.

import { type FileHandle, mkdtemp, open, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it, vi } from 'vitest'
import { readWhole, writeFileAtomic } from '../../lib/util/files.js'

const folder = await mkdtemp(join(tmpdir(), 'seqrisk-files-'))
afterAll(() => rm(folder, { recursive: true }))
const probe = await open(process.execPath, 'r')
const handles = Object.getPrototypeOf(probe) as FileHandle
await probe.close()

describe('writeFileAtomic', () => {
  // The device takes the bytes without a look at them: memory that nobody touches is none.
  it.skipIf(process.platform === 'win32')(
    'writes a part of more than 2 GiB in pieces that follow each other',
    async () => {
      const write = vi.spyOn(handles, 'write')
      try {
        const part = new Uint8Array(2 ** 31 + 5)
        await writeFileAtomic('/dev/null', [part])
        let at = 0
        for (const [call, [, offset]] of (write.mock.calls as unknown as [Uint8Array, number, number][]).entries()) {
          expect(offset).toBe(at)
          at += (await (write.mock.results[call].value as Promise<{ bytesWritten: number }>)).bytesWritten
        }
        expect(at).toBe(part.length)
      } finally {
        write.mockRestore()
      }
    },
  )
})

describe('readWhole', () => {
  it('goes on after a short read, and says when the file ends', async () => {
    const path = join(folder, 'digits')
    await writeFile(path, '0123456789')
    const file = await open(path, 'r')
    const original = handles.read as (this: unknown, ...given: unknown[]) => Promise<unknown>
    const read = vi.spyOn(handles, 'read').mockImplementation(function (this: unknown, ...given: unknown[]) {
      const [bytes, offset, length, position] = given as [Uint8Array, number, number, number]
      return original.call(this, bytes, offset, Math.min(3, length), position)
    } as never)
    try {
      const bytes = Buffer.alloc(8)
      expect(await readWhole(file, bytes, 2)).toBe(true)
      expect(bytes.toString()).toBe('23456789')
      expect(await readWhole(file, bytes, 3)).toBe(false)
    } finally {
      read.mockRestore()
      await file.close()
    }
  })
})
