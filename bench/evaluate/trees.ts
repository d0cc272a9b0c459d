// Boosted trees on every ready table and on the generator: AUC and log loss beside LightGBM's and XGBoost's, the same
// splits and parameters.

import { parseArgs } from 'node:util'
import { auc } from '../../lib/report/metrics.js'
import { markdownTable } from '../../lib/report/table.js'
import { BinnedMatrix } from '../../lib/runtime/binned_matrix.js'
import { Device } from '../../lib/runtime/device.js'
import { GbrtTrainer } from '../../lib/trees/gbrt.js'
import { type GbdtPeer, gbdt, hasGbdt, INSTALL_GBDT } from '../peers/gbdt.js'
import { generate } from '../trees/generator.js'
import { openTable, rolesOf, type TableTask, tableNames } from './tables.js'

const THREADS = 2
/** Of the peers, whose threads spin while they wait; it is quality that counts here. */
const PEER_THREADS = 1
const TREES = 100
const LEAVES = 31
/** What an AUC may lie below LightGBM's. */
const ALLOWED = 0.0005
const GENERATOR = 'generator'
const GENERATED = { train: 1_000_000, test: 200_000, features: 28 }
/** Two-sided 5 % of Student's t for 1, 2, … degrees of freedom. */
const STUDENT = [12.71, 4.3, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26]

interface Quality {
  readonly auc: number
  readonly loss: number
}

/** Of each contender, one for each seed. */
type Qualities = Map<'ours' | GbdtPeer, Quality[]>

/** The command: names of tables, `--seeds`. */
export async function treesMain(args: readonly string[]): Promise<void> {
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: { seeds: { type: 'string', default: '5' } },
  })
  for await (const line of evaluateTrees(positionals, Number(values.seeds))) console.log(line)
}

/** @param names  tables, or `generator`; none for all */
async function* evaluateTrees(names: readonly string[], seeds: number): AsyncGenerator<string> {
  const known = [...tableNames(), GENERATOR]
  const unknown = names.find(name => !known.includes(name))
  if (unknown !== undefined)
    throw new RangeError(`expected a table out of ${known.join(', ')} but received '${unknown}'`)
  if (!(Number.isInteger(seeds) && seeds > 1)) throw new RangeError(`expected --seeds from 2 but received ${seeds}`)
  if (known.length === 1) yield 'no tables beside the project: only the generator is run, all tables are skipped'
  const peers = (['lightgbm', 'xgboost'] as const).filter(hasGbdt)
  for (const peer of ['lightgbm', 'xgboost'] as const) {
    if (!peers.includes(peer)) yield `${peer} is not installed: its columns are skipped; ${INSTALL_GBDT[peer]}`
  }
  const device = new Device({ threads: THREADS })
  const results: [TableTask, Qualities][] = []
  const versions = new Map<GbdtPeer, string>()
  try {
    for (const name of names.length > 0 ? names : known) {
      const begun = performance.now()
      const qualities: Qualities = new Map()
      const add = (contender: 'ours' | GbdtPeer, quality: Quality) =>
        qualities.set(contender, [...(qualities.get(contender) ?? []), quality])
      let task: TableTask | undefined
      // The generator draws a table for each seed, the others split one.
      const runs =
        name === GENERATOR ? Array.from({ length: seeds }, (_, s) => [s]) : [Array.from({ length: seeds }, (_, s) => s)]
      for (const run of runs) {
        task = name === GENERATOR ? generated(run[0]) : (task ?? (await openTable(name)))
        const own = task
        const roles = run.map(seed => rolesOf(own, seed))
        for (const role of roles) add('ours', qualityOf(await scored(device, own, role), own, role))
        for (const peer of peers) {
          const problem = { ...own, roles, threads: PEER_THREADS, trees: TREES, leaves: LEAVES }
          const { version, scores } = gbdt(peer, problem)
          versions.set(peer, version)
          roles.forEach((role, i) => {
            add(peer, qualityOf(scores[i], own, role))
          })
        }
      }
      results.push([task!, qualities])
      yield `${name}: ${describe(task!, qualities).slice(3).join('  ')}  ${((performance.now() - begun) / 1000).toFixed(1)} s`
    }
  } finally {
    device.close()
  }
  yield [...versions].map(([peer, version]) => `${peer} ${version}`).join(', ')
  yield markdownTable(
    ['table', 'rows', 'columns', ...HEADER],
    results.map(([task, qualities]) => describe(task, qualities)),
  )
  yield verdict(results.map(([, qualities]) => qualities))
}

/** Rows of a table drawn anew; those for tests stand last. */
function generated(seed: number): TableTask {
  const { train, test, features } = GENERATED
  const { columns, labels } = generate(train + test, features, seed + 1)
  const names = columns.map((_, f) => `f${f}`)
  return { name: GENERATOR, names, columns, labels, categorical: [], firstTest: train }
}

/** Raw scores of the rows to test, NaN elsewhere. */
async function scored(device: Device, task: TableTask, roles: Uint8Array): Promise<Float64Array> {
  const { names, columns, categorical, labels } = task
  const rowsOf = (role: number) => {
    const rows: number[] = []
    for (let row = 0; row < roles.length; row++) if (roles[row] === role) rows.push(row)
    return rows
  }
  const taken = (rows: readonly number[]) =>
    columns.map(column => {
      const part = new (column.constructor as Float64ArrayConstructor)(rows.length)
      for (let i = 0; i < rows.length; i++) part[i] = column[rows[i]]
      return part
    })
  const [train, test] = [rowsOf(1), rowsOf(2)]
  const matrix = await BinnedMatrix.from(device, { columns: taken(train) }, { names, categorical })
  const trainer = new GbrtTrainer(matrix, { numIterations: TREES, numLeaves: LEAVES })
  const { model } = await trainer.fit({ targets: Float32Array.from(train, row => labels[row]) })
  const raw = await model.predict(device, { columns: taken(test) }, { raw: true })
  trainer.dispose()
  matrix.dispose()
  const scores = new Float64Array(roles.length).fill(Number.NaN)
  test.forEach((row, i) => {
    scores[row] = raw[i]
  })
  return scores
}

function qualityOf(scores: Float64Array, { labels }: TableTask, roles: Uint8Array): Quality {
  const tested = scores.filter((_, row) => roles[row] === 2)
  const wanted = labels.filter((_, row) => roles[row] === 2)
  let loss = 0
  tested.forEach((score, i) => {
    const margin = wanted[i] === 1 ? -score : score
    loss += Math.max(margin, 0) + Math.log1p(Math.exp(-Math.abs(margin)))
  })
  return { auc: auc(tested, wanted), loss: loss / tested.length }
}

const HEADER = ['AUC', 's.d.', 'LightGBM', 'XGBoost', 'ours − LightGBM', 's.e.', 'log loss', 'LightGBM', 'verdict']

const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length
function deviation(values: readonly number[]): number {
  const middle = mean(values)
  return Math.sqrt(values.reduce((sum, value) => sum + (value - middle) ** 2, 0) / (values.length - 1))
}

function describe({ name, labels, columns }: TableTask, qualities: Qualities): string[] {
  const of = (contender: 'ours' | GbdtPeer, what: keyof Quality) => qualities.get(contender)?.map(one => one[what])
  const ours = of('ours', 'auc')!
  const show = (values: readonly number[] | undefined) => (values ? mean(values).toFixed(4) : '')
  const lead = leadOf(qualities)
  const signed = (value: number) => `${value < 0 ? '−' : '+'}${Math.abs(value).toFixed(4)}`
  return [
    name,
    String(labels.length),
    String(columns.length),
    show(ours),
    deviation(ours).toFixed(4),
    show(of('lightgbm', 'auc')),
    show(of('xgboost', 'auc')),
    lead ? signed(lead.mean) : '',
    lead ? lead.error.toFixed(4) : '',
    show(of('ours', 'loss')),
    show(of('lightgbm', 'loss')),
    lead?.verdict ?? '',
  ]
}

/** Our AUC less LightGBM's, over splits that both had. */
function leadOf(qualities: Qualities): { mean: number; error: number; verdict: string } | undefined {
  const [ours, peer] = [qualities.get('ours')!, qualities.get('lightgbm')]
  if (!peer) return undefined
  const leads = ours.map((one, s) => one.auc - peer[s].auc)
  const middle = mean(leads)
  const error = deviation(leads) / Math.sqrt(leads.length)
  const wide = error * (STUDENT[leads.length - 2] ?? 2)
  const verdict = middle >= -ALLOWED ? 'within' : middle + wide >= -ALLOWED ? 'noise' : 'below'
  return { mean: middle, error, verdict }
}

function verdict(all: readonly Qualities[]): string {
  const leads = all.map(leadOf).filter(lead => lead !== undefined)
  if (leads.length === 0) return 'LightGBM is not installed: nothing to compare with'
  const count = (verdict: string) => leads.filter(lead => lead.verdict === verdict).length
  return [
    `AUC within ${ALLOWED} of LightGBM's or better on ${count('within')} of ${leads.length} tables;`,
    `below it by less than splits of the rows explain (5 %) on ${count('noise')}, by more on ${count('below')};`,
    `mean difference ${mean(leads.map(lead => lead.mean)).toFixed(5)}`,
  ].join(' ')
}
