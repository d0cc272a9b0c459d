// One encode after the other: memory.mjs CALLS. Prints the growth of the process in MB after a warm-up, and of the device.

import { Device } from 'seqrisk'
import { oneEncoded } from './jobs.mjs'

const calls = Number(process.argv[2])
const device = new Device({ threads: 1 })
const { encoder, encoded } = await oneEncoded(device)
const run = async count => {
  for (let i = 0; i < count; i++) await encoder.encodeBlock(encoded)
}
const sample = () => {
  for (let i = 0; i < 3; i++) globalThis.gc()
  return { rss: process.memoryUsage.rss() / 1e6, ...device.info() }
}
await run(Math.min(5000, calls / 4))
const before = sample()
await run(calls)
const after = sample()
console.log(
  JSON.stringify({
    megabytes: after.rss - before.rss,
    live: after.liveBytes - before.liveBytes,
    cached: after.cachedBytes - before.cachedBytes,
  }),
)
