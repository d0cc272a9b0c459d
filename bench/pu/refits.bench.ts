// Two-step PU of 5 + 5 rounds of 50 trees beside one fit of 500 trees, and beside the same loop around XGBoost, which bins every
// round anew; memory over the rounds; K-Means of a batch.

import { LITERAL } from '../../lib/pu/options.js'
import { twoStepPu } from '../../lib/pu/two_step.js'
import { auc } from '../../lib/report/metrics.js'
import { BinnedMatrix } from '../../lib/runtime/binned_matrix.js'
import { Device } from '../../lib/runtime/device.js'
import { GbrtTrainer } from '../../lib/trees/gbrt.js'
import { kmeans } from '../../lib/trees/kmeans.js'
import { hasSklearn, INSTALL_SKLEARN, sklearn } from '../peers/sklearn.js'
import { hasXgboost, INSTALL_XGBOOST } from '../peers/xgboost.js'
import { xgboostPu } from '../peers/xgboost_pu.js'
import { hiddenPositives } from './hidden.js'

const ROWS = Number(process.env.ROWS ?? 1_000_000)
const FEATURES = Number(process.env.FEATURES ?? 28)
const THREADS = 2
const ROUNDS = 5
const TREES = 50

export default async function* (): AsyncGenerator<string> {
  const device = new Device({ threads: THREADS })
  try {
    const { columns, truth, known } = hiddenPositives(ROWS, FEATURES)
    const begun = performance.now()
    const matrix = await BinnedMatrix.from(device, { columns })
    const binning = (performance.now() - begun) / 1000
    const name = `pu/refits  f32 (${ROWS}, ${FEATURES}) ${ROUNDS} + ${ROUNDS} rounds of ${TREES} trees`
    const unlabelled = [...known.keys()].filter(row => !known[row])
    const quality = (scores: Float64Array) =>
      auc(
        unlabelled.map(row => scores[row]),
        unlabelled.map(row => truth[row]),
      ).toFixed(4)

    // The targets are those of the first and of the last round. Late trees of a long fit split off few rows, and cost half as
    // much as the first fifty, of which the rounds are made: long and short fits are both shown.
    const fit = async (numIterations: number, targets: Float32Array) => {
      const trainer = new GbrtTrainer(matrix, { objective: 'logistic', numIterations })
      const started = performance.now()
      await trainer.fit({ targets })
      const seconds = (performance.now() - started) / 1000
      trainer.dispose()
      return seconds
    }
    const allTrees = 2 * ROUNDS * TREES
    const hard = await fit(allTrees, Float32Array.from(known))
    const memory: number[] = []
    const started = performance.now()
    const { scores } = await twoStepPu(
      { matrix, positives: known, data: { columns } },
      {
        rounds: [ROUNDS, ROUNDS],
        convergence: 0,
        onProgress: ({ done }) => {
          if (Number.isInteger(done)) memory[done] = process.memoryUsage().rss
        },
      },
    )
    const own = (performance.now() - started) / 1000
    const softTargets = Float32Array.from(scores, (score, row) => (known[row] ? 1 : score))
    const soft = await fit(allTrees, softTargets)
    const short = 2 * ROUNDS * (await fit(TREES, softTargets))
    const beside = (seconds: number) => `${(own / seconds).toFixed(2)}× (${seconds.toFixed(2)} s)`
    const rss = (at: number) => `${(memory[at] / 1e6).toFixed(0)} MB`
    yield `${name}  ${own.toFixed(2)} s; ${2 * ROUNDS} fits of ${TREES} trees alone ` +
      `${beside(short)}; one fit of ${allTrees} trees on soft targets ${beside(soft)}, on known against unlabelled ` +
      `${beside(hard)}  AUC ${quality(scores)}  resident after round 2 ${rss(2)}, 6 ${rss(6)}, 10 ${rss(10)}`
    if (process.env.LITERAL) {
      const { scores } = await twoStepPu({ matrix, positives: known }, LITERAL)
      yield `${name}  by the letter: AUC ${quality(scores)}`
    }
    if (hasXgboost()) {
      const { version, seconds } = xgboostPu(columns, known, { threads: THREADS, rounds: ROUNDS, trees: TREES })
      yield `${name}  XGBoost ${version}'s scikit-style fit ${seconds.toFixed(1)} s: ours with binning ` +
        `(${binning.toFixed(2)} s) is ${(seconds / (own + binning)).toFixed(1)}× as fast`
    } else yield `pu/refits  XGBoost is not installed; ${INSTALL_XGBOOST}`

    const some = columns.map(column => column.subarray(0, 20_000))
    const clustering = performance.now()
    const { inertia } = await kmeans(device, { columns: some }, { clusters: 100 })
    const took = performance.now() - clustering
    if (hasSklearn()) {
      const peer = sklearn({ kind: 'kmeans', columns: some, threads: THREADS, size: 100 })
      yield `pu/refits  K-Means of 100 out of 20000 × ${FEATURES}: ${took.toFixed(0)} ms, scikit-learn ${peer.version} ` +
        `${(peer.fit * 1e3).toFixed(0)} ms (${((peer.fit * 1e3) / took).toFixed(1)}×), ` +
        `inertia ${inertia.toExponential(3)} and ${peer.inertia!.toExponential(3)}`
    } else yield `pu/refits  scikit-learn is not installed; ${INSTALL_SKLEARN}`
    matrix.dispose()
  } finally {
    device.close()
  }
}
