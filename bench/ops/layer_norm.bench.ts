import { layerNorm } from '../../lib/ops/layer_norm.js'
import { layerNormForward } from '../../lib/reference/layer_norm.js'
import { Tensor } from '../../lib/runtime/tensor.js'
import { expectClose } from '../../test/support/close.js'
import { type OpCase, runOpBench } from '../support/op_bench.js'
import { normals } from '../support/values.js'

export default () =>
  runOpBench({
    op: 'layer_norm',
    *cases(device): Iterable<OpCase> {
      for (const [rows, width] of [
        [32_000, 256],
        [65_536, 512],
        [9973, 130],
        [128, 128],
      ]) {
        const values = normals(rows * width)
        const x = Tensor.from(device, values, [rows, width])
        const weight = Tensor.from(device, normals(width))
        const bias = Tensor.from(device, normals(width))
        yield {
          shape: `f32 (${rows}, ${width})`,
          bytes: 2 * rows * width * 4,
          operations: 8 * rows * width,
          bound: 'copy',
          target: 0.7,
          run: () => layerNorm(x, weight, bias).dispose(),
          async check() {
            const out = layerNorm(x, weight, bias)
            const [got, w, b] = await Promise.all([out.read(), weight.read(), bias.read()])
            const want = layerNormForward(
              Float64Array.from(values.subarray(0, width)),
              Float64Array.from(w),
              Float64Array.from(b),
              1,
              width,
              1e-5,
            )
            expectClose(got.subarray(0, width), want, { absolute: width * 2 ** -24, relative: 4 * 2 ** -24 })
            out.dispose()
          },
          dispose: () => [x, weight, bias].forEach(tensor => void tensor.dispose()),
        }
      }
    },
  })
