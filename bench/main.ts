// npm run bench -- NAME…    runs the benches whose file names contain a NAME, or all; lines go to stdout

import { readdirSync } from 'node:fs'
import { cpus } from 'node:os'
import { fileURLToPath } from 'node:url'
import { machineLimits } from '../lib/ops/machine.js'
import { Device } from '../lib/runtime/device.js'

const root = fileURLToPath(new URL('.', import.meta.url))
const wanted = process.argv.slice(2).filter(name => !name.startsWith('--'))
const files = readdirSync(root, { recursive: true, encoding: 'utf8' })
  .filter(name => name.endsWith('.bench.ts') && !name.includes('node_modules'))
  .filter(name => wanted.length === 0 || wanted.some(word => name.includes(word)))
  .sort()
if (files.length === 0) {
  console.error(`expected the name of a bench but received '${wanted.join(' ')}'`)
  process.exit(2)
}
const device = new Device()
const { gigaflops, copyGigabytes } = await machineLimits(device)
console.log(
  `${cpus()[0].model}, ${device.threads} threads, ${device.variant}: multiply-add ${gigaflops.toFixed(0)} GFLOP/s, ` +
    `copy ${copyGigabytes.toFixed(1)} GB/s, ${new Date().toISOString().slice(0, 10)}`,
)
device.close()
for (const file of files) {
  const { default: bench } = (await import(new URL(file, import.meta.url).href)) as {
    default: () => AsyncIterable<string>
  }
  for await (const line of bench()) console.log(line)
}
