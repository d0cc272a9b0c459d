// XGBoost from the system's packages, one fresh Python process for each run.

import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'

export const INSTALL_XGBOOST = 'apt-get install --no-install-recommends python3-xgboost'
const PYTHON = '/usr/bin/python3'

export interface XgboostRun {
  readonly version: string
  /** Seconds. */
  readonly total: number
  readonly binning: number
  readonly boosting: number
  /** Margins of the test rows. */
  readonly scores: readonly number[]
}

export function hasXgboost(): boolean {
  return spawnSync(PYTHON, ['-c', 'import xgboost'], { stdio: 'ignore' }).status === 0
}

/** `folder` holds columns.f32 and labels.f32, training rows first; `leaves` 0 grows by depth. */
export function xgboost(
  folder: string,
  sizes: { readonly train: number; readonly test: number; readonly features: number },
  options: { readonly threads: number; readonly depth: number; readonly leaves: number; readonly trees: number },
): XgboostRun {
  const script = fileURLToPath(new URL('xgboost_step.py', import.meta.url))
  const numbers = [
    sizes.train,
    sizes.test,
    sizes.features,
    options.threads,
    options.depth,
    options.leaves,
    options.trees,
  ]
  const { stdout, stderr, status } = spawnSync(PYTHON, [script, folder, ...numbers.map(String)], {
    encoding: 'utf8',
    maxBuffer: 1 << 28,
  })
  if (status !== 0) throw new Error(`[xgboost_step.py] ${stderr}`)
  return JSON.parse(stdout.trim().split('\n').at(-1)!) as XgboostRun
}
