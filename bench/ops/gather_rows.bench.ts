import { binding } from '../../lib/native.js'
import { gatherRows } from '../../lib/ops/gather_rows.js'
import { gatherRowsBackward, gatherRowsForward } from '../../lib/reference/gather_rows.js'
import { Tensor } from '../../lib/runtime/tensor.js'
import { Philox } from '../../lib/util/philox.js'
import { expectClose } from '../../test/support/close.js'
import { type OpCase, runOpBench } from '../support/op_bench.js'
import { normals } from '../support/values.js'

const WIDTH = 128

export default () =>
  runOpBench({
    op: 'gather_rows',
    *cases(device): Iterable<OpCase> {
      for (const [rows, count] of [
        [32_000, 4800],
        [32_000, 32_000],
        [300, 32_000],
      ]) {
        const rng = new Philox(rows + count)
        const index = Int32Array.from({ length: count }, () => rng.below(rows))
        const values = normals(rows * WIDTH)
        const x = Tensor.from(device, values, [rows, WIDTH])
        const ids = Tensor.from(device, index)
        yield {
          shape: `forward, ${count} of ${rows} rows, D=${WIDTH}`,
          bytes: 2 * count * WIDTH * 4,
          operations: 0,
          bound: 'copy',
          target: 0.7,
          run: () => gatherRows(x, ids).dispose(),
          async check() {
            const out = gatherRows(x, ids)
            const want = gatherRowsForward(Float64Array.from(values), index, WIDTH)
            expectClose(await out.read(), want, { absolute: 0 })
            out.dispose()
          },
          dispose() {},
        }
        const gradients = normals(count * WIDTH)
        const dout = Tensor.from(device, gradients, [count, WIDTH])
        const dx = Tensor.empty(device, 'float32', x.shape)
        const call = () => binding.gather_rows_backward(device.handle, ids.handle, dout.handle, dx.handle, false, false)
        yield {
          shape: `backward, ${count} of ${rows} rows, D=${WIDTH}`,
          bytes: (count + rows) * WIDTH * 4,
          operations: count * WIDTH,
          bound: 'copy',
          target: 0.7,
          run: call,
          async check() {
            call()
            const want = gatherRowsBackward(Float64Array.from(gradients), index, rows, WIDTH)
            expectClose(await dx.read(), want, { absolute: 0, relative: (count / rows + 20) * 2 ** -22 })
          },
          dispose() {
            for (const tensor of [x, ids, dout, dx]) tensor.dispose()
          },
        }
      }
    },
  })
