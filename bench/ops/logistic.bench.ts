import { logisticGradient } from '../../lib/ops/logistic.js'
import { logisticGradient as reference } from '../../lib/reference/logistic.js'
import { Tensor } from '../../lib/runtime/tensor.js'
import { expectClose } from '../../test/support/close.js'
import { type OpCase, runOpBench } from '../support/op_bench.js'
import { normals } from '../support/values.js'

export default () =>
  runOpBench({
    op: 'logistic',
    *cases(device): Iterable<OpCase> {
      const [rows, width] = [32_000, 256]
      for (const { problems, outputs } of [
        { problems: 1, outputs: 1 },
        { problems: 25, outputs: 1 },
        { problems: 5, outputs: 4 },
      ]) {
        const values = normals(rows * width)
        const x = Tensor.from(device, values, [rows, width])
        const classes = Int32Array.from({ length: problems * rows }, (_, i) => i % Math.max(2, outputs))
        const target = Tensor.from(device, classes, [problems, rows])
        const problem = Tensor.from(
          device,
          Int32Array.from({ length: problems }, (_, a) => a),
        )
        const weights = normals(problems * outputs * width, 0.05)
        const weight = Tensor.from(device, weights, [problems, outputs, width])
        const isMany = problems * outputs > 1
        const run = () => {
          const { loss, gradient } = logisticGradient(x, target, problem, weight)
          for (const tensor of [loss, gradient]) tensor.dispose()
        }
        yield {
          shape: `f32 (${rows}, ${width}), ${problems} × ${outputs} outputs`,
          bytes: rows * width * 4,
          operations: 4 * rows * width * problems * outputs,
          bound: isMany ? 'multiply-add' : 'copy',
          target: isMany ? undefined : 0.7,
          run,
          async check() {
            const { loss, gradient } = logisticGradient(x, target, problem, weight)
            const want = reference(values, classes, weights.subarray(0, outputs * width), rows, width, outputs)
            const [[high, low], got] = [await loss.read(), await gradient.read()]
            expectClose([high + low], [want.loss], { absolute: 0, relative: 2 ** -18 })
            // Sums of rows numbers of about 1 that cancel.
            const tolerance = { absolute: rows * 2 ** -20, relative: 2 ** -18 }
            expectClose(got.subarray(0, outputs * width), want.gradient, tolerance)
            for (const tensor of [loss, gradient]) tensor.dispose()
          },
          dispose: () => [x, target, problem, weight].forEach(tensor => void tensor.dispose()),
        }
      }
    },
  })
