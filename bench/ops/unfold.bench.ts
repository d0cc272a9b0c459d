import { unfold } from '../../lib/ops/unfold.js'
import { Offsets, Tensor } from '../../lib/runtime/tensor.js'
import { expectClose } from '../../test/support/close.js'
import { type OpCase, runOpBench } from '../support/op_bench.js'
import { normals } from '../support/values.js'

export default () =>
  runOpBench({
    op: 'unfold',
    *cases(device): Iterable<OpCase> {
      for (const { users, length, channels, width } of [
        { users: 8, length: 4000, channels: 128, width: 5 },
        { users: 10_000, length: 3, channels: 128, width: 5 },
        { users: 1, length: 128, channels: 128, width: 5 },
      ]) {
        const events = users * length
        const values = normals(events * channels)
        const x = Tensor.from(device, values, [events, channels])
        const offsets = new Offsets(
          device,
          Int32Array.from({ length: users + 1 }, (_, i) => i * length),
        )
        const call = () => unfold(x, offsets, { width })
        yield {
          shape: `f32 ${users} × ${length}, ${channels} channels, K=${width}`,
          bytes: (1 + width) * events * channels * 4,
          operations: 0,
          bound: 'copy',
          target: 0.7,
          run: () => call().dispose(),
          async check() {
            const out = call()
            const t = Math.floor(length / 2)
            const want = Float32Array.from({ length: width * channels }, (_, i) => {
              const from = t + Math.floor(i / channels) - (width >> 1)
              return from < 0 || from >= length ? 0 : values[from * channels + (i % channels)]
            })
            const row = (await out.read()).subarray(t * width * channels, (t + 1) * width * channels)
            expectClose(row, want, { absolute: 0 })
            out.dispose()
          },
          dispose() {
            x.dispose()
            offsets.dispose()
          },
        }
      }
    },
  })
