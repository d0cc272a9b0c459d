import { dropout } from '../../lib/ops/dropout.js'
import { dropoutForward } from '../../lib/reference/dropout.js'
import { Tensor } from '../../lib/runtime/tensor.js'
import { expectClose } from '../../test/support/close.js'
import { type OpCase, runOpBench } from '../support/op_bench.js'
import { normals } from '../support/values.js'

export default () =>
  runOpBench({
    op: 'dropout',
    *cases(device): Iterable<OpCase> {
      for (const [rows, width] of [
        [32_000, 128],
        [128, 128],
      ]) {
        const values = normals(rows * width)
        const x = Tensor.from(device, values, [rows, width])
        const options = { rate: 0.1, seed: 3, offset: 0 }
        yield {
          shape: `f32 (${rows}, ${width})`,
          bytes: 2 * rows * width * 4,
          operations: 0,
          bound: 'copy',
          target: 0.7,
          run: () => dropout(x, options).dispose(),
          async check() {
            const out = dropout(x, options)
            const want = dropoutForward(Float64Array.from(values.subarray(0, 2000)), 0.1, 3, 0)
            expectClose((await out.read()).subarray(0, 2000), want, { absolute: 0, relative: 2 ** -23 })
            out.dispose()
          },
          dispose: () => x.dispose(),
        }
      }
    },
  })
