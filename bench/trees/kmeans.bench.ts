// K-Means of 100 clusters: time, iterations and inertia beside scikit-learn's, each from its own k-means++ seeds.

import { Device } from '../../lib/runtime/device.js'
import { kmeans } from '../../lib/trees/kmeans.js'
import { hasSklearn, INSTALL_SKLEARN, sklearn } from '../peers/sklearn.js'
import { generate } from './generator.js'

const FEATURES = Number(process.env.FEATURES ?? 28)
const SIZES = process.env.ROWS ? [Number(process.env.ROWS)] : [20_000, 1_000_000]
/** scikit-learn takes long beyond. */
const MOST_PEER_ROWS = 100_000
const CLUSTERS = 100
const THREADS = 2

export default async function* (): AsyncGenerator<string> {
  const device = new Device({ threads: THREADS })
  try {
    for (const rows of SIZES) {
      const { columns } = generate(rows, FEATURES)
      const each = (ms: number, iterations: number) =>
        `${((ms * 1e6) / rows / iterations).toFixed(0)} ns a row and iteration`
      // The seeds alone, then all of it.
      const begun = performance.now()
      await kmeans(device, { columns }, { clusters: CLUSTERS, maxIterations: 0 })
      const seeded = performance.now()
      const { iterations, inertia } = await kmeans(device, { columns }, { clusters: CLUSTERS })
      const took = performance.now() - seeded
      yield `trees/kmeans  f32 (${rows}, ${FEATURES}) ${CLUSTERS} clusters  ${took.toFixed(0)} ms, ` +
        `seeds ${(seeded - begun).toFixed(0)} of them  ${iterations} iterations, ` +
        `${each(took - (seeded - begun), iterations)}  inertia ${inertia.toExponential(4)}`
      if (rows > MOST_PEER_ROWS) continue
      if (!hasSklearn()) {
        yield `trees/kmeans  scikit-learn is not installed; ${INSTALL_SKLEARN}`
        continue
      }
      const peer = sklearn({ kind: 'kmeans', columns, threads: THREADS, size: CLUSTERS })
      yield `trees/kmeans  scikit-learn ${peer.version}  ${(peer.fit * 1e3).toFixed(0)} ms  ` +
        `${peer.iterations} iterations  inertia ${peer.inertia!.toExponential(4)}  ` +
        `ours is ${((peer.fit * 1e3) / took).toFixed(1)}× as fast`
    }
  } finally {
    device.close()
  }
}
