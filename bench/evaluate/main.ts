// npm run evaluate -- [all | TASK…]   encoders on every task in ../shared/tasks, see transfer/main.ts
// npm run evaluate -- trees NAME…     boosted trees on every table of the list there, beside LightGBM and XGBoost
// npm run evaluate -- pu              PU and active learning on tables, see pu/main.ts

import { evaluatePu } from './pu/main.js'
import { evaluateTasks } from './transfer/main.js'
import { treesMain } from './trees.js'

const [what, ...rest] = process.argv.slice(2)
try {
  if (what === 'pu') await evaluatePu(rest)
  else if (what === 'trees') await treesMain(rest)
  else await evaluateTasks(process.argv.slice(2))
} catch (error) {
  if (!(error instanceof RangeError)) throw error
  console.error(error.message)
  process.exitCode = 2
}
