// Work for several callers: begun once, ended when the last one leaves, and begun anew then.

import { describe, expect, it } from 'vitest'
import { SharedWork } from '../../lib/util/shared_work.js'

/** Work that ends when told, or when its signal says so. */
function controlled() {
  const runs: { finish: (value: string) => void; fail: (error: Error) => void; report: (done: number) => void }[] = []
  const shared = new SharedWork<string, number>(
    ({ signal, onProgress }) =>
      new Promise((resolve, reject) => {
        runs.push({ finish: resolve, fail: reject, report: onProgress })
        signal.addEventListener('abort', () => setTimeout(() => reject(signal.reason), 5))
      }),
  )
  return { shared, runs }
}

const leaving = () => new AbortController()
const gone = new Error('gone')

describe('shared work', () => {
  it('begins once, reports to all and gives all the same', async () => {
    const { shared, runs } = controlled()
    const seen: string[] = []
    const both = ['a', 'b'].map(name => shared.join({ onProgress: done => void seen.push(`${name}${done}`) }))
    runs[0].report(1)
    runs[0].finish('done')
    expect(await Promise.all(both)).toEqual(['done', 'done'])
    expect(seen).toEqual(['a1', 'b1'])
    expect(await shared.join({})).toBe('done')
    expect(runs.length).toBe(1)
  })

  it('goes on for those who stay', async () => {
    const { shared, runs } = controlled()
    const [first, second] = [leaving(), leaving()]
    const left = shared.join({ signal: first.signal })
    const stays = shared.join({ signal: second.signal })
    first.abort(gone)
    await expect(left).rejects.toBe(gone)
    runs[0].finish('done')
    expect(await stays).toBe('done')
    // Too late to leave.
    second.abort(gone)
    await expect(shared.join({ signal: second.signal })).rejects.toBe(gone)
    expect(await shared.join({})).toBe('done')
    expect(runs.length).toBe(1)
  })

  it('goes on for the others where the callback of one throws', async () => {
    const { shared, runs } = controlled()
    const broken = new Error('broken callback')
    const seen: number[] = []
    const first = shared.join({
      onProgress() {
        throw broken
      },
    })
    const second = shared.join({ onProgress: done => void seen.push(done) })
    runs[0].report(1)
    await expect(first).rejects.toBe(broken)
    runs[0].report(2)
    runs[0].finish('done')
    expect([await second, seen]).toEqual(['done', [1, 2]])
    // Alone it ends the work, and is told of even where that had a result.
    await shared.drop()
    const alone = shared.join({
      onProgress() {
        throw broken
      },
    })
    runs[1].report(1)
    runs[1].finish('done all the same')
    await expect(alone).rejects.toBe(broken)
  })

  it('ends when all have left; who comes meanwhile begins anew', async () => {
    const { shared, runs } = controlled()
    const both = [leaving(), leaving()]
    const left = both.map(({ signal }) => shared.join({ signal }))
    for (const one of both) one.abort(gone)
    const next = shared.join({})
    for (const one of left) await expect(one).rejects.toBe(gone)
    await expect.poll(() => runs.length).toBe(2)
    runs[1].finish('anew')
    expect(await next).toBe('anew')
  })

  it('keeps a result that came although all had left', async () => {
    const { shared, runs } = controlled()
    const only = leaving()
    const left = shared.join({ signal: only.signal })
    only.abort(gone)
    runs[0].finish('done')
    expect(await left).toBe('done')
    expect(await shared.join({})).toBe('done')
    expect(await shared.drop()).toBe('done')
  })

  it('begins anew after a failure, and after it was dropped', async () => {
    const { shared, runs } = controlled()
    const failed = shared.join({})
    runs[0].fail(new Error('broken'))
    await expect(failed).rejects.toThrow('broken')
    expect(await shared.drop()).toBeNull()
    const second = shared.join({})
    const dropped = shared.drop()
    const third = shared.join({})
    runs[1].fail(new Error('late'))
    runs[2].finish('done')
    await expect(second).rejects.toThrow('late')
    expect([await dropped, await third, await shared.join({})]).toEqual([null, 'done', 'done'])
    expect(runs.length).toBe(3)
  })
})
