// What `npm publish` waits for: every prebuilt binary is there and as it must be. A checkout has none, and a package without
// them installs well and does not load.
//
//   node .ci/publish.mjs [--warn]    with --warn, as before `npm pack`, problems are said and nothing more

import { existsSync } from 'node:fs'
import { checkBinary } from './binary.mjs'
import { prebuiltFile, TARGETS } from './targets.mjs'

const isWarning = process.argv.includes('--warn')
const problems = Object.keys(TARGETS).flatMap(name => problemsOf(name).map(problem => `${name}: ${problem}`))
for (const problem of problems) console.error(`[publish] ${problem}`)
if (problems.length > 0) console.error('[publish] npm run prebuild makes the binaries')
process.exit(problems.length === 0 || isWarning ? 0 : 1)

function problemsOf(name) {
  const { file, libc } = prebuiltFile(process.cwd(), name)
  if (!existsSync(file)) return [`expected ${file} but there is none`]
  try {
    return checkBinary(file, libc).problems
  } catch (error) {
    return [error.message]
  }
}
