// Time of binning and of boosting against rows and against features: nanoseconds for each value and tree.

import { BinnedMatrix } from '../../lib/runtime/binned_matrix.js'
import { Device } from '../../lib/runtime/device.js'
import { GbrtTrainer } from '../../lib/trees/gbrt.js'
import { normals } from '../support/values.js'

const TREES = 20
const SHAPES = [
  [10_000, 28],
  [100_000, 28],
  [1_000_000, 28],
  [10_000_000, 10],
  [100_000, 10],
  [100_000, 100],
  [100_000, 1000],
] as const

export default async function* (): AsyncGenerator<string> {
  const device = new Device({ threads: 2 })
  try {
    for (const [rows, features] of SHAPES) {
      // Shifts of one array: columns that differ, without the time to make them.
      const values = normals(rows + features * 97)
      const columns = Array.from({ length: features }, (_, f) => values.subarray(f * 97, f * 97 + rows))
      const targets = columns[0].map((value, r) => (value + columns[1][r] * columns[2][r] > 0.3 ? 1 : 0))
      const begun = performance.now()
      const matrix = await BinnedMatrix.from(device, { columns })
      const binned = performance.now()
      const trainer = new GbrtTrainer(matrix, { numIterations: TREES })
      await trainer.fit({ targets })
      const done = performance.now()
      const each = (ms: number) => ((ms * 1e6) / rows / features).toFixed(2)
      yield `trees/scaling  f32 (${rows}, ${features})  binning ${(binned - begun).toFixed(0)} ms = ${each(binned - begun)} ns a value  ` +
        `${TREES} trees ${(done - binned).toFixed(0)} ms = ${each((done - binned) / TREES)} ns a value and tree`
      trainer.dispose()
      matrix.dispose()
    }
  } finally {
    device.close()
  }
}
