import { binding } from '../../lib/native.js'
import { linear } from '../../lib/ops/linear.js'
import type { Device } from '../../lib/runtime/device.js'
import { Tensor } from '../../lib/runtime/tensor.js'
import { expectClose } from '../../test/support/close.js'
import { benchPrecision } from '../support/device.js'
import { type OpCase, runOpBench } from '../support/op_bench.js'
import { normals } from '../support/values.js'

const shapes = [
  [32_000, 256, 512],
  [32_000, 64, 128],
  [32_000, 128, 384],
  [4000, 256, 256],
  [128, 128, 384],
] as const

const PRECISION = benchPrecision()
const NAME = { float32: 'f32', bfloat16: 'bf16' }[PRECISION]
/** What rounding of the operands adds to that of the sums. */
const ROUNDED = { float32: 0, bfloat16: 2 ** -8 }[PRECISION]

/** Σ_k a[k]·b[k] in float64, rows `strides` apart. */
function dot(
  a: Float32Array,
  startA: number,
  strideA: number,
  b: Float32Array,
  startB: number,
  strideB: number,
  n: number,
) {
  let sum = 0
  for (let k = 0; k < n; k++) sum += a[startA + k * strideA] * b[startB + k * strideB]
  return sum
}

function forward(device: Device, [rows, inWidth, outWidth]: (typeof shapes)[number]): OpCase {
  const x = Tensor.from(device, normals(rows * inWidth), [rows, inWidth])
  const weight = Tensor.from(device, normals(outWidth * inWidth), [outWidth, inWidth])
  const bias = Tensor.from(device, normals(outWidth))
  return {
    shape: `forward  ${NAME} (${rows}, ${inWidth}) · (${inWidth}, ${outWidth})`,
    bytes: 4 * (rows * (inWidth + outWidth) + inWidth * outWidth),
    operations: 2 * rows * inWidth * outWidth,
    bound: 'multiply-add',
    target: rows === 32_000 && inWidth === 256 ? 0.85 : undefined,
    run: () => linear(x, weight, bias).dispose(),
    async check() {
      const out = linear(x, weight, bias)
      const [got, a, w, b] = await Promise.all([out, x, weight, bias].map(tensor => tensor.read()))
      const row = rows - 1
      const want = Float64Array.from(b, (value, j) => value + dot(a, row * inWidth, 1, w, j * inWidth, 1, inWidth))
      expectClose(got.subarray(row * outWidth), want, { absolute: 0, relative: inWidth * 2 ** -24 + ROUNDED })
      out.dispose()
    },
    dispose: () => [x, weight, bias].forEach(tensor => void tensor.dispose()),
  }
}

function backward(device: Device, [rows, inWidth, outWidth]: (typeof shapes)[number]): OpCase {
  const x = Tensor.from(device, normals(rows * inWidth), [rows, inWidth])
  const weight = Tensor.from(device, normals(outWidth * inWidth), [outWidth, inWidth])
  const dout = Tensor.from(device, normals(rows * outWidth, 0.1), [rows, outWidth])
  const dx = Tensor.empty(device, 'float32', [rows, inWidth])
  const dweight = Tensor.zeros(device, 'float32', [outWidth, inWidth])
  const dbias = Tensor.zeros(device, 'float32', [outWidth])
  const inputs = [device.handle, x.handle, weight.handle, 0, null, dout.handle] as const
  const run = () => binding.linear_backward(...inputs, dx.handle, false, dweight.handle, dbias.handle, null)
  return {
    shape: `backward ${NAME} (${rows}, ${inWidth}) · (${inWidth}, ${outWidth})`,
    bytes: 4 * (rows * (2 * inWidth + outWidth) + 2 * inWidth * outWidth),
    operations: 4 * rows * inWidth * outWidth,
    bound: 'multiply-add',
    target: rows === 32_000 && inWidth === 256 ? 0.75 : undefined,
    run,
    async check() {
      run()
      const [a, w, g] = await Promise.all([x, weight, dout].map(tensor => tensor.read()))
      const [gotX, gotWeight, gotBias] = await Promise.all([dx, dweight, dbias].map(tensor => tensor.read()))
      const row = rows - 1
      const j = outWidth - 1
      const wantX = Float64Array.from({ length: inWidth }, (_, i) => dot(g, row * outWidth, 1, w, i, inWidth, outWidth))
      const wantWeight = Float64Array.from({ length: inWidth }, (_, i) => dot(g, j, outWidth, a, i, inWidth, rows))
      const wantBias = Float64Array.from(gotBias, (_, o) => dot(g, o, outWidth, ones, 0, 0, rows))
      // Rounding grows with the root of the number of terms, each of about 0.1.
      expectClose(gotX.subarray(row * inWidth), wantX, {
        absolute: 0.1 * outWidth * 2 ** -24,
        relative: 2 ** -20 + ROUNDED,
      })
      const terms = Math.sqrt(rows) * 4
      expectClose(gotWeight.subarray(j * inWidth), wantWeight, {
        absolute: terms * 2 ** -20,
        relative: 2 ** -20 + ROUNDED,
      })
      expectClose(gotBias, wantBias, { absolute: terms * 2 ** -20, relative: 2 ** -20 + ROUNDED })
    },
    dispose: () => [x, weight, dout, dx, dweight, dbias].forEach(tensor => void tensor.dispose()),
  }
}

const ones = new Float32Array([1])

export default () =>
  runOpBench({
    op: 'linear',
    *cases(device): Iterable<OpCase> {
      for (const shape of shapes) yield forward(device, shape)
      for (const shape of shapes) yield backward(device, shape)
    },
  })
