// scikit-learn from the system's packages, one fresh Python process for each run.

import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

export const INSTALL_SKLEARN = 'apt-get install --no-install-recommends python3-sklearn'
const PYTHON = '/usr/bin/python3'

export interface SklearnRun {
  readonly version: string
  /** Seconds. */
  readonly fit: number
  readonly predict: number
  /** Of the test rows; of an isolation forest, of the rows that it was fitted on. */
  readonly scores: readonly number[]
  /** Of clusters. */
  readonly inertia?: number
  readonly iterations?: number
}

export interface SklearnProblem {
  readonly kind: 'forest' | 'isolation' | 'kmeans'
  /** The rows to train on first. */
  readonly columns: readonly Float32Array[]
  readonly labels?: Float32Array
  readonly testRows?: number
  readonly threads: number
  /** Trees or clusters. */
  readonly size: number
}

export function hasSklearn(): boolean {
  return spawnSync(PYTHON, ['-c', 'import sklearn'], { stdio: 'ignore' }).status === 0
}

export function sklearn({ kind, columns, labels, testRows = 0, threads, size }: SklearnProblem): SklearnRun {
  const folder = mkdtempSync(join(tmpdir(), 'seqrisk-bench-'))
  try {
    const bytes = columns.map(({ buffer, byteOffset, byteLength }) => new Uint8Array(buffer, byteOffset, byteLength))
    writeFileSync(join(folder, 'columns.f32'), Buffer.concat(bytes))
    if (labels) writeFileSync(join(folder, 'labels.f32'), labels)
    const script = fileURLToPath(new URL('sklearn_step.py', import.meta.url))
    const numbers = [columns[0].length - testRows, testRows, columns.length, threads, size]
    const { stdout, stderr, status } = spawnSync(PYTHON, [script, folder, kind, ...numbers.map(String)], {
      encoding: 'utf8',
      maxBuffer: 1 << 28,
      env: { ...process.env, OMP_NUM_THREADS: String(threads), OPENBLAS_NUM_THREADS: String(threads) },
    })
    if (status !== 0) throw new Error(`[sklearn_step.py] ${stderr}`)
    return JSON.parse(stdout.trim().split('\n').at(-1)!) as SklearnRun
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}
