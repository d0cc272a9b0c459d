// One encode after the other: memory.mjs CALLS. Prints what grew after a warm-up, in MB: the process without the heap of
// JavaScript, which takes more room than it uses; what that heap uses; and the bytes of the device.

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
  const { rss, heapTotal, heapUsed } = process.memoryUsage()
  const { liveBytes, cachedBytes } = device.info()
  return { native: (rss - heapTotal) / 1e6, heap: heapUsed / 1e6, live: liveBytes, cached: cachedBytes }
}
await run(Math.min(20_000, calls / 2))
const before = sample()
await run(calls)
const grown = Object.entries(sample()).map(([name, value]) => [name, value - before[name]])
console.log(JSON.stringify(Object.fromEntries(grown)))
