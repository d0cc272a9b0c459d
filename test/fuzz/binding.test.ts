import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { runChild } from '../support/child.js'
import { temporaryFolder } from '../support/folder.js'

const folder = temporaryFolder()

// Another seed: SEQRISK_FUZZ_SEED.
const SEED = process.env.SEQRISK_FUZZ_SEED ?? '1'
const CALLS = 100_000

it(`survives ${CALLS} bad calls of the addon, seed ${SEED}`, { timeout: 150_000 }, async () => {
  const log = join(folder, 'call')
  const result = await runChild('test/fuzz/binding_child.ts', [SEED, String(CALLS), log], { timeoutMs: 140_000 })
  const last = () => readFileSync(log, 'utf8').trim()
  const story = `seed ${SEED}: ${result.stdout}${result.stderr.slice(-2000)}\nlast call: ${last()}`
  expect(result, story).toMatchObject({ code: 0, signal: null })
  const { calls, refused, done, late, never } = JSON.parse(result.stdout) as Record<string, number> & {
    never: string[]
  }
  expect(calls).toBeGreaterThanOrEqual(CALLS)
  expect(refused + done).toBe(calls)
  // Both ends are reached: refusals, kernels that ran, errors that came later. Every function succeeds at times.
  expect(refused).toBeGreaterThan(CALLS / 2)
  expect(done).toBeGreaterThan(CALLS / 20)
  expect(late).toBeGreaterThan(0)
  expect(never).toEqual([])
})
