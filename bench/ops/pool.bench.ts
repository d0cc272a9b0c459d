import { binding } from '../../lib/native.js'
import { pool } from '../../lib/ops/pool.js'
import { poolBackward, poolForward } from '../../lib/reference/pool.js'
import { Offsets, Tensor } from '../../lib/runtime/tensor.js'
import { expectClose } from '../../test/support/close.js'
import { type OpCase, runOpBench } from '../support/op_bench.js'
import { normals } from '../support/values.js'

const WIDTH = 128
const modes = ['mean', 'max', 'last'] as const

export default () =>
  runOpBench({
    op: 'pool',
    *cases(device): Iterable<OpCase> {
      for (const { sequences, length, mode } of [
        { sequences: 64, length: 512, mode: 'mean' as const },
        { sequences: 1, length: 64_000, mode: 'mean' as const },
        { sequences: 12_000, length: 3, mode: 'max' as const },
        { sequences: 64, length: 512, mode: 'max' as const },
      ]) {
        const events = sequences * length
        const values = normals(events * WIDTH)
        const x = Tensor.from(device, values, [events, WIDTH])
        const offsets = new Offsets(
          device,
          Int32Array.from({ length: sequences + 1 }, (_, i) => i * length),
        )
        const [first, one] = [Float64Array.from(values.subarray(0, length * WIDTH)), Int32Array.of(0, length)]
        const shape = `${mode}, ${sequences} × ${length}, D=${WIDTH}`
        // A mean errs by up to (256 + length / 256) roundings of terms of size 5.
        const tolerance = { absolute: mode === 'mean' ? 5 * (256 + length / 256) * 2 ** -24 : 0 }
        yield {
          shape: `forward, ${shape}`,
          bytes: (events + sequences) * WIDTH * 4,
          operations: events * WIDTH,
          bound: 'copy',
          target: 0.7,
          run: () => pool(x, offsets, { mode }).dispose(),
          async check() {
            const out = pool(x, offsets, { mode })
            const got = (await out.read()).subarray(0, WIDTH)
            expectClose(got, poolForward(first, one, WIDTH, mode), tolerance)
            out.dispose()
          },
          dispose() {},
        }
        const code = modes.indexOf(mode)
        const dout = Tensor.from(device, normals(sequences * WIDTH), [sequences, WIDTH])
        const argmax = mode === 'max' ? Tensor.empty(device, 'int32', dout.shape) : null
        const dx = Tensor.empty(device, 'float32', x.shape)
        binding.pool_forward(
          device.handle,
          code,
          x.handle,
          offsets.handle,
          Tensor.empty(device, 'float32', dout.shape).handle,
          argmax?.handle,
        )
        const call = () =>
          binding.pool_backward(device.handle, code, offsets.handle, dout.handle, argmax?.handle, dx.handle, false)
        yield {
          shape: `backward, ${shape}`,
          bytes: (events + sequences * (argmax ? 2 : 1)) * WIDTH * 4,
          operations: events * WIDTH,
          bound: 'copy',
          target: 0.7,
          run: call,
          async check() {
            call()
            const got = (await dx.read()).subarray(0, length * WIDTH)
            const row = Float64Array.from((await dout.read()).subarray(0, WIDTH))
            expectClose(got, poolBackward(first, one, row, WIDTH, mode), { absolute: 0, relative: 2 ** -22 })
          },
          dispose() {
            for (const item of [x, offsets, dout, dx, ...(argmax ? [argmax] : [])]) item.dispose()
          },
        }
      }
    },
  })
