import { binding } from '../../lib/native.js'
import { piecewiseLinearBackward, piecewiseLinearForward } from '../../lib/reference/piecewise_linear.js'
import { Tensor } from '../../lib/runtime/tensor.js'
import { expectClose } from '../../test/support/close.js'
import { type OpCase, runOpBench } from '../support/op_bench.js'
import { normals } from '../support/values.js'

export default () =>
  runOpBench({
    op: 'piecewise_linear',
    *cases(device): Iterable<OpCase> {
      const count = 33
      for (const [rows, width] of [
        [4096, 768],
        [64, 768],
      ]) {
        const values = normals(rows * width)
        const table = Float32Array.from({ length: count * width }, (_, i) => Math.floor(i / width) / 8 - 2)
        const slants = normals((count + 1) * width)
        const x = Tensor.from(device, values, [rows, width])
        const knots = Tensor.from(device, table, [count, width])
        const slopes = Tensor.from(device, slants, [count + 1, width])
        const offset = Tensor.zeros(device, 'float32', [width])
        const out = Tensor.empty(device, 'float32', [rows, width])
        const { handle } = device
        const curves = [count, knots.handle, slopes.handle] as const
        const forward = () => binding.piecewise_linear_forward(handle, x.handle, ...curves, offset.handle, out.handle)
        const backward = () =>
          binding.piecewise_linear_backward(handle, x.handle, ...curves, x.handle, out.handle, false)
        const row = Float64Array.from(values.subarray(0, width))
        const reference = {
          knots: Float64Array.from(table),
          slopes: Float64Array.from(slants),
          offset: new Float64Array(width),
        }
        const check = async (call: () => void, want: Float64Array) => {
          call()
          // 34 terms of slopes up to 5 and heights up to 20.
          expectClose((await out.read()).subarray(0, width), want, { absolute: 34 * 100 * 2 ** -24 })
        }
        const common = { bound: 'multiply-add' as const, dispose() {} }
        yield {
          ...common,
          shape: `forward  f32 (${rows}, ${width}), ${count} knots`,
          bytes: 2 * rows * width * 4,
          operations: 5 * rows * width * count,
          run: forward,
          check: () => check(forward, piecewiseLinearForward(row, reference)),
        }
        yield {
          ...common,
          shape: `backward f32 (${rows}, ${width}), ${count} knots`,
          bytes: 3 * rows * width * 4,
          operations: 2 * rows * width * count,
          run: backward,
          check: () => check(backward, piecewiseLinearBackward(row, reference, row)),
          dispose: () => [x, knots, slopes, offset, out].forEach(tensor => void tensor.dispose()),
        }
      }
    },
  })
