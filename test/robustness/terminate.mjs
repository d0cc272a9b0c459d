// Eight workers, each busy with a job, each terminated at a moment of its own: terminate.mjs ROUNDS SEED. The process has
// to survive, and to compute afterwards what it computed before.

import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { Worker } from 'node:worker_threads'
import { Device } from 'seqrisk'
import { jobs } from './jobs.mjs'

const [rounds, seed] = process.argv.slice(2).map(Number)
let state = seed
/** 0 … 1, the same for the same seed: a linear congruential generator is random enough for moments. */
function random() {
  state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
  return state / 2 ** 32
}

const results = async () => {
  const device = new Device({ threads: 2 })
  const found = []
  for (const job of Object.values(jobs)) found.push(await job(device))
  device.close()
  return found.join('\n')
}

const before = await results()
const names = Object.keys(jobs)
for (let round = 0; round < rounds; round++) {
  const workers = Array.from({ length: 8 }, (_, i) => {
    const worker = new Worker(new URL('./jobs.mjs', import.meta.url), { workerData: { job: names[i % names.length] } })
    worker.on('error', error => {
      console.error(error)
      process.exit(4)
    })
    return worker
  })
  // Some while they still load the addon, most in the middle of work.
  const ends = workers.map(async worker => {
    if (random() < 0.8) await once(worker, 'message')
    await sleep(random() * 120)
    await worker.terminate()
  })
  await Promise.all(ends)
}
console.log(`same ${before === (await results())}`)
