// Which binary belongs to a process, on faked layouts and faked programs.

import { mkdir, writeFile } from 'node:fs/promises'
import { join, relative } from 'node:path'
import { describe, expect, it } from 'vitest'
import { binariesFor, describeTarget, libcOf, ownTarget } from '../../lib/util/binary.js'
import { temporaryFolder } from '../support/folder.js'

const root = temporaryFolder()

for (const file of [
  'linux-x64/seqrisk.glibc.node',
  'linux-x64/seqrisk.musl.node',
  'linux-x64/seqrisk.node',
  'linux-x64/notes.txt',
  'linux-arm64/seqrisk.musl.node',
  'darwin-arm64/seqrisk.node',
]) {
  await mkdir(join(root, 'prebuilds', file, '..'), { recursive: true })
  await writeFile(join(root, 'prebuilds', file), '')
}

const built = 'build/Release/seqrisk.node'
const tried = (platform: string, arch: string, libc: 'glibc' | 'musl' | null) =>
  binariesFor(root, { platform, arch, libc }).map(file => relative(root, file).replaceAll('\\', '/'))

describe('the files to try', () => {
  it('are a local build, then those of the own libc, then those that name none', () => {
    expect(tried('linux', 'x64', 'glibc')).toEqual([
      built,
      'prebuilds/linux-x64/seqrisk.glibc.node',
      'prebuilds/linux-x64/seqrisk.node',
    ])
    expect(tried('linux', 'x64', 'musl')).toEqual([
      built,
      'prebuilds/linux-x64/seqrisk.musl.node',
      'prebuilds/linux-x64/seqrisk.node',
    ])
  })

  it('are never those of the other libc', () => {
    expect(tried('linux', 'arm64', 'glibc')).toEqual([built])
    expect(tried('linux', 'arm64', 'musl')).toEqual([built, 'prebuilds/linux-arm64/seqrisk.musl.node'])
  })

  it('are those of both where nothing tells the libc', () => {
    expect(tried('linux', 'x64', null)).toHaveLength(4)
    expect(tried('darwin', 'arm64', null)).toEqual([built, 'prebuilds/darwin-arm64/seqrisk.node'])
  })

  it('are a local build alone for a platform that nobody built for', () => {
    expect(tried('sunos', 'x64', null)).toEqual([built])
  })
})

describe('the libc of a program', () => {
  const program = (loader: string) => `\x7fELF\x02\x01\x01\0\0\0${loader}\0\x04\0\0\0GNU\0`

  it.each([
    ['/lib64/ld-linux-x86-64.so.2', 'glibc'],
    ['/lib/ld-linux-aarch64.so.1', 'glibc'],
    ['/lib/ld-linux-armhf.so.3', 'glibc'],
    ['/lib64/ld64.so.2', 'glibc'],
    ['/nix/store/abc-glibc-2.40/lib/ld-linux-x86-64.so.2', 'glibc'],
    ['/lib/ld-musl-x86_64.so.1', 'musl'],
    ['/lib/ld-musl-aarch64.so.1', 'musl'],
  ])('whose loader is %s', (loader, libc) => {
    expect(libcOf(program(loader))).toBe(libc)
  })

  it('is unknown without a loader, and in what is no program', () => {
    expect(libcOf('\x7fELF\x02\x01\x01\0')).toBeNull()
    expect(libcOf('')).toBeNull()
    expect(libcOf('#!/bin/sh\nexec /lib/ld-linux-x86-64.so.2 node\n')).toBeNull()
  })

  it('is that of this process, as its report says', () => {
    const { header } = process.report!.getReport() as { header: { glibcVersionRuntime?: string } }
    const expected = process.platform !== 'linux' ? null : header.glibcVersionRuntime ? 'glibc' : 'musl'
    const own = ownTarget()
    expect(own).toEqual({ platform: process.platform, arch: process.arch, libc: expected })
    expect(describeTarget(own)).toContain(`${process.platform}-${process.arch} (`)
    expect(describeTarget(own)).toContain(header.glibcVersionRuntime ?? '')
    expect(describeTarget(own)).toContain(`Node ${process.version})`)
  })
})
