// The two-step loop around XGBoost's scikit-style fit, in a Python process of its own.

import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const PYTHON = '/usr/bin/python3'

export interface XgboostPuRun {
  readonly version: string
  readonly seconds: number
}

export function xgboostPu(
  columns: readonly Float32Array[],
  known: Uint8Array,
  { threads, rounds, trees }: { readonly threads: number; readonly rounds: number; readonly trees: number },
): XgboostPuRun {
  const folder = mkdtempSync(join(tmpdir(), 'seqrisk-bench-'))
  try {
    const bytes = columns.map(({ buffer, byteOffset, byteLength }) => new Uint8Array(buffer, byteOffset, byteLength))
    writeFileSync(join(folder, 'columns.f32'), Buffer.concat(bytes))
    writeFileSync(join(folder, 'known.f32'), Float32Array.from(known))
    const script = fileURLToPath(new URL('xgboost_pu_step.py', import.meta.url))
    const numbers = [known.length, columns.length, threads, rounds, trees].map(String)
    const { stdout, stderr, status } = spawnSync(PYTHON, [script, folder, ...numbers], { encoding: 'utf8' })
    if (status !== 0) throw new Error(`[xgboost_pu_step.py] ${stderr}`)
    return JSON.parse(stdout.trim().split('\n').at(-1)!) as XgboostPuRun
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}
