// Every kernel of cards against the CPU's, on an emulated card (native/tests/emulator): what finds their mistakes where
// there is no card. `npm run test:emulated` builds the program, as the set-up of CI does.

import { execFile } from 'node:child_process'
import { existsSync, readdirSync, statSync } from 'node:fs'
import { promisify } from 'node:util'
import { describe, expect, it } from 'vitest'

const PROGRAM = 'build/cuda_emulated'
const CUBLASLT = 'build/libemulated_cublaslt.so'
const BUILT_FROM = ['native/kernels/cuda', 'native/ops', 'native/runtime', 'native/tests', 'native/trees']
const TIMEOUT_MS = 600_000

const missing = whyMissing()

function whyMissing(): string {
  if (!existsSync(PROGRAM)) return 'build/cuda_emulated is not built'
  const built = statSync(PROGRAM).mtimeMs
  const changed = BUILT_FROM.flatMap(folder =>
    readdirSync(folder, { recursive: true, encoding: 'utf8' }).map(name => `${folder}/${name}`),
  ).filter(name => statSync(name).isFile() && statSync(name).mtimeMs > built)
  return changed.length > 0 ? `build/cuda_emulated is older than ${changed[0]}` : ''
}

describe
  .skipIf(missing !== '')
  .concurrent(
    `kernels on an emulated card${missing && ` (skipped: ${missing}; npm run test:emulated builds it)`}`,
    { timeout: TIMEOUT_MS },
    () => {
      for (const [name, options, least] of [
        ['float32', [], 40],
        ['bfloat16', ['--bfloat16'], 40],
        ['bfloat16 by cuBLASLt', ['--bfloat16', '--cublaslt', CUBLASLT, '--only', 'linear'], 2],
        ["bfloat16 on an older card's instructions", ['--bfloat16', '--capability', '80', '--only', 'linear'], 2],
      ] as const) {
        it(`agree with the CPU's in ${name}`, async () => {
          const run = promisify(execFile)(PROGRAM, ['--quick', ...options]).catch(failed => failed)
          const { code = 0, stdout, stderr } = await run
          expect(code, `${stdout}${stderr}`).toBe(0)
          const [, passed, failed, skipped] = stdout.match(/(\d+) passed, (\d+) failed, (\d+) skipped\n$/) ?? []
          expect(Number(passed)).toBeGreaterThan(least)
          expect([failed, skipped]).toEqual(['0', '0'])
        })
      }
    },
  )
