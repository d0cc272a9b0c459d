import { binding } from '../../lib/native.js'
import { layerNorm } from '../../lib/ops/layer_norm.js'
import { layerNormBackward, layerNormForward } from '../../lib/reference/layer_norm.js'
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
          shape: `forward  f32 (${rows}, ${width})`,
          bytes: 2 * rows * width * 4,
          operations: 8 * rows * width,
          bound: 'copy',
          target: rows > 128 ? 0.7 : undefined,
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
          dispose() {},
        }
        const [mean, rstd] = [0, 1].map(() => Tensor.empty(device, 'float32', [rows]))
        const dout = Tensor.from(device, normals(rows * width, 0.5), [rows, width])
        const [out, dx] = [0, 1].map(() => Tensor.empty(device, 'float32', [rows, width]))
        const [dweight, dbias] = [0, 1].map(() => Tensor.zeros(device, 'float32', [width]))
        const { handle } = device
        const backward = () =>
          binding.layer_norm_backward(
            handle,
            x.handle,
            weight.handle,
            mean.handle,
            rstd.handle,
            dout.handle,
            dx.handle,
            false,
            dweight.handle,
            dbias.handle,
          )
        yield {
          shape: `backward f32 (${rows}, ${width})`,
          bytes: 3 * rows * width * 4,
          operations: 16 * rows * width,
          bound: 'copy',
          target: rows > 128 ? 0.7 : undefined,
          run: backward,
          async check() {
            const kept = [out.handle, mean.handle, rstd.handle] as const
            binding.layer_norm_forward(handle, x.handle, weight.handle, bias.handle, 1e-5, ...kept)
            backward()
            const row = (from: Float32Array) => Float64Array.from(from.subarray(0, width))
            const [d, w] = await Promise.all([dout.read(), weight.read()])
            const want = layerNormBackward(row(values), row(w), row(d), 1, width, 1e-5)
            const tolerance = { absolute: width * 2 ** -22, relative: 2 ** -20 }
            expectClose((await dx.read()).subarray(0, width), want.dx, tolerance)
          },
          dispose() {
            for (const tensor of [x, weight, bias, mean, rstd, dout, out, dx, dweight, dbias]) tensor.dispose()
          },
        }
      }
    },
  })
