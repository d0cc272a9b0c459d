// The package as it is published, made from this checkout: the tarball of `npm pack` with the binary that was built here
// where a prebuilt one belongs.

import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { copyFile, mkdir, readdir, readFile, rename, rm, symlink } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { ownTarget, prebuiltFolder } from '../../lib/util/binary.js'

export const root = fileURLToPath(new URL('../..', import.meta.url))

export interface Output {
  readonly stdout: string
  readonly stderr: string
}

/** Runs a program to its end, and fails with its output unless it ends well. */
export function execute(
  command: string,
  args: readonly string[],
  {
    timeoutMs = 120_000,
    ...options
  }: { readonly cwd: string; readonly env?: NodeJS.ProcessEnv; readonly timeoutMs?: number },
): Promise<Output> {
  return new Promise((resolve, reject) => {
    execFile(command, args, { timeout: timeoutMs, maxBuffer: 1 << 26, ...options }, (error, stdout, stderr) => {
      if (error) reject(new Error(`${command} ${args.join(' ')}\n${stdout}${stderr}`, { cause: error }))
      else resolve({ stdout, stderr })
    })
  })
}

/** The tarball; packed again when sources or the binary have changed. */
export async function packPackage(): Promise<string> {
  const binary = join(root, 'build', 'Release', 'seqrisk.node')
  const folder = join(root, '.cache', 'package', await digest(binary))
  const tarball = join(folder, 'seqrisk.tgz')
  if (existsSync(tarball)) return tarball
  await rm(dirname(folder), { recursive: true, force: true })
  await mkdir(folder, { recursive: true })
  await execute('npm', ['run', 'build:ts'], { cwd: root })
  const pack = ['pack', '--ignore-scripts', '--silent', '--pack-destination', folder]
  const { stdout } = await execute('npm', pack, { cwd: root })
  await execute('tar', ['-xzf', stdout.trim()], { cwd: folder })
  const target = ownTarget()
  const prebuilt = prebuiltFolder(join(folder, 'package'), target)
  await mkdir(prebuilt, { recursive: true })
  await copyFile(binary, join(prebuilt, target.libc === null ? 'seqrisk.node' : `seqrisk.${target.libc}.node`))
  const packed = await execute('npm', pack, { cwd: join(folder, 'package') })
  await rename(join(folder, packed.stdout.trim()), tarball)
  await rm(join(folder, 'package'), { recursive: true })
  return tarball
}

async function digest(binary: string): Promise<string> {
  const hash = createHash('sha256')
  const files = [
    binary,
    ...['package.json', 'README.md', 'BENCHMARKS.md', 'CONTRIBUTING.md', 'CMakeLists.txt', 'binding.d.ts'].map(name =>
      join(root, name),
    ),
  ]
  for (const folder of ['lib', 'bench', 'docs', 'native', '.ci']) {
    const names = await readdir(join(root, folder), { recursive: true, withFileTypes: true })
    files.push(...names.filter(entry => entry.isFile()).map(entry => join(entry.parentPath, entry.name)))
  }
  for (const file of files.sort()) hash.update(file.slice(root.length)).update(await readFile(file))
  return hash.digest('hex').slice(0, 16)
}

/** Unpacks the package into the `node_modules` of a folder, with those optional peers of it that are named. */
export async function unpackPackage(folder: string, peers: readonly string[] = []): Promise<void> {
  const target = join(folder, 'node_modules', 'seqrisk')
  await mkdir(target, { recursive: true })
  await execute('tar', ['-xzf', await packPackage(), '-C', target, '--strip-components=1'], { cwd: folder })
  for (const peer of peers) {
    const link = join(folder, 'node_modules', peer)
    await mkdir(dirname(link), { recursive: true })
    await symlink(join(root, 'node_modules', peer), link)
  }
}
