import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { type ChildOptions, runChild } from '../support/child.js'

const root = fileURLToPath(new URL('../..', import.meta.url))

async function run(scenario: string, options: ChildOptions = {}, code = 0): Promise<string[]> {
  const result = await runChild('test/runtime/teardown_child.ts', [scenario], options)
  expect(result, `${scenario}: ${result.stderr}`).toMatchObject({ code, signal: null })
  return result.stdout.trim().split('\n')
}

describe('a process', () => {
  it('waits for a read that is pending at its end', async () => {
    expect(await run('end-with-pending-read')).toEqual(['read 42'])
  })

  it('ends although a device is open', async () => {
    expect(await run('end-with-open-device')).toEqual(['end'])
  })

  it('exits in the middle of work', async () => {
    expect(await run('exit-with-work', {}, 3)).toEqual(['exit'])
  })

  it('ends with an uncaught error in the middle of work', async () => {
    const result = await runChild('test/runtime/teardown_child.ts', ['throw-with-work'])
    expect(result).toMatchObject({ code: 1, signal: null })
    expect(result.stderr).toContain('on purpose')
  })

  // Linux alone limits an address space.
  it.runIf(process.platform === 'linux')('survives that the system has no more threads', () => {
    // Plain JavaScript: little else fits into the address space that is left.
    const program = `
      const binding = require('./build/Release/seqrisk.node')
      const streams = []
      try {
        for (let i = 0; i < 64; i++) streams.push(binding.stream_open(1024, '', false, 0, false))
      } catch (error) {
        console.log(error.code, error.message)
      }
      for (const stream of streams) binding.stream_close(stream)
      binding.stream_sync(binding.stream_open(2, '', false, 0, false)).then(() => console.log('works'))`
    const result = spawnSync('sh', ['-c', 'ulimit -v 4000000; exec "$0" -e "$1"', process.execPath, program], {
      cwd: root,
      encoding: 'utf8',
      timeout: 60_000,
    })
    expect(result, result.stderr).toMatchObject({ status: 0, signal: null })
    const [refusal, end] = result.stdout.trim().split('\n')
    expect(refusal).toMatch(
      /^NO_THREADS \[stream\] expected to start a thread but received: .*; open the device with fewer/,
    )
    expect(end).toBe('works')
  })

  it('refuses an unknown variant in its environment', async () => {
    const [line] = await run('unknown-variant', { environment: { SEQRISK_VARIANT: 'abacus' } })
    expect(line).toMatch(/^true \[variant\] expected one of .*scalar.* but received 'abacus'; .*SEQRISK_VARIANT/)
  })
})

describe('collected handles', () => {
  const collecting = { nodeArguments: ['--expose-gc'] }

  it('free their memory, and close their devices', async () => {
    expect(await run('collect', collecting)).toEqual(['before true', 'after 0', 'works 7'])
  })

  it('do not pull memory away under a read', async () => {
    expect(await run('collect-while-reading', collecting)).toEqual(['reads true'])
  })
})

describe('worker threads', () => {
  it('run streams of their own side by side, with the same bits', async () => {
    expect(await run('workers', { timeoutMs: 60_000 })).toEqual(['same true', 'exits 0,0'])
  })

  it('can be terminated in the middle of work', async () => {
    expect(await run('terminate-worker', { timeoutMs: 60_000 })).toEqual([
      ...Array(4).fill('terminated true'),
      'works 2',
    ])
  })

  it('can end with handles alive and work queued', async () => {
    expect(await run('worker-leaves-handles')).toEqual(['exit 0', 'works 2'])
  })
})
