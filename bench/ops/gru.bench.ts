import { binding } from '../../lib/native.js'
import { gru } from '../../lib/ops/gru.js'
import { gruForward } from '../../lib/reference/gru.js'
import { Offsets, Tensor } from '../../lib/runtime/tensor.js'
import { expectClose } from '../../test/support/close.js'
import { type OpCase, runOpBench } from '../support/op_bench.js'
import { normals } from '../support/values.js'

export default () =>
  runOpBench({
    op: 'gru',
    *cases(device): Iterable<OpCase> {
      for (const { users, length, width } of [
        { users: 256, length: 64, width: 128 },
        { users: 256, length: 64, width: 256 },
        { users: 4096, length: 8, width: 128 },
        { users: 8, length: 2000, width: 128 },
        { users: 1, length: 512, width: 128 },
      ]) {
        const events = users * length
        const x = Tensor.from(device, normals(events * 3 * width), [events, 3 * width])
        const weight = Tensor.from(device, normals(3 * width * width, 1 / Math.sqrt(width)), [3 * width, width])
        const bias = Tensor.from(device, normals(3 * width))
        const offsets = new Offsets(
          device,
          Int32Array.from({ length: users + 1 }, (_, i) => i * length),
        )
        const shape = `f32 ${users} × ${length}, width ${width}`
        yield {
          shape: `forward  ${shape}`,
          bytes: 4 * events * width * 4,
          operations: 6 * events * width * width,
          bound: 'multiply-add',
          run: () => gru(x, weight, bias, offsets).dispose(),
          async check() {
            const out = gru(x, weight, bias, offsets)
            const [got, a, w, b] = await Promise.all([out, x, weight, bias].map(tensor => tensor.read()))
            const steps = Math.min(length, 64)
            const want = gruForward({
              x: Float64Array.from(a.subarray(0, steps * 3 * width)),
              weight: Float64Array.from(w),
              bias: Float64Array.from(b),
              offsets: [0, steps],
              width,
            })
            expectClose(got.subarray(0, steps * width), want, { absolute: 1e-5 })
            out.dispose()
          },
          dispose() {},
        }
        const gates = Tensor.empty(device, 'float32', [events, 4 * width])
        const out = Tensor.empty(device, 'float32', [events, width])
        const handles = [out, x, weight, bias].map(({ handle }) => handle)
        binding.gru_forward(device.handle, handles[0], handles[1], handles[2], handles[3], offsets.handle, gates.handle)
        const dout = Tensor.from(device, normals(events * width), [events, width])
        const [dx, dhidden] = [0, 1].map(() => Tensor.empty(device, 'float32', [events, 3 * width]))
        const previous = Tensor.empty(device, 'float32', [events, width])
        yield {
          shape: `backward ${shape}`,
          bytes: 14 * events * width * 4,
          operations: 6 * events * width * width,
          bound: 'multiply-add',
          run: () =>
            binding.gru_backward(
              device.handle,
              out.handle,
              weight.handle,
              offsets.handle,
              gates.handle,
              dout.handle,
              dx.handle,
              false,
              dhidden.handle,
              previous.handle,
            ),
          async check() {
            this.run()
            // The last event's gradient of z, from what the forward kept.
            const [g, h, d, got] = await Promise.all([gates, previous, dout, dx].map(tensor => tensor.read()))
            const t = events - 1
            const want = Float64Array.from({ length: width }, (_, i) => {
              const [z, n] = [1, 2].map(gate => g[t * 4 * width + gate * width + i])
              return d[t * width + i] * (h[t * width + i] - n) * z * (1 - z)
            })
            const row = got.subarray(t * 3 * width + width, t * 3 * width + 2 * width)
            expectClose(row, want, { absolute: 1e-7, relative: 1e-5 })
          },
          dispose() {
            for (const item of [x, weight, bias, offsets, gates, out, dout, dx, dhidden, previous]) item.dispose()
          },
        }
      }
    },
  })
