// Trees on a card beside the processor of the same machine: binning, boosting and prediction of 1 000 000 × 28 float32,
// 100 trees of 31 leaves; a random forest, K-Means, and an isolation forest. Results are compared first.

import { toLightgbm } from '../../lib/export/lightgbm.js'
import { BinnedMatrix } from '../../lib/runtime/binned_matrix.js'
import { cudaStatus, Device } from '../../lib/runtime/device.js'
import { GbrtTrainer } from '../../lib/trees/gbrt.js'
import { IsolationForest } from '../../lib/trees/isolation_forest.js'
import { kmeans } from '../../lib/trees/kmeans.js'
import { RandomForestTrainer } from '../../lib/trees/random_forest.js'
import { generate } from '../trees/generator.js'

const ROWS = Number(process.env.ROWS ?? 1_000_000)
const FEATURES = Number(process.env.FEATURES ?? 28)
const TREES = Number(process.env.TREES ?? 100)
const TURNS = Number(process.env.TURNS ?? 3)
/** Rows from which a card is worth it are looked for among these. */
const SIZES = [1_000, 3_000, 10_000, 30_000, 100_000]

type Measured = Record<string, number>

/** Milliseconds of each step, the best of some turns; texts and numbers to compare. */
interface Outcome {
  readonly times: Measured
  readonly results: Record<string, string>
}

export default async function* cudaTrees(): AsyncGenerator<string> {
  const begun = performance.now()
  const { devices, missing } = cudaStatus()
  if (devices.length === 0) {
    yield `cuda/trees  SKIPPED: ${missing}`
    return
  }
  const first = new Device({ kind: 'cuda' })
  await first.sync()
  yield `cuda/trees  opening the first device of a process: ${(performance.now() - begun).toFixed(0)} ms`
  first.close()
  const data = generate(ROWS, FEATURES)
  const card = await measure(new Device({ kind: 'cuda' }), data, TURNS)
  const cpu = await measure(new Device({ kind: 'cpu' }), data, 1)
  for (const [name, text] of Object.entries(cpu.results)) {
    if (card.results[name] !== text) yield `cuda/trees  ${name}: the card's result is NOT the CPU's`
  }
  yield `cuda/trees  f32 (${ROWS}, ${FEATURES}), ms: card, CPU, ratio`
  for (const [name, milliseconds] of Object.entries(card.times)) {
    const ratio = cpu.times[name] / milliseconds
    yield `cuda/trees  ${name.padEnd(24)}${milliseconds.toFixed(1).padStart(9)}${cpu.times[name].toFixed(1).padStart(9)}${ratio.toFixed(1).padStart(7)}×`
  }
  for (const rows of SIZES.filter(rows => rows < ROWS)) {
    const columns = data.columns.map(column => column.subarray(0, rows))
    const labels = data.labels.subarray(0, rows)
    const times: number[] = []
    for (const kind of ['cuda', 'cpu'] as const) {
      const device = new Device({ kind })
      const turns: number[] = []
      for (let turn = 0; turn < 3; turn++) turns.push((await boost(device, { columns, labels })).times.total)
      times.push(Math.min(...turns))
      device.close()
    }
    yield `cuda/trees  ${rows} rows, binning and boosting: card ${times[0].toFixed(1)} ms, CPU ${times[1].toFixed(1)} ms`
  }
}

type Data = ReturnType<typeof generate>

async function boost(device: Device, { columns, labels }: Data) {
  const start = performance.now()
  const matrix = await BinnedMatrix.from(device, { columns })
  const binned = performance.now()
  const trainer = new GbrtTrainer(matrix, { objective: 'logistic', numIterations: TREES })
  const { model } = await trainer.fit({ targets: labels })
  const fitted = performance.now()
  trainer.dispose()
  const times = { binning: binned - start, boosting: fitted - binned, total: fitted - start }
  return { times, model, matrix }
}

async function measure(device: Device, data: Data, turns: number): Promise<Outcome> {
  const { columns, labels } = data
  const times: Measured = {}
  const results: Record<string, string> = {}
  const time = async <T>(name: string, work: () => Promise<T>): Promise<T> => {
    const start = performance.now()
    const result = await work()
    times[name] = Math.min(times[name] ?? Number.POSITIVE_INFINITY, performance.now() - start)
    return result
  }
  for (let turn = 0; turn < turns; turn++) {
    const { times: own, model, matrix } = await boost(device, data)
    for (const [name, value] of Object.entries(own)) times[name] = Math.min(times[name] ?? value, value)
    results.boosting = toLightgbm(model)
    await time('predict', () => model.predict(device, { columns }, { raw: true }))
    await time('predict from bins', () => model.predictBinned(matrix, { raw: true }))
    const forest = new RandomForestTrainer(matrix, { numIterations: 10 })
    results.forest = toLightgbm(await time('random forest, 10 trees', () => forest.fit({ targets: labels })))
    forest.dispose()
    matrix.dispose()
    const isolation = await time('isolation forest, fit', () => IsolationForest.fit(device, { columns }))
    const scores = await time('isolation forest, scores', () => isolation.score({ columns }))
    results.isolation = scores.subarray(0, 1000).join()
    const options = { clusters: 100, maxIterations: 20 }
    const { assigned } = await time('K-Means, k = 100, 20 it.', () => kmeans(device, { columns }, options))
    results.clusters = assigned.subarray(0, 10_000).join()
  }
  device.close()
  return { times, results }
}
