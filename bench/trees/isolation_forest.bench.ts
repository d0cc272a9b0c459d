// Isolation forests of 100 trees of 256 rows: growing, scores of all rows and AUC beside scikit-learn's.

import { auc } from '../../lib/report/metrics.js'
import { Device } from '../../lib/runtime/device.js'
import { IsolationForest } from '../../lib/trees/isolation_forest.js'
import { hasSklearn, INSTALL_SKLEARN, sklearn } from '../peers/sklearn.js'
import { generate } from './generator.js'

const ROWS = Number(process.env.ROWS ?? 200_000)
const FEATURES = Number(process.env.FEATURES ?? 28)
const TREES = 100
const THREADS = 2
/** One row in so many is unusual: farther from the middle by this factor. */
const EVERY = 100
const FACTOR = 1.5

export default async function* (): AsyncGenerator<string> {
  const { columns } = generate(ROWS, FEATURES)
  const unusual = Float32Array.from({ length: ROWS }, (_, row) => Number(row % EVERY === 0))
  for (const column of columns) for (let row = 0; row < ROWS; row += EVERY) column[row] *= FACTOR
  const device = new Device({ threads: THREADS })
  try {
    for (const extension of [0, 1]) {
      const begun = performance.now()
      const forest = await IsolationForest.fit(device, { columns }, { trees: TREES, extension })
      const grown = performance.now()
      const scores = await forest.score({ columns })
      const done = performance.now()
      const name = extension ? 'oblique cuts' : 'cuts along the axes'
      yield `trees/isolation_forest  f32 (${ROWS}, ${FEATURES}) ${TREES} trees, ${name}  ` +
        `growing ${(grown - begun).toFixed(0)} ms  scores ${(done - grown).toFixed(0)} ms  ` +
        `AUC ${auc(scores, unusual).toFixed(4)}`
      if (extension) continue
      if (!hasSklearn()) {
        yield `trees/isolation_forest  scikit-learn is not installed; ${INSTALL_SKLEARN}`
        continue
      }
      const peer = sklearn({ kind: 'isolation', columns, threads: THREADS, size: TREES })
      yield `trees/isolation_forest  scikit-learn ${peer.version}  growing ${(peer.fit * 1e3).toFixed(0)} ms  ` +
        `scores ${(peer.predict * 1e3).toFixed(0)} ms  AUC ${auc(peer.scores, unusual).toFixed(4)}  ` +
        `ours is ${((peer.fit * 1e3) / (grown - begun)).toFixed(1)}× as fast in growing, ` +
        `${((peer.predict * 1e3) / (done - grown)).toFixed(1)}× in scores`
    }
  } finally {
    device.close()
  }
}
