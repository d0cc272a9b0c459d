// Every kernel of cards against the CPU's, on an emulated card (native/tests/emulator), and tests that want a card, with the
// addon built for that one: what finds their mistakes where there is no card. `npm run test:emulated` builds both, as the
// set-up of CI does.

import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { describe, expect, it } from 'vitest'
import { PARITY_SOURCES, whyMissing } from '../support/programs.js'

const PROGRAM = 'build/cuda_emulated'
const ADDON = 'build/seqrisk_emulated.node'
const CUBLASLT = 'build/libemulated_cublaslt.so'
const TIMEOUT_MS = 600_000

const missing = whyMissing(PROGRAM, PARITY_SOURCES) || whyMissing(ADDON, [...PARITY_SOURCES, 'native/bindings'])

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

      // Those of bfloat16, graphs, uploads and several cards: what a kernel alone does not show is which types of tensors meet in a
      // step, and what waits for what.
      it('run the tests that want cards', async () => {
        const files = ['bfloat16', 'cards', 'finetune', 'graphs', 'uploads'].map(name => `test/cuda/${name}.test.ts`)
        const args = [
          'run',
          ...files,
          '-t',
          'bfloat16|cards|graphs|uploads',
          '--reporter=json',
          '--testTimeout',
          String(TIMEOUT_MS),
        ]
        const env = { ...process.env, SEQRISK_BINARY: ADDON, SEQRISK_EMULATED_CARDS: '2' }
        const run = promisify(execFile)(process.execPath, ['node_modules/vitest/vitest.mjs', ...args], {
          env,
          maxBuffer: 2 ** 26,
        })
        const { stdout, stderr } = await run.catch(failed => failed)
        const report = JSON.parse(stdout.slice(stdout.indexOf('{"'))) as Report
        const tests = report.testResults.flatMap(file => file.assertionResults)
        expect(
          tests.filter(one => one.status === 'failed'),
          stderr,
        ).toEqual([])
        const passed = (title: RegExp) =>
          tests.filter(one => one.status === 'passed' && title.test(one.fullName)).length
        for (const name of [/^cards/, /^uploads/, /graphs/]) expect(passed(name), String(name)).toBeGreaterThan(2)
        expect(passed(/bfloat16/)).toBeGreaterThan(60)
      })
    },
  )

/** What is read of vitest's report. */
interface Report {
  readonly testResults: readonly {
    readonly assertionResults: readonly { readonly status: string; readonly fullName: string }[]
  }[]
}
