// Workers alone load the addon, and are terminated in the middle of work: unload.mjs WORKERS. With the last of them the
// addon goes; a thread that still ran its code would end the process.

import { once } from 'node:events'
import { existsSync, readdirSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { Worker } from 'node:worker_threads'

/** Of this process, where the system lists them. */
const threads = () => (existsSync('/proc/self/task') ? readdirSync('/proc/self/task').length : 0)

const before = threads()
for (let i = 0; i < Number(process.argv[2]); i++) {
  const worker = new Worker(new URL('./jobs.mjs', import.meta.url), { workerData: { job: 'trees' } })
  await once(worker, 'message')
  await sleep(20)
  await worker.terminate()
}
await sleep(300)
console.log(`threads left ${Math.max(0, threads() - before)}`)
