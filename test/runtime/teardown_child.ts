// What the teardown tests run in a process of their own: `teardown_child.ts SCENARIO`. In a worker thread it runs the
// scenario that its workerData names. Prints what the test looks for. With SEQRISK_TEST_DEVICE=cuda on the card.

import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads'
import { binding } from '../../lib/native.js'
import { linear } from '../../lib/ops/linear.js'
import { cudaStatus, Device } from '../../lib/runtime/device.js'
import { Offsets, scope, Tensor, unscoped } from '../../lib/runtime/tensor.js'
import { smallModel } from '../support/model.js'

const onCard = process.env.SEQRISK_TEST_DEVICE === 'cuda'

function open(threads = 2): Device {
  return onCard ? new Device({ kind: 'cuda' }) : new Device({ threads })
}

/** Seconds of work on a device of its own; returns the read that waits for it. */
function startLongWork(): { device: Device; read: Promise<Float32Array> } {
  const device = open()
  const out = scope(() => {
    if (onCard) {
      const x = Tensor.zeros(device, 'float32', [2 ** 26])
      const y = Tensor.zeros(device, 'float32', [2 ** 26])
      for (let i = 0; i < 20_000; i++) y.copyFrom(x)
      return y.view(0, [1])
    }
    const x = Tensor.zeros(device, 'float32', [4000, 1000])
    const weight = Tensor.zeros(device, 'float32', [1000, 1000])
    let product = x
    for (let i = 0; i < 60; i++) product = linear(x, weight)
    return product
  })
  return { device, read: out.read() }
}

async function losses(steps: number): Promise<string> {
  const device = open()
  const model = smallModel(device, 300, 32, 40)
  const bits: number[] = []
  for (let i = 0; i < steps; i++) {
    const loss = model.step()
    bits.push((await loss.read())[0])
    loss.dispose()
  }
  device.close()
  return bits.join()
}

/** A worker's entry cannot be TypeScript: it imports this file through tsx. */
function startWorker(scenario: string): Worker {
  const url = JSON.stringify(import.meta.url)
  return new Worker(`import('tsx/esm/api').then(api => api.tsImport(${url}, ${url}))`, {
    eval: true,
    workerData: scenario,
  })
}

const scenarios: Record<string, () => Promise<void>> = {
  /** Ends with a read that nobody awaits: it still settles, then the process ends by itself. */
  async 'end-with-pending-read'() {
    const device = open()
    const tensor = Tensor.from(device, Float32Array.of(42))
    void tensor.read().then(([value]) => console.log(`read ${value}`))
  },

  /** An open device alone does not keep a process alive. */
  async 'end-with-open-device'() {
    open()
    console.log('end')
  },

  async 'exit-with-work'() {
    startLongWork().read.catch(() => console.log('settled'))
    await sleep(100)
    console.log('exit')
    process.exit(3)
  },

  async 'throw-with-work'() {
    startLongWork().read.catch(() => console.log('settled'))
    await sleep(100)
    setImmediate(() => {
      throw new Error('on purpose')
    })
    await sleep(1000)
  },

  /** Handles that are collected free their memory, and a device that is collected closes itself. */
  async collect() {
    const collect = globalThis.gc
    if (!collect) throw new Error('run with --expose-gc')
    const device = open()
    await (async () => {
      for (let i = 0; i < 50; i++) {
        Tensor.zeros(device, 'float32', [1000]).view(10, [5]).fill(i)
        new Offsets(device, Int32Array.of(0, 3))
        open()
      }
      await device.sync()
      console.log(`before ${device.info().liveBytes >= 50 * 4000}`)
    })()
    for (let i = 0; i < 20 && device.info().liveBytes > 0; i++) {
      collect()
      await sleep(10)
    }
    console.log(`after ${device.info().liveBytes}`)
    const tensor = Tensor.from(device, Float32Array.of(7))
    console.log(`works ${(await tensor.read())[0]}`)
  },

  /** A read keeps what it needs although nobody holds the tensor or the device any more. */
  async 'collect-while-reading'() {
    const collect = globalThis.gc
    if (!collect) throw new Error('run with --expose-gc')
    const reads = Array.from({ length: 20 }, (_, i) => {
      const device = open(1)
      const tensor = Tensor.from(device, new Float32Array(100_000).fill(i))
      return tensor.read().then(
        values => values.every(value => value === i),
        (error: { code?: string }) => error.code === 'ABORTED',
      )
    })
    for (let i = 0; i < 5; i++) {
      collect()
      await sleep(1)
    }
    console.log(`reads ${(await Promise.all(reads)).every(Boolean)}`)
  },

  /** Two streams in two worker threads, side by side with one here: all the same bits. */
  async workers() {
    const workers = [startWorker('worker-losses'), startWorker('worker-losses')]
    const own = losses(10)
    const ends = workers.map(worker => once(worker, 'exit'))
    const [[one], [two]] = await Promise.all(workers.map(worker => once(worker, 'message')))
    console.log(`same ${one === (await own) && two === one && String(one).split(',').length === 10}`)
    console.log(`exits ${(await Promise.all(ends)).join()}`)
  },
  async 'worker-losses'() {
    parentPort?.postMessage(await losses(10))
  },

  async 'terminate-worker'() {
    for (const wait of [0, 1, 30, 100]) {
      const worker = startWorker('worker-long')
      await once(worker, 'message')
      await sleep(wait)
      const start = performance.now()
      await worker.terminate()
      console.log(`terminated ${performance.now() - start < 5000}`)
    }
    console.log(`works ${(await losses(2)).split(',').length}`)
  },
  async 'worker-long'() {
    const { read } = startLongWork()
    read.catch(() => {})
    parentPort?.postMessage('busy')
    await sleep(20_000)
  },

  /** The worker ends by itself with handles of every kind alive and work queued. */
  async 'worker-leaves-handles'() {
    const worker = startWorker('worker-handles')
    const [code] = await once(worker, 'exit')
    console.log(`exit ${code}`)
    console.log(`works ${(await losses(2)).split(',').length}`)
  },
  async 'worker-handles'() {
    const { device, read } = startLongWork()
    const held = unscoped(() => [new Offsets(device, Int32Array.of(0, 1)), Tensor.zeros(device, 'float32', [9])])
    Object.assign(globalThis, { held, read })
    process.exit(0)
  },

  /** What a process says that is shown no card. */
  async 'no-card'() {
    console.log(cudaStatus().devices.length, cudaStatus().missing)
    try {
      new Device({ kind: 'cuda' })
    } catch (error) {
      console.log((error as { code?: string }).code)
    }
    const device = new Device({ work: 1e12 })
    console.log(device.kind, (await Tensor.from(device, Float32Array.of(5)).read())[0])
  },

  /** A card that fails in the middle of work: what says so, and what goes on. */
  async 'lost-card'() {
    const device = new Device({ kind: 'cuda' })
    const x = Tensor.from(device, Float32Array.of(1, 2, 3))
    console.log((await x.read()).join())
    const waiting = startLongWork()
    binding.cuda_lose(0)
    const code = (error: { code?: string; message: string }) => `${error.code} ${error.message}`
    console.log(await waiting.read.then(() => 'read', code))
    console.log(await x.read().then(() => 'read', code))
    try {
      new Device({ kind: 'cuda' })
      console.log('opened')
    } catch (error) {
      console.log(code(error as Error))
    }
    device.close()
    waiting.device.close()
    console.log((await Tensor.from(new Device({ kind: 'cpu', threads: 2 }), Float32Array.of(5)).read())[0])
  },

  /** The losses of some steps, for processes side by side. */
  async losses() {
    console.log(await losses(200))
  },

  async 'unknown-variant'() {
    try {
      new Device()
    } catch (error) {
      console.log(error instanceof RangeError, (error as Error).message)
    }
  },
}

const scenario = scenarios[isMainThread ? (process.argv[2] ?? '') : String(workerData)]
if (!scenario) throw new Error(`unknown scenario ${process.argv[2]}`)
await scenario()
