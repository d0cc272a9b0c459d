// Counts that are kept in 32 bits, and more than that.

import { spawnSync } from 'node:child_process'
import { totalmem } from 'node:os'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { binding } from '../../lib/native.js'

const root = fileURLToPath(new URL('../..', import.meta.url))

/** Runs a program with the addon and an open stream; what it prints. */
function run(program: string): string {
  const head = `const binding = require('./build/Release/seqrisk.node')
    const stream = binding.stream_open(1, '', false, 0, false)
    const attempt = f => { try { f(); console.log('taken') } catch (error) { console.log(error.name, error.message) } }\n`
  const result = spawnSync(process.execPath, ['-e', head + program], { cwd: root, encoding: 'utf8', timeout: 60_000 })
  expect(result, result.stderr).toMatchObject({ status: 0, signal: null })
  return result.stdout.trim()
}

describe('counts above 2³¹ − 1 are refused:', () => {
  it('nodes and leaves of a forest', () => {
    const [ints, doubles, bytes] = [new Int32Array(0), new Float64Array(0), new Uint8Array(0)]
    const leaves = Int32Array.of(2 ** 29, 2 ** 29 + 2)
    const create = () =>
      binding.forest_create(1, 1, 1, leaves, ints, doubles, bytes, ints, ints, doubles, Int32Array.of(0), ints)
    expect(create).toThrow(
      new RangeError('[forest] expected at most 2147483647 nodes and leaves but received 2147483650; use fewer trees'),
    )
  })

  // Nobody writes to that much memory, but a system may want to have it.
  const large = it.runIf(process.platform === 'linux' && totalmem() > 20e9)

  large('sequences of a batch', () => {
    const printed = run('attempt(() => binding.offsets_create(stream, new Int32Array(2 ** 31 + 1)))')
    expect(printed).toBe('RangeError [offsets_create] expected at most 2147483647 sequences but received 2147483648')
  })

  large('rows that are added to others', () => {
    const printed = run(`
      const index = binding.tensor_create(stream, 'int32', [2 ** 31])
      const dout = binding.tensor_create(stream, 'float32', [2 ** 31, 1])
      const dx = binding.tensor_create(stream, 'float32', [4, 1])
      attempt(() => binding.gather_rows_backward(stream, index, dout, dx, false, false))
      binding.stream_cancel(stream)`)
    expect(printed).toBe(
      'RangeError [gather_rows_backward] expected at most 2147483647 rows of dout but received 2147483648',
    )
  })
})
