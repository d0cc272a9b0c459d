// Row-features a second against additions in L1, and against the copy of the bytes where those are the slower ones.

import { gbrtHistogram, HISTOGRAM_CELLS } from '../../lib/ops/gbrt_histogram.js'
import { gbrtHistogram as reference } from '../../lib/reference/gbrt_histogram.js'
import { BinnedMatrix } from '../../lib/runtime/binned_matrix.js'
import { Tensor } from '../../lib/runtime/tensor.js'
import { TestRandom } from '../../test/support/random.js'
import { type OpCase, runOpBench } from '../support/op_bench.js'

const SHIFT = 30

export default () =>
  runOpBench({
    op: 'gbrt_histogram',
    async *cases(device): AsyncIterable<OpCase> {
      for (const [rows, features, oneIn, values] of [
        [1_000_000, 28, 1, 255],
        [1_000_000, 28, 2, 255],
        [1_000_000, 28, 8, 255],
        [1_000_000, 28, 1, 2],
        [200_000, 200, 1, 255],
        [10_000, 28, 1, 255],
        [1_000, 10, 1, 255],
      ]) {
        const random = new TestRandom(rows + features)
        const columns = Array.from({ length: features }, () =>
          Uint8Array.from({ length: rows }, () => random.integer(0, values - 1)),
        )
        const matrix = await BinnedMatrix.from(device, { columns }, { sampleRows: 20_000 })
        const g = BigInt64Array.from({ length: rows }, () => BigInt(random.integer(-(2 ** 20), 2 ** 20)))
        const h = BigInt64Array.from({ length: rows }, () => BigInt(random.integer(0, 2 ** 17)))
        const packed = g.map((value, r) => (value << BigInt(SHIFT)) + h[r])
        const halves = Tensor.from(device, new Int32Array(packed.buffer), [rows, 2])
        const some = Int32Array.from(Array(rows).keys()).filter(() => random.next() * oneIn < 1)
        const index = oneIn > 1 ? Tensor.from(device, some) : undefined
        const count = index ? some.length : rows
        yield {
          shape: `u8 (${rows}, ${features})${oneIn > 1 ? ` rows 1/${oneIn}` : ''}${values < 255 ? ` ${values} values` : ''}`,
          bytes: count * (features + 8),
          operations: count * features,
          bound: 'update',
          target: 0.7,
          run: () => gbrtHistogram(matrix, halves, SHIFT, index).dispose(),
          async check() {
            const out = await gbrtHistogram(matrix, halves, SHIFT, index).read()
            const want = reference(await matrix.read(), features, g, h, index ? some : g.keys(), HISTOGRAM_CELLS)
            const got = new BigInt64Array(out.buffer)
            if (!want.every((value, i) => value === got[i])) throw new Error('histogram differs from the reference')
          },
          dispose() {
            matrix.dispose()
            halves.dispose()
            index?.dispose()
          },
        }
      }
    },
  })
