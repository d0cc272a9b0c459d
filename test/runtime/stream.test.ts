import { existsSync, readdirSync } from 'node:fs'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, describe, expect, it } from 'vitest'
import { binding } from '../../lib/native.js'
import { linear, packLinear } from '../../lib/ops/linear.js'
import { pool } from '../../lib/ops/pool.js'
import { softmaxCrossEntropy } from '../../lib/ops/softmax_cross_entropy.js'
import { Device, variants } from '../../lib/runtime/device.js'
import { Offsets, scope, Tensor } from '../../lib/runtime/tensor.js'
import { openDevice } from '../support/devices.js'
import { queueLongWork } from '../support/long_work.js'
import { smallModel } from '../support/model.js'

// Bounds on time hold for this process; another one may keep it from the cores, hence the further tries.
const timing = { retry: 4 }

/** A loss whose target does not exist: a fault of the stream. */
const fault = (device: Device, target: number) =>
  scope(
    () => softmaxCrossEntropy(Tensor.zeros(device, 'float32', [1, 3]), Tensor.from(device, Int32Array.of(target))).loss,
  )

describe('errors on a stream', () => {
  it('keeps the first, throws it at the next read, and works on', async () => {
    const device = openDevice()
    const kept = Tensor.from(device, Float32Array.of(1))
    fault(device, 7)
    fault(device, 8)
    kept.fill(2)
    await expect(kept.read()).rejects.toThrow(/expected targets in \[-1, classes\) but received 7 at index 0/)
    // What was submitted behind the error was skipped.
    expect([...(await kept.read())]).toEqual([1])
    kept.fill(3)
    expect([...(await kept.read())]).toEqual([3])
  })

  it('goes to the first of several reads only, and to sync alike', async () => {
    const device = openDevice()
    fault(device, 7)
    const results = await Promise.allSettled([device.sync(), device.sync()])
    expect(results.map(result => result.status)).toEqual(['rejected', 'fulfilled'])
  })

  it('stays on its own stream', async () => {
    const [one, two] = [openDevice(), openDevice()]
    fault(one, 7)
    await two.sync()
    await expect(one.sync()).rejects.toThrow(RangeError)
  })

  const stops: [string, (device: Device) => void][] = [
    ['an error', device => void fault(device, 7)],
    ['a cancel', device => void queueLongWork(device, 2)],
  ]
  it.each(stops)('leaves offsets and values whole that were handed over behind %s', async (what, stop) => {
    const device = openDevice({ guard: false })
    // What the memory of the offsets holds beforehand would lead far outside.
    for (let i = 0; i < 4; i++) Tensor.from(device, new Int32Array(3).fill(2 ** 30)).dispose()
    await device.sync()
    stop(device)
    const offsets = new Offsets(device, Int32Array.of(0, 1, 3))
    const x = Tensor.from(device, Float32Array.of(1, 2, 4), [3, 1])
    if (what === 'a cancel') device.cancel()
    await device.sync().catch(() => {})
    expect([...(await pool(x, offsets).read())]).toEqual([1, 3])
  })

  it.each(stops)('packs a weight that is kept for later behind %s', async (what, stop) => {
    const device = openDevice({ guard: false })
    const weight = Tensor.from(device, Float32Array.of(1, 2, 3, 4), [2, 2])
    stop(device)
    const packed = packLinear(weight)
    if (what === 'a cancel') device.cancel()
    await device.sync().catch(() => {})
    const x = Tensor.from(device, Float32Array.of(10, 1), [1, 2])
    expect([...(await linear(x, weight, null, { packed }).read())]).toEqual([12, 34])
  })

  it.each(stops)('is not taken for an overrun by the guard of memory that was made behind %s', async (what, stop) => {
    const device = openDevice({ guard: true })
    stop(device)
    const tensor = Tensor.zeros(device, 'float32', [5])
    if (what === 'a cancel') device.cancel()
    await device.sync().catch(() => {})
    tensor.dispose()
    await device.sync()
  })
})

describe('cancel', () => {
  it('rejects pending reads with ABORTED within 100 ms, and works on', timing, async () => {
    const device = openDevice({ guard: false })
    const pending = queueLongWork(device).read()
    await sleep(50)
    const start = performance.now()
    device.cancel()
    await expect(pending).rejects.toMatchObject({ code: 'ABORTED' })
    expect(performance.now() - start).toBeLessThan(100)
    const after = Tensor.zeros(device, 'float32', [3])
    expect([...(await after.read())]).toEqual([0, 0, 0])
  })

  it('is felt in the middle of a fill, a copy and a read', timing, async () => {
    const device = openDevice({ guard: false })
    const elements = 2 ** 27 // half a gigabyte: tens of milliseconds
    const tensor = Tensor.zeros(device, 'float32', [elements])
    const source = Tensor.zeros(device, 'float32', [elements]).fill(2)
    const ends = async () => [
      ...(await tensor.view(0, [1]).read()),
      ...(await tensor.view(elements / 2 - 1, [1]).read()),
      ...(await tensor.view(elements - 1, [1]).read()),
    ]
    const cut = async (start: () => unknown) => {
      await device.sync()
      const pending = start()
      await sleep(5)
      device.cancel()
      await pending
      await device.sync().catch(() => {})
    }
    await cut(() => void tensor.fill(1))
    const filled = await ends()
    expect(filled[0]).toBe(1)
    expect(filled).toContain(0)
    await cut(() => void tensor.copyFrom(source))
    const copied = await ends()
    expect(copied[0]).toBe(2)
    expect(copied).toContain(0)
    await cut(() => expect(source.read()).rejects.toMatchObject({ code: 'ABORTED' }))
  })

  it('does nothing on an idle stream', async () => {
    const device = openDevice()
    device.cancel()
    const tensor = Tensor.from(device, Float32Array.of(4))
    await device.sync()
    device.cancel()
    expect([...(await tensor.read())]).toEqual([4])
  })

  it('leaves the bits of later work as they are without it', async () => {
    const device = openDevice({ guard: false })
    const losses = async () => {
      const model = smallModel(device, 200, 64, 50)
      const loss = model.step()
      const values = await loss.read()
      loss.dispose()
      model.dispose()
      return values
    }
    const want = await losses()
    for (let i = 0; i < 12; i++) {
      // Enough that it outlasts a sleep on a busy machine: what is queued is skipped.
      const pending = queueLongWork(device, 12).read()
      if (i % 3 > 0) await sleep(i % 7)
      device.cancel()
      await expect(pending).rejects.toMatchObject({ code: 'ABORTED' })
      expect(await losses()).toEqual(want)
    }
  })
})

describe('close', () => {
  it('rejects pending reads, and ends within 100 ms while work is queued', timing, async () => {
    const device = new Device({ threads: 2 })
    const pending = queueLongWork(device).read()
    const settled = pending.catch((error: unknown) => error)
    await sleep(30)
    const start = performance.now()
    device.close()
    expect(performance.now() - start).toBeLessThan(100)
    expect(await settled).toMatchObject({ code: 'ABORTED' })
  })

  it('frees threads and memory, although the device is held', async () => {
    // Where the system lists the threads of a process.
    const threads = () => (existsSync('/proc/self/task') ? readdirSync('/proc/self/task').length : 0)
    const device = new Device({ threads: 9 })
    const kept = Tensor.zeros(device, 'float32', [1 << 20])
    Tensor.zeros(device, 'float32', [1 << 20]).dispose()
    await device.sync()
    const before = threads()
    device.close()
    // Vitest's own come and go.
    if (before > 0) expect(before - threads()).toBeGreaterThan(5)
    expect(device.info()).toMatchObject({ threads: 9, liveBytes: 4 << 20, cachedBytes: 0 })
    kept.dispose()
    expect(device.info()).toMatchObject({ liveBytes: 0, cachedBytes: 0 })
  })

  it('may be called twice, and refuses all use afterwards with CLOSED', async () => {
    const device = new Device({ threads: 2 })
    const tensor = Tensor.zeros(device, 'float32', [2])
    const offsets = new Offsets(device, Int32Array.of(0, 2))
    device.close()
    device.close()
    device.cancel()
    const closed = { code: 'CLOSED' }
    const attempts: (() => unknown)[] = [
      () => Tensor.zeros(device, 'float32', [2]),
      () => new Offsets(device, Int32Array.of(0, 2)),
      () => device.sync(),
      () => tensor.read(),
      () => tensor.fill(1),
      () => tensor.write(Float32Array.of(1, 2)),
      () => tensor.view(0, [1]),
      () => tensor.copyFrom(tensor),
      () => binding.add_forward(device.handle, tensor.handle, tensor.handle, tensor.handle),
    ]
    for (const attempt of attempts) expect(attempt, String(attempt)).toThrow(expect.objectContaining(closed))
    expect(device.info().device).toBe('cpu')
    tensor.dispose()
    offsets.dispose()
  })
})

describe('event loop', () => {
  it('turns while a long op runs', timing, async () => {
    const device = openDevice({ guard: false, threads: 1 })
    await queueLongWork(device, 1).read()
    const delay = monitorEventLoopDelay({ resolution: 2 })
    delay.enable()
    const start = performance.now()
    const out = queueLongWork(device, 12)
    const submitted = performance.now() - start
    await device.sync()
    const took = performance.now() - start
    delay.disable()
    out.dispose()
    expect(took).toBeGreaterThan(200)
    expect(submitted).toBeLessThan(20)
    expect(delay.percentile(99) / 1e6).toBeLessThan(20)
  })
})

describe('variants and threads', () => {
  afterEach(() => {
    delete process.env.SEQRISK_VARIANT
  })

  it('takes every variant of this processor by name, from the option before the environment', () => {
    process.env.SEQRISK_VARIANT = 'scalar'
    expect(openDevice().variant).toBe('scalar')
    for (const variant of variants()) expect(openDevice({ variant }).variant).toBe(variant)
    expect(variants()).toContain('scalar')
  })

  it('refuses an unknown variant, and names those there are', () => {
    const names = variants().join(', ')
    const message = (name: string) =>
      `[variant] expected one of ${names}`.concat(
        ' (what this binary and this processor have)',
        ` but received '${name}'`,
      )
    expect(() => new Device({ variant: 'avx9' })).toThrow(RangeError)
    expect(() => new Device({ variant: 'avx9' })).toThrow(message('avx9'))
    process.env.SEQRISK_VARIANT = 'turbo'
    expect(() => new Device()).toThrow(message('turbo'))
    expect(() => new Device({ variant: 'AVX2' })).toThrow(message('AVX2'))
  })

  it.each([0, -1, 1.5, 1025, Number.NaN, Number.POSITIVE_INFINITY])('refuses %f threads', threads => {
    expect(() => new Device({ threads })).toThrow(RangeError)
  })

  it('refuses unknown options and devices', () => {
    expect(() => new Device({ thread: 2 } as never)).toThrow(/did you mean 'threads'/)
    expect(() => new Device({ kind: 'gpu' as never })).toThrow(RangeError)
    expect(() => new Device({ precision: 'half' as never })).toThrow(RangeError)
    expect(() => new Device({ work: -1 })).toThrow(RangeError)
    expect(() => new Device({ kind: 'cpu', graphs: true })).toThrow(/graphs with a card but received 'cpu'/)
    expect(() => new Device({ kind: 'cuda', cublaslt: true })).toThrow(/cublaslt with a card and precision 'bfloat16'/)
    expect(() => new Device({ kind: 'cpu', precision: 'bfloat16', cublaslt: true })).toThrow(/cublaslt with a card/)
  })
})
