// What programs say where there is no card. `npm run test:emulated` builds them where nvcc is, as the set-up of CI does.

import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { describe, expect, it } from 'vitest'
import { cudaStatus } from '../../lib/runtime/device.js'
import { PARITY_SOURCES, whyMissing } from '../support/programs.js'

const PARITY = 'build/cuda_parity'

const { devices, missing } = cudaStatus()
const whyNotParity = devices.length > 0 ? `there is a card: ${devices[0].name}` : whyMissing(PARITY, PARITY_SOURCES)
const because = (why: string) => (why === '' ? '' : ` (skipped: ${why})`)

describe('without a card', () => {
  it.skipIf(whyNotParity !== '')(`cuda_parity counts what it skips, and says why${because(whyNotParity)}`, async () => {
    const { stdout, stderr } = await promisify(execFile)(PARITY, ['--quick', '--only', 'pool'])
    // Forward and backward.
    expect(stdout).toBe(`skipped: ${missing}\n0 passed, 0 failed, 2 skipped\n`)
    expect(stderr).toBe('')
  })
})
