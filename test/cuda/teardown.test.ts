// Processes and worker threads that end in the middle of work on a card, share one, or are shown none.

import { describe, expect, it } from 'vitest'
import { cudaStatus } from '../../lib/runtime/device.js'
import { type ChildOptions, runChild } from '../support/child.js'

const { devices, missing } = cudaStatus()
const reason = devices.length > 0 ? '' : ` (skipped: ${missing})`

async function run(scenario: string, { environment = {}, ...options }: ChildOptions = {}, code = 0): Promise<string[]> {
  const result = await runChild('test/runtime/teardown_child.ts', [scenario], {
    timeoutMs: 90_000,
    ...options,
    environment: { SEQRISK_TEST_DEVICE: 'cuda', ...environment },
  })
  expect(result, `${scenario}: ${result.stderr}`).toMatchObject({ code, signal: null })
  return result.stdout.trim().split('\n')
}

// What ends there needs one; the name says why there is none.
describe.skipIf(devices.length === 0)(`a card${reason}`, () => {
  it('lets a process exit in the middle of work', async () => {
    expect(await run('exit-with-work', {}, 3)).toEqual(['exit'])
  })

  it('says that a card is lost, and leaves the CPU', async () => {
    const [before, waiting, after, opened, cpu] = await run('lost-card')
    expect(before).toBe('1,2,3')
    for (const line of [waiting, after]) expect(line).toMatch(/^CUDA_FAILED \[cuda\] .*start a new one$/)
    expect(opened).toMatch(/^(CUDA_FAILED|NO_CUDA) \[cuda\] /)
    expect(cpu).toBe('5')
  })

  it('lets a process end with an open device, and waits for a read that is pending', async () => {
    expect(await run('end-with-open-device')).toEqual(['end'])
    expect(await run('end-with-pending-read')).toEqual(['read 42'])
  })

  it('lets worker threads be terminated in the middle of work', async () => {
    expect(await run('terminate-worker')).toEqual([...Array(4).fill('terminated true'), 'works 2'])
  }, 120_000)

  it('lets a worker thread end with handles alive and work queued', async () => {
    expect(await run('worker-leaves-handles')).toEqual(['exit 0', 'works 2'])
  })

  it('serves worker threads side by side with the same bits', async () => {
    expect(await run('workers')).toEqual(['same true', 'exits 0,0'])
  })

  it('serves two processes at the same time with the same bits', async () => {
    const [first, second] = await Promise.all([run('losses'), run('losses')])
    expect(first[0].split(',')).toHaveLength(200)
    expect(second).toEqual(first)
  })
})

// What is said there can be heard with a card, and without one.
describe('a process that is shown no card', () => {
  it('says so and works on the CPU', async () => {
    const [missing, code, works] = await run('no-card', { environment: { CUDA_VISIBLE_DEVICES: '' } })
    expect(missing).toMatch(devices.length > 0 ? /^0 .*CUDA_VISIBLE_DEVICES/ : /^0 \S/)
    expect([code, works]).toEqual(['NO_CUDA', 'cpu 5'])
  })
})
