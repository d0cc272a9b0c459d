// npm run evaluate -- pu [--sets a,b] [--tuning] [--seeds 10] [--threads 2] [--fresh] [--set name=value]
// The article's experiments on every risk and anomaly set. Each set's figures are kept in build/ as soon as they are there, so
// that a run that was ended goes on where it was.

import { createHash } from 'node:crypto'
import { mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { ACTIVE_TWO_STEP } from '../../../lib/pu/active.js'
import { DEFAULTS, PU_GBRT } from '../../../lib/pu/options.js'
import { Device } from '../../../lib/runtime/device.js'
import { writeFileAtomic } from '../../../lib/util/files.js'
import { packageRoot } from '../../../lib/util/package_root.js'
import { BATCH, experiment, MISSED, type Outcome, openMatrix, ROUNDS } from './experiments.js'
import { report } from './report.js'
import { MOST_ROWS, openSet, reportedSets, tuningSets, WAYS } from './sets.js'

export async function evaluatePu(args: readonly string[]): Promise<void> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      sets: { type: 'string' },
      tuning: { type: 'boolean', default: false },
      seeds: { type: 'string', default: '10' },
      threads: { type: 'string', default: '2' },
      fresh: { type: 'boolean', default: false },
      set: { type: 'string', multiple: true },
    },
  })
  const known = values.tuning ? tuningSets() : reportedSets()
  const names = values.sets?.split(',') ?? known
  const unknown = names.find(name => !known.includes(name))
  if (unknown !== undefined) throw new RangeError(`expected a set out of ${known.join(', ')} but received '${unknown}'`)
  if (names.length === 0) {
    console.log('no tables for PU learning beside the project: nothing to evaluate, all skipped')
    return
  }
  const seeds = Number(values.seeds)
  const options = Object.fromEntries(
    (values.set ?? []).map(text => {
      const [name, value] = text.split('=')
      return [name, value.startsWith('[') || !Number.isNaN(Number(value)) ? JSON.parse(value) : value]
    }),
  )
  const plan = { seeds, options, MOST_ROWS, BATCH, ROUNDS, MISSED, DEFAULTS, PU_GBRT, ACTIVE_TWO_STEP }
  const key = createHash('sha256').update(JSON.stringify(plan)).digest('hex').slice(0, 12)
  const folder = join(packageRoot, 'build', 'evaluate-pu')
  mkdirSync(folder, { recursive: true })
  const device = new Device({ threads: Number(values.threads) })
  const results: Record<string, Outcome[]> = {}
  try {
    for (const name of names) {
      const file = join(folder, `${name}${values.tuning ? '-tuning' : ''}-${key}.json`)
      const kept = values.fresh ? null : readKept(file)
      if (kept) {
        results[name] = kept
        continue
      }
      const begun = performance.now()
      const set = await openSet(name, { isTuning: values.tuning })
      const matrix = await openMatrix(device, set)
      const outcomes: Outcome[] = []
      for (const way of WAYS) {
        for (let seed = 0; seed < seeds; seed++) outcomes.push(await experiment(matrix, set, way, seed, options))
      }
      matrix.dispose()
      await writeFileAtomic(file, JSON.stringify(outcomes))
      results[name] = outcomes
      console.error(`${name}: ${set.truth.length} rows, ${((performance.now() - begun) / 1000).toFixed(0)} s`)
    }
  } finally {
    device.close()
  }
  console.log(report(results))
}

function readKept(file: string): Outcome[] | null {
  try {
    return JSON.parse(readFileSync(file, 'utf8')) as Outcome[]
  } catch {
    return null
  }
}
