// 100 trees of 31 leaves on 1 000 000 × 28 float32: binning, boosting, memory and AUC beside XGBoost's, in turns.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { auc } from '../../lib/report/metrics.js'
import { BinnedMatrix } from '../../lib/runtime/binned_matrix.js'
import { Device } from '../../lib/runtime/device.js'
import { GbrtTrainer } from '../../lib/trees/gbrt.js'
import { hasXgboost, INSTALL_XGBOOST, xgboost } from '../peers/xgboost.js'
import { median } from '../support/median.js'
import { generate } from './generator.js'

const ROWS = Number(process.env.ROWS ?? 1_000_000)
const FEATURES = Number(process.env.FEATURES ?? 28)
const TREES = 100
const THREADS = 2
const TURNS = Number(process.env.TURNS ?? 2)
// LightGBM 4.6's total time over XGBoost's, measured on one machine.
const LIGHTGBM_TO_XGBOOST = 1.3

interface Times {
  readonly binning: number
  readonly boosting: number
  readonly total: number
}

export default async function* (): AsyncGenerator<string> {
  const test = Math.min(200_000, ROWS)
  const { columns, labels } = generate(ROWS + test, FEATURES)
  const train = columns.map(column => column.subarray(0, ROWS))
  const held = columns.map(column => column.subarray(ROWS))
  const targets = labels.subarray(0, ROWS)
  const heldLabels = labels.subarray(ROWS)
  const folder = mkdtempSync(join(tmpdir(), 'seqrisk-bench-'))
  const device = new Device({ threads: THREADS })
  const ours: Times[] = []
  const peers = new Map<string, Times[]>()
  let quality = ''
  try {
    const withPeer = hasXgboost()
    if (withPeer) {
      writeFileSync(join(folder, 'labels.f32'), labels)
      writeFileSync(join(folder, 'columns.f32'), Buffer.concat(columns.map(c => new Uint8Array(c.buffer))))
    } else {
      yield `trees/training  XGBoost is not installed; ${INSTALL_XGBOOST}`
    }
    for (let turn = 0; turn < TURNS; turn++) {
      const begun = performance.now()
      const matrix = await BinnedMatrix.from(device, { columns: train })
      const binned = performance.now()
      const trainer = new GbrtTrainer(matrix, { objective: 'logistic', numIterations: TREES })
      const { model } = await trainer.fit({ targets })
      const done = performance.now()
      ours.push({ binning: binned - begun, boosting: done - binned, total: done - begun })
      const bytes = device.info().peakBytes
      if (turn === 0) {
        const scores = await model.predict(device, { columns: held }, { raw: true })
        const perRow = (bytes - 1.2 * ROWS * FEATURES) / ROWS
        quality = `AUC ${auc(scores, heldLabels).toFixed(4)}  memory ${(bytes / 1e6).toFixed(0)} MB = 1.2 × bins + ${perRow.toFixed(1)} bytes a row`
        // Refits: other targets, same bins.
        const started = performance.now()
        for (let i = 0; i < 3; i++) await trainer.fit({ targets })
        quality += `  refit ${((performance.now() - started) / 3 / (done - binned)).toFixed(2)}× a fit`
      }
      trainer.dispose()
      matrix.dispose()
      if (!withPeer) continue
      for (const [name, depth, leaves] of [
        ['XGBoost depth 6', 6, 0],
        ['XGBoost 31 leaves', 0, 31],
      ] as const) {
        const run = xgboost(
          folder,
          { train: ROWS, test, features: FEATURES },
          { threads: THREADS, depth, leaves, trees: TREES },
        )
        const label = `${name} ${run.version} AUC ${auc(run.scores, heldLabels).toFixed(4)}`
        const times = { binning: run.binning * 1e3, boosting: run.boosting * 1e3, total: run.total * 1e3 }
        peers.set(label, [...(peers.get(label) ?? []), times])
      }
    }
    const line = (name: string, times: readonly Times[]) =>
      `${name}  binning ${median(times.map(t => t.binning)).toFixed(0)} ms  ` +
      `boosting ${median(times.map(t => t.boosting)).toFixed(0)} ms  total ${median(times.map(t => t.total)).toFixed(0)} ms`
    const total = median(ours.map(t => t.total))
    yield `trees/training  f32 (${ROWS}, ${FEATURES}) ${TREES} trees  ${line('ours', ours)}  ${quality}`
    for (const [name, times] of peers) {
      const ratio = median(times.map(t => t.total)) / total
      const lightgbm = name.startsWith('XGBoost depth')
        ? ` (LightGBM by its ratio: ${(ratio * LIGHTGBM_TO_XGBOOST).toFixed(2)}×)`
        : ''
      yield `trees/training  ${line(name, times)}  ours is ${ratio.toFixed(2)}× as fast${lightgbm}`
    }
  } finally {
    device.close()
    rmSync(folder, { recursive: true, force: true })
  }
}
