// Checks that no compiler makes: layers, formatting of C++, what the binary exports, which cards it has kernels for,
// symbols of vector code.
//
//   node .ci/check.mjs [--format]    with --format, C++ is formatted in place

import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { checkCuda, exportProblems, vectorProblems } from './binary.mjs'

const root = fileURLToPath(new URL('..', import.meta.url))
const problems = []

const files = spawnSync('git', ['ls-files', '--cached', '--others', '--exclude-standard'], {
  cwd: root,
  encoding: 'utf8',
})
  .stdout.split('\n')
  .filter(name => name && existsSync(join(root, name)))
const cpp = files.filter(name => /\.(h|cc|cu|cuh|def)$/.test(name))

layers()
nodeApiStaysInBindings()
formatting()
symbols()
binaryOfAddon()

for (const problem of problems) console.error(problem)
console.log(`check: ${files.length} files, ${problems.length} problems`)
process.exit(problems.length === 0 ? 0 : 1)

/** Who may import whom in lib/: a file of one of these folders imports from no other place than these. */
function layers() {
  const allowed = {
    'lib/util/': ['lib/util/'],
    'lib/reference/': ['lib/reference/', 'lib/util/'],
    'lib/runtime/': ['lib/runtime/', 'lib/util/', 'lib/native.ts', 'lib/ops/adamw.ts', 'binding.d.ts'],
    'lib/ops/': ['lib/ops/', 'lib/runtime/', 'lib/util/', 'lib/native.ts', 'binding.d.ts'],
    'lib/events/': ['lib/events/', 'lib/util/'],
  }
  for (const name of files.filter(name => /^lib\/.*\.ts$/.test(name))) {
    const text = readFileSync(join(root, name), 'utf8')
    for (const [, target] of text.matchAll(/from '(\.{1,2}\/[^']+)'/g)) {
      const path = join(name, '..', target).replace(/\.js$/, '.ts').replace('binding.ts', 'binding.d.ts')
      const [, rules] = Object.entries(allowed).find(([folder]) => name.startsWith(folder)) ?? []
      if (rules && !rules.some(rule => path.startsWith(rule)))
        problems.push(`${name}: imports ${path}, a layer above it`)
      if (path === 'lib/native.ts' && !/^lib\/(ops|runtime)\//.test(name))
        problems.push(`${name}: only ops and runtime touch the addon`)
    }
  }
}

function nodeApiStaysInBindings() {
  for (const name of cpp) {
    const text = readFileSync(join(root, name), 'utf8')
    if (/#include <(napi|node_api)\.h>/.test(text) && !name.startsWith('native/bindings/')) {
      problems.push(`${name}: Node-API belongs under native/bindings`)
    }
    if (name.startsWith('native/kernels/') && /#include <(vector|string|thread|mutex|memory|map)>/.test(text)) {
      problems.push(`${name}: kernels use no std containers, threads or ownership`)
    }
  }
}

function formatting() {
  const formatter = 'clang-format-19'
  const sources = cpp.filter(name => !name.endsWith('.def'))
  if (sources.length === 0) return
  const inPlace = process.argv.includes('--format')
  const result = spawnSync(formatter, [inPlace ? '-i' : '--dry-run', '--Werror', ...sources], {
    cwd: root,
    encoding: 'utf8',
  })
  if (result.error) return console.log(`check: C++ formatting not checked, ${formatter} is not installed`)
  if (result.status !== 0)
    problems.push(`${result.stderr.trim().split('\n').slice(0, 10).join('\n')}\nrun npm run format`)
}

function symbols() {
  problems.push(...vectorProblems(join(root, 'build')))
}

function binaryOfAddon() {
  const binary = join(root, 'build', 'Release', 'seqrisk.node')
  if (!existsSync(binary) || process.platform !== 'linux') return
  const cuda = checkCuda(binary)
  console.log(`check: seqrisk.node: ${cuda.text}`)
  for (const problem of [...exportProblems(binary), ...cuda.problems]) problems.push(`seqrisk.node: ${problem}`)
}
