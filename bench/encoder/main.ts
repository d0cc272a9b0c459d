// The encoder's benches alone: tsx bench/encoder/main.ts [inference] [training] [scaling] [memory]

import { inferenceBench, type Skip } from './inference.bench.js'
import { formatRow, type Row } from './rows.js'
import { isLinear, memoryBench, type ScalingRow, scalingBench } from './scaling.bench.js'
import { trainingBench } from './training.bench.js'

const MEMORY_LIMIT = 3e9

const benches: Record<string, () => Promise<number>> = {
  inference: () => print(inferenceBench()),
  training: () => print(trainingBench()),
  scaling,
  memory,
}

/** Prints rows as they come; returns how many comparisons were skipped. */
async function print(rows: AsyncIterable<Row | Skip>): Promise<number> {
  let skipped = 0
  for await (const row of rows) {
    if ('reason' in row) {
      skipped++
      console.log(`${row.bench}: SKIPPED, ${row.reason}`)
    } else console.log(formatRow(row))
  }
  return skipped
}

async function scaling(): Promise<number> {
  const kinds = new Map<string, ScalingRow[]>()
  for await (const row of scalingBench()) {
    const rows = kinds.get(row.attention) ?? []
    kinds.set(row.attention, [...rows, row])
    const name = `encoder/scaling       ${row.attention} attention, length ${row.length}`
    console.log(`${name.padEnd(60)} ${row.microseconds.toFixed(2)} µs per event`)
  }
  for (const [attention, rows] of kinds) {
    console.log(`encoder/scaling       ${attention} attention is ${isLinear(rows) ? '' : 'not '}linear in the length`)
  }
  return 0
}

async function memory(): Promise<number> {
  const { deviceBytes, residentBytes, residentBefore } = await memoryBench()
  const [device, resident, before] = [deviceBytes, residentBytes, residentBefore].map(n => (n / 1e9).toFixed(2))
  const verdict = residentBytes < MEMORY_LIMIT ? 'below' : 'MISSED:'
  console.log(`encoder/memory        device ${device} GB, process ${resident} GB (${before} before), ${verdict} 3 GB`)
  return 0
}

const names = process.argv.slice(2)
const unknown = names.find(name => !Object.hasOwn(benches, name))
if (unknown !== undefined) {
  console.error(`[bench] expected ${Object.keys(benches).join(', ')} but received '${unknown}'`)
  process.exit(2)
}
let skipped = 0
for (const name of names.length > 0 ? names : Object.keys(benches)) skipped += await benches[name]()
if (skipped > 0) console.log(`${skipped} comparisons skipped`)
