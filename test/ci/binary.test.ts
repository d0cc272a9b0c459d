// Which cards a binary has kernels for, as the checks of .ci read it out of what nvcc writes.

import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { root } from '../support/package.js'

const { codesOf, compareCuda, fatbinModules } = await import(join(root, '.ci', 'binary.mjs'))

const PTX = 1
const MACHINE_CODE = 2
const ONE_CARD = 0x100000
const FAMILY = 0x200000

function entry(kind: number, architecture: number, { header = 64, code = 24, flags = 0x8011 } = {}): Buffer {
  const bytes = Buffer.alloc(header + code, 0xee)
  bytes.writeUInt16LE(kind, 0)
  bytes.writeUInt16LE(0x101, 2)
  bytes.writeUInt32LE(header, 4)
  bytes.writeBigUInt64LE(BigInt(code), 8)
  bytes.writeUInt32LE(architecture, 28)
  bytes.writeUInt32LE(flags, 40)
  return bytes
}

function fatBinary(...entries: Buffer[]): Buffer {
  const header = Buffer.alloc(16)
  const size = entries.reduce((sum, { length }) => sum + length, 0)
  header.writeUInt32LE(0xba55ed50, 0)
  header.writeUInt16LE(1, 4)
  header.writeUInt16LE(header.length, 6)
  header.writeBigUInt64LE(BigInt(size), 8)
  return Buffer.concat([header, ...entries])
}

describe('the fat binaries of a section', () => {
  const first = fatBinary(
    entry(MACHINE_CODE, 75),
    entry(PTX, 80, { header: 80, code: 20 }),
    entry(MACHINE_CODE, 80),
    entry(MACHINE_CODE, 90, { flags: 0x8011 | ONE_CARD }),
    entry(MACHINE_CODE, 100, { header: 112, flags: 0x1008011 | FAMILY }),
  )
  const second = fatBinary(entry(MACHINE_CODE, 120, { header: 96, flags: 0x1008011 }))

  it('say what code each module has', () => {
    const section = Buffer.concat([first, Buffer.alloc(4), second, Buffer.alloc(8), fatBinary()])
    expect(fatbinModules(section)).toEqual([['sm_75', 'compute_80', 'sm_80', 'sm_90a', 'sm_100f'], ['sm_120'], []])
  })

  it('are of a kind that is not known: said by its number', () => {
    expect(fatbinModules(fatBinary(entry(64, 80)))).toEqual([['kind64_80']])
  })

  it('are an error where something else is, or less than they say', () => {
    const other = Buffer.concat([second, Buffer.from('something else')])
    expect(() => fatbinModules(other)).toThrow(/^expected a fat binary at 136 of \.nv_fatbin but received 0x656d6f73$/)
    expect(() => fatbinModules(second.subarray(0, -1))).toThrow(
      /^expected \.nv_fatbin to have 136 bytes but received 135$/,
    )
    expect(() => fatbinModules(fatBinary(entry(PTX, 80).subarray(0, -8)))).toThrow(
      /^expected a fat binary of 88 bytes but received 80$/,
    )
    expect(() => fatbinModules(fatBinary(entry(PTX, 80), Buffer.alloc(64)))).toThrow(
      /^expected an entry at 88 of a fat binary but received 0 bytes$/,
    )
  })
})

describe('what CMake is asked for', () => {
  it.each([
    ['90a-real', ['sm_90a']],
    ['80', ['sm_80', 'compute_80']],
    ['75-real;80-virtual', ['sm_75', 'compute_80']],
    ['native', null],
    ['all-major', null],
  ])('%s', (wanted, codes) => {
    expect(codesOf(wanted)).toEqual(codes)
  })

  it('is every card from Turing to Blackwell and PTX, by default', async () => {
    const lists = await readFile(join(root, 'CMakeLists.txt'), 'utf8')
    const [, wanted] = /set\(CMAKE_CUDA_ARCHITECTURES (.*)\)/.exec(lists)!
    expect(codesOf(wanted)).toEqual(['sm_75', 'sm_80', 'compute_80', 'sm_90a', 'sm_100', 'sm_120'])
  })
})

describe('a binary', () => {
  const modules = [['sm_80', 'compute_80', 'sm_90a'], ['sm_90a'], ['sm_80', 'compute_80', 'sm_90a']]
  const text = 'CUDA modules: 2 of sm_80 compute_80 sm_90a, 1 of sm_90a'

  it('that has what was asked for, and more, is in order', () => {
    expect(compareCuda(modules, '90a-real')).toEqual({ text, problems: [] })
  })

  it('that lacks some of it in some modules is not', () => {
    const problems = ['1 of 3 CUDA modules lack sm_80 compute_80: they have sm_90a']
    expect(compareCuda(modules, '80 90a-real')).toEqual({ text, problems })
  })

  it('with machine code for any card of a version lacks that for one', () => {
    expect(compareCuda([['sm_90']], '90a-real').problems).toEqual(['1 of 1 CUDA modules lack sm_90a: they have sm_90'])
  })

  it('that was made for the cards of its machine says so', () => {
    expect(compareCuda(modules, 'native')).toEqual({ text: `${text} (asked for: native, not compared)`, problems: [] })
  })
})
