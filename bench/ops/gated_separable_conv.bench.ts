import { gatedSeparableConv } from '../../lib/ops/gated_separable_conv.js'
import { gatedSeparableConvForward } from '../../lib/reference/gated_separable_conv.js'
import { Offsets, Tensor } from '../../lib/runtime/tensor.js'
import { expectClose } from '../../test/support/close.js'
import { type OpCase, runOpBench } from '../support/op_bench.js'
import { normals } from '../support/values.js'

const WIDTH = 5

export default () =>
  runOpBench({
    op: 'gated_separable_conv',
    *cases(device): Iterable<OpCase> {
      for (const { users, length, channels } of [
        { users: 8, length: 4000, channels: 256 },
        { users: 10_000, length: 3, channels: 128 },
        { users: 1, length: 128, channels: 128 },
      ]) {
        const events = users * length
        const tensor = (scale: number, ...shape: number[]) =>
          Tensor.from(
            device,
            normals(
              shape.reduce((product, size) => product * size, 1),
              scale,
            ),
            shape,
          )
        const x = tensor(1, events, channels)
        const residual = tensor(1, events, channels)
        const [weight, gateWeight] = [0, 1].map(() => tensor(0.3, WIDTH, channels))
        const [bias, gateBias, pointBias] = [0, 1, 2].map(() => tensor(1, channels))
        const pointWeight = tensor(1 / Math.sqrt(channels), channels, channels)
        const filters = { weight, bias, gateWeight, gateBias, pointWeight, pointBias }
        const offsets = new Offsets(
          device,
          Int32Array.from({ length: users + 1 }, (_, i) => i * length),
        )
        const call = () => gatedSeparableConv(x, filters, residual, offsets)
        yield {
          shape: `forward  f32 ${users} × ${length}, ${channels} channels, K=${WIDTH}`,
          // What stands between goes through memory here.
          bytes: 5 * events * channels * 4,
          operations: 2 * events * channels * (channels + 2 * WIDTH),
          bound: 'multiply-add',
          run: () => call().dispose(),
          async check() {
            const out = call()
            // The first sequence, as far as it is looked at alone.
            const count = Math.min(length, 64)
            const of = (values: Float32Array, rows?: number) =>
              Float64Array.from(values.subarray(0, rows && rows * channels))
            const reads = [out, x, residual, weight, gateWeight, bias, gateBias, pointWeight, pointBias]
            const [got, a, r, w, v, b, c, p, q] = await Promise.all(reads.map(one => one.read()))
            const want = gatedSeparableConvForward({
              ...{ x: of(a, count), residual: of(r, count), weight: of(w), gateWeight: of(v), bias: of(b) },
              ...{ gateBias: of(c), pointWeight: of(p), pointBias: of(q) },
              ...{ offsets: [0, count], channels, dilation: 1, causal: false },
            })
            const whole = (count < length ? count - WIDTH : count) * channels
            expectClose(got.subarray(0, whole), want.subarray(0, whole), {
              absolute: 2 ** -20,
              relative: (channels + WIDTH + 8) * 2 ** -23,
            })
            out.dispose()
          },
          dispose() {
            for (const item of [x, residual, offsets, ...Object.values(filters)]) item.dispose()
          },
        }
      }
    },
  })
