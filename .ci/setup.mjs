// Sets up a checkout: system packages, npm packages, the native build. Says what it installs, does nothing that is
// done already, and names the exact command where it lacks the rights. Uses Node's own modules alone.
//
//   node .ci/setup.mjs [--for test|demo|bench|evaluate|check|emulated]

import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { digestOf, nativeSources } from './sources.mjs'

const root = fileURLToPath(new URL('..', import.meta.url))
const purpose = process.argv[process.argv.indexOf('--for') + 1] ?? 'build'
const inCi = process.env.CI === 'true'

checkNode()
systemPackages()
npmPackages()
if (inCi && purpose === 'test') onnxruntimePackage()
nativeBuild()
if (purpose === 'emulated' || (inCi && ['check', 'test'].includes(purpose))) programsBuild()

function checkNode() {
  const [major, minor] = process.versions.node.split('.').map(Number)
  if (major > 20 || (major === 20 && minor >= 19)) return
  fail(
    `Node 20.19 or newer is needed; this is ${process.version}. Install a newer one from your distribution or nodejs.org.`,
  )
}

function systemPackages() {
  const wanted = [
    { name: 'g++', isThere: () => works('c++', '--version') || works('g++', '--version') },
    { name: 'make', isThere: () => works('make', '--version') || works('ninja', '--version') },
    { name: 'cmake', isThere: () => works('cmake', '--version') },
    { name: 'libhwy-dev', isThere: () => headerExists('hwy/highway.h') },
  ]
  if (purpose === 'check')
    wanted.push({ name: 'clang-format-19', isThere: () => works('clang-format-19', '--version') })
  // Reports are looked at in a browser; elsewhere these tests say what they lack and skip.
  if (purpose === 'test' && inCi) wanted.push({ name: 'chromium', isThere: () => works('chromium', '--version') })
  const missing = wanted.filter(({ isThere }) => !isThere()).map(({ name }) => name)
  if (missing.length === 0) return
  const isRoot = process.getuid?.() === 0
  const prefix = isRoot ? [] : ['sudo', '-n']
  const command = `apt-get update && ${isRoot ? '' : 'sudo '}apt-get install --yes --no-install-recommends ${missing.join(' ')}`
  if (!works('apt-get', '--version')) {
    fail(
      `missing: ${missing.join(', ')}. Install them (these are Debian's names; Highway's headers are libhwy-dev) and run again.`,
    )
  }
  if (!isRoot && !works('sudo', '-n', 'true')) {
    fail(`missing: ${missing.join(', ')}, and no right to install them. Run: sudo ${command}`)
  }
  say(`installing system packages: ${missing.join(', ')}`)
  const quiet = { env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' } }
  run([...prefix, 'apt-get', 'update', '-qq'], quiet)
  run([...prefix, 'apt-get', 'install', '-y', '-qq', '--no-install-recommends', ...missing], quiet)
  const still = wanted.filter(({ isThere }) => !isThere()).map(({ name }) => name)
  if (still.length > 0) fail(`still missing after the installation: ${still.join(', ')}. Run: sudo ${command}`)
}

function npmPackages() {
  const lock = digestOf(root, ['package-lock.json'])
  const stamp = join(root, 'node_modules', '.seqrisk-setup')
  if (readStamp(stamp) === lock) return
  if (existsSync(join(root, 'node_modules', '.package-lock.json')) && !staleInstall()) {
    writeStamp(stamp, lock)
    return
  }
  say('installing npm packages (npm install)')
  // Not `npm ci`: it refuses a lock file in which a registry could not name the optional packages of other platforms.
  run(['npm', 'install', '--no-save', '--no-audit', '--no-fund', '--loglevel=error'])
  writeStamp(stamp, lock)
}

/** What exported models are tested in. Elsewhere, and where it cannot be had, these tests say what they lack and skip. */
function onnxruntimePackage() {
  const lock = digestOf(root, [join('bench', 'peers', 'package-lock.json')])
  const stamp = join(root, 'bench', 'peers', 'node_modules', '.seqrisk-setup')
  if (readStamp(stamp) === lock) return
  say('installing onnxruntime-node for tests (290 MB)')
  // Without the variable, its install script fetches CUDA libraries.
  const env = { ...process.env, ONNXRUNTIME_NODE_INSTALL: 'skip' }
  const args = ['ci', '--prefix', 'bench/peers', '--no-audit', '--no-fund', '--loglevel=error']
  const { status } = spawnSync('npm', args, {
    cwd: root,
    env,
    timeout: 300_000,
    stdio: ['ignore', 'ignore', 'inherit'],
  })
  if (status === 0) writeStamp(stamp, lock)
  else say('it could not be had: tests of exported models skip')
}

/** Whether what is installed differs from package-lock.json. */
function staleInstall() {
  const wanted = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')).packages
  const found = JSON.parse(readFileSync(join(root, 'node_modules', '.package-lock.json'), 'utf8')).packages
  return Object.entries(wanted).some(
    ([name, { version, optional }]) => name && !optional && found[name]?.version !== version,
  )
}

function nativeBuild() {
  const options = inCi ? ['--CDSEQRISK_WERROR=ON'] : []
  const wanted = digestOf(root, nativeSources(root)) + options.join()
  const stamp = join(root, 'build', '.seqrisk-setup')
  const binary = join(root, 'build', 'Release', 'seqrisk.node')
  const loads = works(process.execPath, '-e', `require(${JSON.stringify(binary)})`)
  if (readStamp(stamp) === wanted && loads) return
  // The build would take a damaged file for a fresh one.
  if (!loads) rmSync(binary, { force: true })
  const begun = Date.now()
  say('building the native kernels (two to four minutes the first time)')
  const parallel = String(availableParallelism())
  run(
    [
      process.execPath,
      join(root, 'node_modules', 'cmake-js', 'bin', 'cmake-js'),
      'compile',
      '-p',
      parallel,
      ...options,
    ],
    { quiet: true },
  )
  writeStamp(stamp, wanted)
  say(`built in ${Math.round((Date.now() - begun) / 1000)} s`)
}

/** What a machine without a card can check of CUDA: kernels on an emulated one, and programs that say that there is none. */
function programsBuild() {
  if (process.platform !== 'linux') return
  const wanted = digestOf(root, nativeSources(root))
  const stamp = join(root, 'build', '.seqrisk-programs')
  if (readStamp(stamp) === wanted && existsSync(join(root, 'build', 'cuda_emulated'))) return
  const begun = Date.now()
  say('building the kernels of cards for the processor, and their checks (one to four minutes the first time)')
  run(['cmake', '-S', '.', '-B', 'build', '-DSEQRISK_NATIVE_TESTS=ON'], { quiet: true })
  const parallel = String(availableParallelism())
  run(['cmake', '--build', 'build', '--target', 'cuda_programs', '--parallel', parallel], { quiet: true })
  writeStamp(stamp, wanted)
  say(`built in ${Math.round((Date.now() - begun) / 1000)} s`)
}

function headerExists(name) {
  const folders = [
    '/usr/include',
    '/usr/local/include',
    '/opt/homebrew/include',
    ...(process.env.CPATH ?? '').split(':'),
  ]
  return folders.some(folder => folder && existsSync(join(folder, name)))
}

function works(...command) {
  return spawnSync(command[0], command.slice(1), { stdio: 'ignore' }).status === 0
}

function run([command, ...args], { quiet = false, env = process.env } = {}) {
  const result = spawnSync(command, args, {
    cwd: root,
    env,
    encoding: 'utf8',
    stdio: quiet ? 'pipe' : ['ignore', 2, 2],
    maxBuffer: 1 << 28,
  })
  if (result.status === 0) return
  if (quiet) process.stderr.write(`${result.stdout ?? ''}${result.stderr ?? ''}`)
  fail(`this failed: ${[command, ...args].join(' ')}${result.error ? ` (${result.error.message})` : ''}`)
}

function readStamp(file) {
  return existsSync(file) && statSync(file).isFile() ? readFileSync(file, 'utf8') : null
}

function writeStamp(file, text) {
  mkdirSync(dirname(file), { recursive: true })
  writeFileSync(file, text)
}

function say(text) {
  process.stderr.write(`[setup] ${text}\n`)
}

function fail(text) {
  say(text)
  process.exit(1)
}
