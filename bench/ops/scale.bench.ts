import { binding } from '../../lib/native.js'
import { Tensor } from '../../lib/runtime/tensor.js'
import { expectClose } from '../../test/support/close.js'
import { type OpCase, runOpBench } from '../support/op_bench.js'
import { normals } from '../support/values.js'

export default () =>
  runOpBench({
    op: 'scale',
    *cases(device): Iterable<OpCase> {
      for (const accumulate of [false, true]) {
        const [rows, width] = [32_000, 128]
        const values = normals(rows * width)
        const x = Tensor.from(device, values, [rows, width])
        const out = Tensor.empty(device, 'float32', [rows, width])
        const call = () => binding.scale_forward(device.handle, x.handle, 0.5, out.handle, accumulate)
        yield {
          shape: `${accumulate ? 'added to' : 'assigned'}, f32 (${rows}, ${width})`,
          bytes: (accumulate ? 3 : 2) * rows * width * 4,
          operations: rows * width,
          bound: 'copy',
          target: 0.7,
          run: call,
          async check() {
            out.fill(0)
            call()
            const want = Float64Array.from(values, value => 0.5 * value)
            expectClose(await out.read(), want, { absolute: 0 })
          },
          dispose: () => [x, out].forEach(tensor => void tensor.dispose()),
        }
      }
    },
  })
