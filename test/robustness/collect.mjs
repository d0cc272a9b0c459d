// Garbage collections all the time change nothing: node --expose-gc collect.mjs.

import { Device } from 'seqrisk'
import { jobs } from './jobs.mjs'

for (const [name, job] of Object.entries(jobs)) {
  const device = new Device({ threads: 2 })
  const quiet = await job(device)
  let collections = 0
  const timer = setInterval(() => {
    globalThis.gc()
    collections++
  }, 1)
  const disturbed = await job(device)
  clearInterval(timer)
  console.log(name, quiet === disturbed, collections > 0)
  device.close()
}
