import { linear } from '../../lib/ops/linear.js'
import { Tensor } from '../../lib/runtime/tensor.js'
import { expectClose } from '../../test/support/close.js'
import { type OpCase, runOpBench } from '../support/op_bench.js'
import { normals } from '../support/values.js'

export default () =>
  runOpBench({
    op: 'linear',
    *cases(device): Iterable<OpCase> {
      for (const [rows, inWidth, outWidth] of [
        [32_000, 256, 512],
        [32_000, 64, 128],
        [32_000, 128, 384],
        [4000, 256, 256],
        [128, 128, 384],
      ]) {
        const x = Tensor.from(device, normals(rows * inWidth), [rows, inWidth])
        const weight = Tensor.from(device, normals(outWidth * inWidth), [outWidth, inWidth])
        const bias = Tensor.from(device, normals(outWidth))
        yield {
          shape: `f32 (${rows}, ${inWidth}) · (${inWidth}, ${outWidth})`,
          bytes: 4 * (rows * (inWidth + outWidth) + inWidth * outWidth),
          operations: 2 * rows * inWidth * outWidth,
          bound: 'multiply-add',
          target: rows === 32_000 && inWidth === 256 ? 0.85 : undefined,
          run: () => linear(x, weight, bias).dispose(),
          async check() {
            const out = linear(x, weight, bias)
            const [got, a, w, b] = await Promise.all([out.read(), x.read(), weight.read(), bias.read()])
            const row = rows - 1
            const want = Float64Array.from({ length: outWidth }, (_, j) => {
              let sum = b[j]
              for (let k = 0; k < inWidth; k++) sum += a[row * inWidth + k] * w[j * inWidth + k]
              return sum
            })
            expectClose(got.subarray(row * outWidth), want, { absolute: 0, relative: inWidth * 2 ** -24 })
            out.dispose()
          },
          dispose: () => [x, weight, bias].forEach(tensor => void tensor.dispose()),
        }
      }
    },
  })
