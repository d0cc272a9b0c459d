// What `npm publish` waits for: every prebuilt binary is there, of today's sources and as it must be. A checkout has
// none, and a package without them installs well and does not load.
//
//   node .ci/publish.mjs [--warn]    with --warn, as before `npm pack`, problems are said and nothing more

import { existsSync, readFileSync } from 'node:fs'
import { checkBinary, cudaModules } from './binary.mjs'
import { digestOf, prebuiltSources } from './sources.mjs'
import { prebuiltFile, TARGETS } from './targets.mjs'

const root = process.cwd()
const digest = digestOf(root, prebuiltSources(root))
const isWarning = process.argv.includes('--warn')
const problems = Object.keys(TARGETS).flatMap(name => problemsOf(name).map(problem => `${name}: ${problem}`))
for (const problem of problems) console.error(`[publish] ${problem}`)
if (problems.length > 0) console.error('[publish] npm run prebuild makes the binaries')
process.exit(problems.length === 0 || isWarning ? 0 : 1)

function problemsOf(name) {
  const { file, libc, sources } = prebuiltFile(root, name)
  const { cuda } = TARGETS[name]
  if (!existsSync(file)) return [`expected ${file} but there is none`]
  const isFresh = existsSync(sources) && readFileSync(sources, 'utf8') === digest
  const stale = isFresh ? [] : [`expected ${file} of today's sources but it was built from others`]
  try {
    const withoutCuda = cuda && cudaModules(file).length === 0
    const lacks = withoutCuda ? ['has no CUDA kernels: prebuild it where nvcc is'] : []
    return [...stale, ...lacks, ...checkBinary(file, libc).problems]
  } catch (error) {
    return [...stale, error.message]
  }
}
