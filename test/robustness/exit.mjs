// process.exit in the middle of training: exit.mjs MILLISECONDS.

import { setTimeout as sleep } from 'node:timers/promises'
import { Device } from 'seqrisk'
import { jobs } from './jobs.mjs'

const device = new Device({ threads: 2 })
const train = async () => {
  for (;;) for (const job of Object.values(jobs)) await job(device)
}
train().catch(() => console.log('settled'))
await sleep(Number(process.argv[2]))
process.exit(3)
