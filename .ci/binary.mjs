// What a Linux binary of the addon needs, shows and holds: by readelf, which reads every architecture, and by a look at
// what nvcc leaves in it.
//
//   node .ci/binary.mjs FILE [glibc|musl]

import { spawnSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const EXPORTS = ['napi_register_module_v1', 'node_api_module_get_api_version_v1']
/** Parts of the libc itself. */
const GLIBC = /^(lib(c|m|dl|rt|pthread)\.so\.\d|ld-linux-.*\.so\.\d)$/
const MUSL = /^libc\.so$/
/** RHEL 7, Amazon Linux 2 and everything since. */
const OLDEST_GLIBC = '2.17'
/** A little more than today: growth is to be noticed. Kernels for five architectures of cards and PTX are 6.7 MB. */
const MOST_BYTES = { plain: 2.4e6, cuda: 10.5e6 }
/** A fat binary begins with it. */
const FATBIN = 0xba55ed50
/** Flags of an entry: code for one card alone (sm_90a), and for its family (sm_100f). */
const ONE_CARD = 0x100000
const FAMILY = 0x200000
/** What of an entry's header is read. */
const ENTRY_BYTES = 44

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
  const cuda = checkCuda(file)
  problems.push(...cuda.problems)
  const age = libc === 'glibc' ? `glibc ${floor}, ` : ''
  return { text: `${age}${(bytes / 1e6).toFixed(2)} MB, needs ${needed.join(' ')}, ${cuda.text}`, problems }
}

/** Which cards a binary has kernels for, and which are missing of those that CMake was asked for. */
export function checkCuda(file) {
  const { wanted, hasNvcc } = cudaBuildOf(file)
  const modules = cudaModules(file)
  if (modules.length > 0) return compareCuda(modules, wanted)
  const problems = hasNvcc ? ['has no CUDA kernels, though it was built where nvcc is'] : []
  return { text: 'no CUDA kernels: built without nvcc', problems }
}

/** The same of modules and what was asked for, in CMake's words. */
export function compareCuda(modules, wanted) {
  const codes = codesOf(wanted)
  const groups = new Map()
  for (const module of modules) groups.set(module.join(' '), [...(groups.get(module.join(' ')) ?? []), module])
  const counted = [...groups].map(([names, { length }]) => `${length} of ${names || 'nothing'}`)
  const text = `CUDA modules: ${counted.join(', ')}`
  if (codes === null) return { text: `${text} (asked for: ${wanted}, not compared)`, problems: [] }
  const problems = [...groups].flatMap(([names, { length, 0: module }]) => {
    const lacks = codes.filter(code => !module.includes(code))
    const some = `${length} of ${modules.length} CUDA modules`
    return lacks.length > 0 ? [`${some} lack ${lacks.join(' ')}: they have ${names || 'nothing'}`] : []
  })
  return { text, problems }
}

/** The code that CMAKE_CUDA_ARCHITECTURES stands for; null where the machine decides, as for `native`. */
export function codesOf(wanted) {
  const names = wanted.split(/[\s;]+/).filter(Boolean)
  if (names.some(name => !/^\d+[af]?(-real|-virtual)?$/.test(name))) return null
  return names.flatMap(name => {
    const [number, kind] = name.split('-')
    return [kind !== 'virtual' && `sm_${number}`, kind !== 'real' && `compute_${number}`].filter(Boolean)
  })
}

/** What CMake was asked for: by the build that a binary lies in, else by CMakeLists.txt. */
function cudaBuildOf(file) {
  const lists = readFileSync(new URL('../CMakeLists.txt', import.meta.url), 'utf8')
  const [, byDefault] = /set\(CMAKE_CUDA_ARCHITECTURES ([^)]+)\)/.exec(lists)
  const folders = [dirname(file), join(dirname(file), '..')]
  const cache = folders.map(folder => join(folder, 'CMakeCache.txt')).find(name => existsSync(name))
  if (!cache) return { wanted: byDefault, hasNvcc: false }
  const text = readFileSync(cache, 'utf8')
  const [, asked] = /^CMAKE_CUDA_ARCHITECTURES:\w+=(.+)$/m.exec(text) ?? []
  // Flags for nvcc are there once it was found; they stay when it is no longer wanted.
  const hasNvcc = /^CMAKE_CUDA_FLAGS:/m.test(text) && !/^SEQRISK_CUDA:\w+=(OFF|NO|FALSE|0)$/im.test(text)
  return { wanted: asked ?? byDefault, hasNvcc }
}

/** The code of each CUDA module of a binary: none where it was built without nvcc. */
export function cudaModules(file) {
  const [, offset, size] = /\.nv_fatbin +PROGBITS +\w+ +(\w+) +(\w+)/.exec(readelf('-S', file)) ?? []
  if (offset === undefined) return []
  const begin = Number.parseInt(offset, 16)
  return fatbinModules(readFileSync(file).subarray(begin, begin + Number.parseInt(size, 16)))
}

/**
 * The code of each module in a section .nv_fatbin, in nvcc's names: sm_90a is machine code, compute_80 is PTX. A source
 * is a module. NVIDIA documents no layout; this is what nvcc 13.0 writes, in little endian:
 *   module  u32 magic, u16 version, u16 bytes of this header, u64 bytes of the entries that follow
 *   entry   u16 kind (1 PTX, 2 machine code), u16 version, u32 bytes of this header, u64 bytes of the code that follows,
 *           12 bytes, u32 architecture at 28, u32, u32, u32 flags at 40
 * Between modules are zeros, up to the next boundary of 8 bytes.
 */
export function fatbinModules(section) {
  const modules = []
  let at = 0
  while (at + 4 <= section.length) {
    const magic = section.readUInt32LE(at)
    if (magic === 0) {
      at += 4
      continue
    }
    if (magic !== FATBIN) throw new Error(`expected a fat binary at ${at} of .nv_fatbin but received ${hex(magic)}`)
    const begin = at + section.readUInt16LE(at + 6)
    at = begin + Number(section.readBigUInt64LE(at + 8))
    if (at > section.length) throw new Error(`expected .nv_fatbin to have ${at} bytes but received ${section.length}`)
    modules.push(entriesOf(section.subarray(begin, at)))
  }
  return modules
}

function entriesOf(module) {
  const names = []
  let at = 0
  while (at < module.length) {
    const header = at + ENTRY_BYTES <= module.length ? module.readUInt32LE(at + 4) : 0
    if (header < ENTRY_BYTES) throw new Error(`expected an entry at ${at} of a fat binary but received ${header} bytes`)
    const kind = module.readUInt16LE(at)
    const flags = module.readUInt32LE(at + 40)
    const suffix = flags & ONE_CARD ? 'a' : flags & FAMILY ? 'f' : ''
    const prefix = { 1: 'compute', 2: 'sm' }[kind] ?? `kind${kind}`
    names.push(`${prefix}_${module.readUInt32LE(at + 28)}${suffix}`)
    at += header + Number(module.readBigUInt64LE(at + 8))
  }
  if (at > module.length) throw new Error(`expected a fat binary of ${at} bytes but received ${module.length}`)
  return names
}

function hex(value) {
  return `0x${value.toString(16)}`
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
