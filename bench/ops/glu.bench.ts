import { glu } from '../../lib/ops/glu.js'
import { Tensor } from '../../lib/runtime/tensor.js'
import { expectClose } from '../../test/support/close.js'
import { type OpCase, runOpBench } from '../support/op_bench.js'
import { normals } from '../support/values.js'

export default () =>
  runOpBench({
    op: 'glu',
    *cases(device): Iterable<OpCase> {
      for (const [rows, width] of [
        [32_000, 128],
        [128, 128],
      ]) {
        const values = normals(rows * 2 * width)
        const x = Tensor.from(device, values, [rows, 2 * width])
        yield {
          shape: `f32 (${rows}, ${2 * width})`,
          bytes: 3 * rows * width * 4,
          operations: 0,
          bound: 'copy',
          target: 0.7,
          run: () => glu(x).dispose(),
          async check() {
            const out = glu(x)
            const row = values.subarray((rows - 1) * 2 * width)
            const want = Float64Array.from({ length: width }, (_, i) => row[i] / (1 + Math.exp(-row[width + i])))
            expectClose((await out.read()).subarray((rows - 1) * width), want, { absolute: 0, relative: 4 * 2 ** -23 })
            out.dispose()
          },
          dispose: () => x.dispose(),
        }
      }
    },
  })
