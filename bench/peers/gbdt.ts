// LightGBM and XGBoost where Python has them, as judges of quality: one fresh process for each table.

import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const PYTHON = '/usr/bin/python3'

export type GbdtPeer = 'lightgbm' | 'xgboost'

export const INSTALL_GBDT: Record<GbdtPeer, string> = {
  lightgbm: 'pip install lightgbm, and name its folder in PYTHONPATH',
  xgboost: 'apt-get install --no-install-recommends python3-xgboost',
}

export interface GbdtProblem {
  readonly columns: readonly (Float32Array | Float64Array)[]
  readonly labels: Float32Array
  readonly categorical: readonly number[]
  /** Of each split, 1 for rows that train and 2 for rows to score. */
  readonly roles: readonly Uint8Array[]
  readonly threads: number
  readonly trees: number
  readonly leaves: number
}

export function hasGbdt(peer: GbdtPeer): boolean {
  return spawnSync(PYTHON, ['-c', `import ${peer}`], { stdio: 'ignore' }).status === 0
}

/** Raw scores of each split, NaN where none were asked for. */
export function gbdt(peer: GbdtPeer, problem: GbdtProblem): { readonly version: string; scores: Float64Array[] } {
  const { columns, labels, categorical, roles, threads, trees, leaves } = problem
  const folder = mkdtempSync(join(tmpdir(), 'seqrisk-bench-'))
  try {
    const bytes = (array: Float32Array | Float64Array) =>
      new Uint8Array(array.buffer, array.byteOffset, array.byteLength)
    writeFileSync(join(folder, 'columns.bin'), Buffer.concat(columns.map(bytes)))
    writeFileSync(join(folder, 'labels.f32'), bytes(labels))
    writeFileSync(join(folder, 'roles.u8'), Buffer.concat(roles))
    const script = fileURLToPath(new URL('gbdt_step.py', import.meta.url))
    const type = columns[0] instanceof Float32Array ? 'float32' : 'float64'
    const numbers = [labels.length, columns.length, roles.length, threads, trees, leaves].map(String)
    const listed = categorical.length > 0 ? [categorical.join(',')] : []
    const { stdout, stderr, status } = spawnSync(PYTHON, [script, folder, peer, type, ...numbers, ...listed], {
      encoding: 'utf8',
    })
    if (status !== 0) throw new Error(`[gbdt_step.py] ${stderr}`)
    const { version } = JSON.parse(stdout.trim().split('\n').at(-1)!) as { version: string }
    const { buffer } = new Uint8Array(readFileSync(join(folder, 'scores.f64')))
    const scores = roles.map((_, s) => new Float64Array(buffer, s * labels.length * 8, labels.length))
    return { version, scores }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}
