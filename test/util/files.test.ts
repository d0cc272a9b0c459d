// Files that are whole or not there, of any size.

import { existsSync } from 'node:fs'
import { type FileHandle, mkdir, open, readdir, readFile, readlink, stat, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it, vi } from 'vitest'
import { readWhole, writeFileAtomic } from '../../lib/util/files.js'
import { temporaryFolder } from '../support/folder.js'

const folder = temporaryFolder()
const probe = await open(process.execPath, 'r')
const handles = Object.getPrototypeOf(probe) as FileHandle
await probe.close()

describe('writeFileAtomic', () => {
  // The device takes the bytes without a look at them: memory that nobody touches is none. Windows has no such device.
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

// Windows lets few users make links.
describe.skipIf(process.platform === 'win32')('links', () => {
  it('stay, and what they lead to is replaced', async () => {
    const at = (name: string) => join(folder, name)
    await mkdir(at('data'))
    await mkdir(at('links'))
    await writeFile(at('data/real.txt'), 'old')
    await symlink('../data/real.txt', at('links/one.txt'))
    await symlink('one.txt', at('links/two.txt'))
    await writeFileAtomic(at('links/two.txt'), 'new')
    expect(await readFile(at('data/real.txt'), 'utf8')).toBe('new')
    expect(await readlink(at('links/two.txt'))).toBe('one.txt')
    expect(await readlink(at('links/one.txt'))).toBe('../data/real.txt')
    // By a folder that is a link, to a file that is not there yet.
    await symlink('links', at('folder'))
    await symlink('../data/fresh.txt', at('links/three.txt'))
    await writeFileAtomic(at('folder/three.txt'), 'fresh')
    expect(await readFile(at('data/fresh.txt'), 'utf8')).toBe('fresh')
    expect(await readdir(at('data'))).toEqual(['fresh.txt', 'real.txt'])
    expect(await readdir(at('links'))).toEqual(['one.txt', 'three.txt', 'two.txt'])
  })

  it('in a ring are an error, and stay', async () => {
    const ring = join(folder, 'ring.txt')
    await symlink('ring.txt', ring)
    await expect(writeFileAtomic(ring, 'x')).rejects.toMatchObject({ code: 'WRITE_FAILED' })
    expect(await readlink(ring)).toBe('ring.txt')
  })

  // Links of our own: a mistake here must not touch those of the system. Linux alone has /proc.
  it.skipIf(!existsSync('/proc/self/fd'))('to an open file are written through, behind what it holds', async () => {
    const file = join(folder, 'scores.txt')
    const link = join(folder, 'stdout')
    await writeFile(file, 'before,')
    const held = await open(file, 'a')
    await symlink(`/proc/self/fd/${held.fd}`, link)
    const { ino } = await held.stat()
    await writeFileAtomic(link, 'through,')
    await writeFileAtomic(`/dev/fd/${held.fd}`, 'directly')
    await held.close()
    expect(await readFile(file, 'utf8')).toBe('before,through,directly')
    expect((await stat(file)).ino).toBe(ino)
    expect(await readlink(link)).toMatch(/^\/proc/)
  })
})

describe('replaceFile', () => {
  it.each(['EACCES', 'EINVAL', 'EIO'])('keeps to what it renamed when the folder cannot be synced: %s', async code => {
    const path = join(folder, 'unsynced.txt')
    const original = handles.sync
    const sync = vi.spyOn(handles, 'sync').mockImplementation(async function (this: FileHandle) {
      if ((await this.stat()).isDirectory()) throw Object.assign(new Error(`${code}: no, fsync`), { code })
      return original.call(this)
    })
    try {
      await writeFileAtomic(path, code)
      expect(sync).toHaveBeenCalledTimes(process.platform === 'win32' ? 1 : 2)
    } finally {
      sync.mockRestore()
    }
    expect(await readFile(path, 'utf8')).toBe(code)
  })
})
