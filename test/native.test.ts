// A binary that is missing or damaged ends in one line that names one command; the rest of the package still works.

import { cp, mkdir, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { ownTarget } from '../lib/util/binary.js'
import { runChild } from './support/child.js'
import { temporaryFolder } from './support/folder.js'

const root = fileURLToPath(new URL('..', import.meta.url))
const folder = temporaryFolder()
const main = join(folder, 'lib', 'cli', 'main.ts')
const binary = join(folder, 'build', 'Release', 'seqrisk.node')
const prebuilt = join(folder, 'prebuilds', `${process.platform}-${process.arch}`, 'seqrisk.node')

// A package without a binary.
await cp(join(root, 'lib'), join(folder, 'lib'), { recursive: true })
await cp(join(root, 'package.json'), join(folder, 'package.json'))
await symlink(join(root, 'node_modules'), join(folder, 'node_modules'))

async function withFile<T>(file: string, bytes: Buffer, work: () => Promise<T>): Promise<T> {
  await mkdir(dirname(file), { recursive: true })
  await writeFile(file, bytes)
  try {
    return await work()
  } finally {
    await rm(file)
  }
}

const libc = ownTarget().libc
const tagged = (name: string) =>
  join(folder, 'prebuilds', `${process.platform}-${process.arch}`, `seqrisk.${name}.node`)
const garbage = Buffer.from('this is no binary\n'.repeat(400))
const truncated = Buffer.from([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1, 0, 0, 0])

describe('a binary', () => {
  it.each([
    ['is missing', binary, null],
    ['is garbage where it is built', binary, garbage],
    ['is garbage where it is delivered', prebuilt, garbage],
    ['is empty', binary, Buffer.alloc(0)],
    ['is truncated', binary, truncated],
    ...(libc === null
      ? []
      : [['is of the other libc alone', tagged(libc === 'glibc' ? 'musl' : 'glibc'), garbage] as const]),
  ] as const)('that %s: one line with one command', async (_, file, bytes) => {
    const run = () => runChild(main, ['encode', '--help'])
    const { code, stdout, stderr } = await (bytes ? withFile(file, bytes, run) : run())
    expect(stdout).toBe('')
    expect(stderr.trim().split('\n')).toHaveLength(1)
    expect(stderr).toContain(`[native] expected a binary for ${process.platform}-${process.arch}`)
    expect(stderr).toContain(`compile one with \`npx --yes cmake-js@8 rebuild -d "${folder}/"\``)
    expect(stderr.match(/`/g)).toHaveLength(2)
    expect(code).toBe(1)
  })

  it('that is damaged: says where it looked, and what was wrong with each', async () => {
    await withFile(binary, garbage, () =>
      withFile(prebuilt, truncated, async () => {
        const { stderr } = await runChild(main, ['encode', '--help'])
        expect(stderr).toMatch(
          / but received: build\/Release\/seqrisk\.node \([^)]*(ELF|file too short)[^)]*\), prebuilds\//,
        )
        expect(stderr).toContain(`prebuilds/${process.platform}-${process.arch}/seqrisk.node (file too short)`)
      }),
    )
  })

  it('that is missing: says what is not there', async () => {
    const { stderr } = await runChild(main, ['encode', '--help'])
    const there = `build/Release/seqrisk.node (no such file), prebuilds/${process.platform}-${process.arch} (none there)`
    expect(stderr).toContain(`but received: ${there}; compile one with`)
    if (libc === 'glibc') expect(stderr).toMatch(/\(glibc \d+\.\d+, Node v\d+\.\d+\.\d+\)/)
  })

  // Linux alone has one for each libc.
  it.runIf(process.platform === 'linux')('is found among the prebuilt ones, past a damaged build', async () => {
    const own = await readFile(join(root, 'build', 'Release', 'seqrisk.node'))
    await withFile(binary, garbage, () =>
      withFile(tagged(libc!), own, async () => {
        const { code, stdout, stderr } = await runChild(main, ['encode', '--help'])
        expect(stderr).toBe('')
        expect(stdout).toContain('seqrisk encode')
        expect(code).toBe(0)
      }),
    )
  })

  it('is the one that SEQRISK_BINARY names, and no other', async () => {
    const own = join(root, 'build', 'Release', 'seqrisk.node')
    const named = await runChild(main, ['encode', '--help'], { environment: { SEQRISK_BINARY: own } })
    expect(named).toMatchObject({ code: 0, stderr: '' })
    const near = await runChild(main, ['encode', '--help'], { environment: { SEQRISK_BINARY: relative(root, own) } })
    expect(near).toMatchObject({ code: 0, stderr: '' })
    const { stderr, code } = await runChild(main, ['encode', '--help'], {
      environment: { SEQRISK_BINARY: '/none.node' },
    })
    expect(stderr).toContain('in $SEQRISK_BINARY but received: /none.node (no such file); ')
    expect(code).toBe(1)
  })

  it('that is missing from a checkout: the command of a checkout', async () => {
    const setup = join(folder, '.ci', 'setup.mjs')
    const { stderr, code } = await withFile(setup, Buffer.alloc(0), () => runChild(main, ['encode', '--help']))
    expect(stderr).toMatch(/; compile one with `npm run build`\n$/)
    expect(code).toBe(1)
  })

  it('that is missing: an error with a code and its cause for a program', async () => {
    const program = join(folder, 'program.ts')
    const text = `import('./lib/index.js').catch(error => console.log(error.code, error.name, error.cause instanceof Error))`
    const { stdout } = await withFile(program, Buffer.from(text), () => runChild(program))
    expect(stdout).toBe('BINARY_NOT_LOADED SeqriskError true\n')
  })

  it('is not needed for the version', async () => {
    const { stdout, code } = await runChild(main, ['--version'])
    expect(stdout).toMatch(/^\d+\.\d+\.\d+\n$/)
    expect(code).toBe(0)
  })
})
