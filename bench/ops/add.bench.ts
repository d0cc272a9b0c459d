import { add } from '../../lib/ops/add.js'
import { addForward } from '../../lib/reference/add.js'
import { Tensor } from '../../lib/runtime/tensor.js'
import { expectClose } from '../../test/support/close.js'
import { type OpCase, runOpBench } from '../support/op_bench.js'
import { normals } from '../support/values.js'

export default () =>
  runOpBench({
    op: 'add',
    *cases(device): Iterable<OpCase> {
      for (const [rows, width] of [
        [32_000, 128],
        [32_000, 512],
        [128, 128],
      ]) {
        const values = normals(rows * width)
        const a = Tensor.from(device, values, [rows, width])
        const b = Tensor.from(device, values.toReversed(), [rows, width])
        yield {
          shape: `f32 (${rows}, ${width})`,
          bytes: 3 * rows * width * 4,
          operations: rows * width,
          bound: 'copy',
          target: 0.7,
          run: () => add(a, b).dispose(),
          async check() {
            const out = add(a, b)
            const want = addForward(Float64Array.from(values), Float64Array.from(values.toReversed()))
            expectClose(await out.read(), want, { absolute: 0, relative: 2 ** -24 })
            out.dispose()
          },
          dispose: () => [a, b].forEach(tensor => void tensor.dispose()),
        }
      }
    },
  })
