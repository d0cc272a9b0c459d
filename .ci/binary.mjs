// What a Linux binary of the addon needs and shows: by readelf, which reads every architecture.
//
//   node .ci/binary.mjs FILE [glibc|musl]

import { spawnSync } from 'node:child_process'
import { existsSync, readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const EXPORTS = ['napi_register_module_v1', 'node_api_module_get_api_version_v1']
/** Parts of the libc itself. */
const GLIBC = /^(lib(c|m|dl|rt|pthread)\.so\.\d|ld-linux-.*\.so\.\d)$/
const MUSL = /^libc\.so$/
/** RHEL 7, Amazon Linux 2 and everything since. */
const OLDEST_GLIBC = '2.17'
/** A little more than today: growth is to be noticed. Kernels for five architectures of cards and PTX are 6.7 MB. */
const MOST_BYTES = { plain: 2.4e6, cuda: 10.5e6 }

/** Names the exported functions of a binary. */
export function exportsOf(file) {
  return symbolsOf(file)
    .filter(({ section, binding }) => section !== 'UND' && binding !== 'LOCAL')
    .map(({ name }) => name)
    .sort()
}

export function exportProblems(file) {
  const names = exportsOf(file)
  return names.join() === EXPORTS.join() ? [] : [`exports ${names.join(', ')} instead of ${EXPORTS.join(', ')}`]
}

/** What a prebuilt binary is like, and what of it must not be. */
export function checkBinary(file, libc) {
  const problems = exportProblems(file)
  const needed = [...readelf('-d', file).matchAll(/\(NEEDED\).*\[(.*)\]/g)].map(([, name]) => name)
  const own = libc === 'musl' ? MUSL : GLIBC
  const others = needed.filter(name => !own.test(name))
  if (others.length > 0) problems.push(`needs ${others.join(', ')} beside ${libc}`)
  const floor = floorOf(file)
  if (libc === 'glibc' && compare(floor, OLDEST_GLIBC) > 0)
    problems.push(`needs glibc ${floor}, newer than ${OLDEST_GLIBC}`)
  const bytes = statSync(file).size
  const sections = readelf('-S', file)
  const most = /\.nv_fatbin/.test(sections) ? MOST_BYTES.cuda : MOST_BYTES.plain
  if (bytes > most) problems.push(`has ${bytes} bytes, more than ${most}`)
  if (/\.symtab/.test(sections)) problems.push('has symbols that strip would remove')
  const age = libc === 'glibc' ? `glibc ${floor}, ` : ''
  return { text: `${age}${(bytes / 1e6).toFixed(2)} MB, needs ${needed.join(' ')}`, problems }
}

/**
 * Objects compiled for wide vectors must not define symbols that the linker could keep for everybody: weak copies of
 * inline functions from outside their own namespace would be illegal instructions on older processors. Nor must any run
 * when the addon is loaded.
 */
export function vectorProblems(build) {
  const problems = []
  for (const variant of ['avx2', 'avx512', 'avx512_bfloat16']) {
    const folder = join(build, 'CMakeFiles', `seqrisk_kernels_${variant}.dir`)
    if (!existsSync(folder)) continue
    const objects = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter(name => name.endsWith('.o'))
    for (const object of objects) {
      if (/\.init_array/.test(readelf('-S', join(folder, object))))
        problems.push(`${variant}/${object}: runs when the addon is loaded`)
      const listing =
        spawnSync('nm', ['--demangle', '--defined-only', join(folder, object)], { encoding: 'utf8' }).stdout ?? ''
      for (const line of listing.split('\n')) {
        const [, kind, symbol] = /^[0-9a-f]* ([A-Za-z]) (.*)$/.exec(line) ?? []
        const isOwn = symbol?.includes(`seqrisk::${variant}::`) || /hwy::N_AVX|hwy::detail::/.test(symbol ?? '')
        if (/[WVu]/.test(kind ?? '') && !isOwn) problems.push(`${variant}/${object}: shared symbol ${symbol}`)
      }
    }
  }
  return problems
}

/** The newest version of glibc that a symbol asks for. */
function floorOf(file) {
  const versions = [...readelf('-V', file).matchAll(/Name: GLIBC_(\d+(?:\.\d+)+)/g)].map(([, version]) => version)
  return versions.sort(compare).at(-1) ?? '0'
}

function compare(a, b) {
  const [x, y] = [a, b].map(version => version.split('.').map(Number))
  for (let i = 0; i < Math.max(x.length, y.length); i++)
    if ((x[i] ?? 0) !== (y[i] ?? 0)) return (x[i] ?? 0) - (y[i] ?? 0)
  return 0
}

function symbolsOf(file) {
  return readelf('--dyn-syms', file)
    .split('\n')
    .map(line => line.trim().split(/\s+/))
    .filter(([number, , , , binding]) => /^\d+:$/.test(number) && /^(GLOBAL|WEAK)$/.test(binding))
    .map(([, , , , binding, , section, name]) => ({ binding, section, name: (name ?? '').replace(/@.*/, '') }))
}

function readelf(option, file) {
  const { stdout, status, error } = spawnSync('readelf', ['-W', option, file], { encoding: 'utf8', maxBuffer: 1 << 26 })
  if (status !== 0) throw new Error(`readelf ${option} ${file} failed: ${error?.message ?? status}`)
  return stdout
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [file, libc = 'glibc'] = process.argv.slice(2)
  const { text, problems } = checkBinary(file, libc)
  console.log(`${file}: ${text}`)
  for (const problem of problems) console.error(`${file}: ${problem}`)
  process.exit(problems.length === 0 ? 0 : 1)
}
