import { l2Normalize } from '../../lib/ops/l2_normalize.js'
import { Tensor } from '../../lib/runtime/tensor.js'
import { expectClose } from '../../test/support/close.js'
import { type OpCase, runOpBench } from '../support/op_bench.js'
import { normals } from '../support/values.js'

export default () =>
  runOpBench({
    op: 'l2_normalize',
    *cases(device): Iterable<OpCase> {
      for (const [rows, width] of [
        [32_000, 128],
        [128, 128],
      ]) {
        const values = normals(rows * width)
        const x = Tensor.from(device, values, [rows, width])
        yield {
          shape: `f32 (${rows}, ${width})`,
          bytes: 2 * rows * width * 4,
          operations: 0,
          bound: 'copy',
          target: 0.7,
          run: () => l2Normalize(x).dispose(),
          async check() {
            const out = l2Normalize(x)
            const row = Float64Array.from(values.subarray((rows - 1) * width))
            const length = Math.hypot(...row)
            const want = row.map(value => value / length)
            expectClose((await out.read()).subarray((rows - 1) * width), want, { absolute: 0, relative: 8 * 2 ** -23 })
            out.dispose()
          },
          dispose: () => x.dispose(),
        }
      }
    },
  })
