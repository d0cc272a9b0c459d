// Random forests of 100 trees, 256 leaves: binning, growing, prediction and AUC beside scikit-learn's.

import { auc } from '../../lib/report/metrics.js'
import { BinnedMatrix } from '../../lib/runtime/binned_matrix.js'
import { Device } from '../../lib/runtime/device.js'
import { RandomForestTrainer } from '../../lib/trees/random_forest.js'
import { hasSklearn, INSTALL_SKLEARN, sklearn } from '../peers/sklearn.js'
import { generate } from './generator.js'

const ROWS = Number(process.env.ROWS ?? 50_000)
const TEST_ROWS = 50_000
const FEATURES = Number(process.env.FEATURES ?? 28)
const TREES = 100
const THREADS = 2

export default async function* (): AsyncGenerator<string> {
  const { columns, labels } = generate(ROWS + TEST_ROWS, FEATURES)
  const train = columns.map(column => column.subarray(0, ROWS))
  const held = columns.map(column => column.subarray(ROWS))
  const targets = labels.subarray(0, ROWS)
  const truth = labels.subarray(ROWS)
  const device = new Device({ threads: THREADS })
  try {
    const begun = performance.now()
    const matrix = await BinnedMatrix.from(device, { columns: train })
    const binned = performance.now()
    const trainer = new RandomForestTrainer(matrix, { numIterations: TREES, minDataInLeaf: 5 })
    const model = await trainer.fit({ targets })
    const grown = performance.now()
    const scores = await model.predict(device, { columns: held })
    const done = performance.now()
    const outside = await trainer.outOfBagScores()
    trainer.dispose()
    matrix.dispose()
    yield `trees/random_forest  f32 (${ROWS}, ${FEATURES}) ${TREES} trees of 256 leaves  ` +
      `binning ${(binned - begun).toFixed(0)} ms  growing ${(grown - binned).toFixed(0)} ms  ` +
      `prediction of ${TEST_ROWS} rows ${(done - grown).toFixed(0)} ms  ` +
      `AUC ${auc(scores, truth).toFixed(4)}  out of bag ${auc(outside, targets).toFixed(4)}`
    if (!hasSklearn()) {
      yield `trees/random_forest  scikit-learn is not installed; ${INSTALL_SKLEARN}`
      return
    }
    const peer = sklearn({ kind: 'forest', columns, labels, testRows: TEST_ROWS, threads: THREADS, size: TREES })
    yield `trees/random_forest  scikit-learn ${peer.version}  growing ${(peer.fit * 1e3).toFixed(0)} ms  ` +
      `prediction ${(peer.predict * 1e3).toFixed(0)} ms  AUC ${auc(peer.scores, truth).toFixed(4)}  ` +
      `ours is ${((peer.fit * 1e3) / (grown - begun)).toFixed(1)}× as fast, ` +
      `${((peer.predict * 1e3) / (done - grown)).toFixed(1)}× in prediction`
  } finally {
    device.close()
  }
}
