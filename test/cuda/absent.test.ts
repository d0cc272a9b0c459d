// What programs say where there is no card, and where there was no nvcc. `npm run test:emulated` builds both, as the set-up
// of CI does; the first wants nvcc.

import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { describe, expect, it } from 'vitest'
import { cudaStatus } from '../../lib/runtime/device.js'
import { PARITY_SOURCES, whyMissing } from '../support/programs.js'

const PARITY = 'build/cuda_parity'
const ABSENT = 'build/cuda_absent'
const ABSENT_FROM = [
  'native/runtime/cuda_absent.cc',
  'native/runtime/cuda_device.h',
  'native/tests/cuda_absent_words.cc',
]

const { devices, missing } = cudaStatus()
const whyNotParity = devices.length > 0 ? `there is a card: ${devices[0].name}` : whyMissing(PARITY, PARITY_SOURCES)
const whyNotAbsent = whyMissing(ABSENT, ABSENT_FROM)
const because = (why: string) => (why === '' ? '' : ` (skipped: ${why})`)

describe('without a card', () => {
  it.skipIf(whyNotParity !== '')(`cuda_parity counts what it skips, and says why${because(whyNotParity)}`, async () => {
    const { stdout, stderr } = await promisify(execFile)(PARITY, ['--quick', '--only', 'pool'])
    // Forward and backward.
    expect(stdout).toBe(`skipped: ${missing}\n0 passed, 0 failed, 2 skipped\n`)
    expect(stderr).toBe('')
  })
})

describe('a build without nvcc', () => {
  it.skipIf(whyNotAbsent !== '')(`says that it is one, and what to do${because(whyNotAbsent)}`, async () => {
    const { stdout } = await promisify(execFile)(ABSENT)
    expect(stdout.split('\n')).toEqual([
      '0 devices: this binary was built without CUDA: nvcc was not found then',
      "NO_CUDA: [cuda] expected a binary with CUDA kernels but received one for the CPU alone; use device 'cpu' or 'auto', " +
        'or build where nvcc is',
      '',
    ])
  })
})
