import { randomUniform } from '../../lib/ops/random_uniform.js'
import { randomUniform as reference } from '../../lib/reference/random_uniform.js'
import { Tensor } from '../../lib/runtime/tensor.js'
import { expectClose } from '../../test/support/close.js'
import { type OpCase, runOpBench } from '../support/op_bench.js'

export default () =>
  runOpBench({
    op: 'random_uniform',
    *cases(device): Iterable<OpCase> {
      const count = 4_000_000
      const out = Tensor.empty(device, 'float32', [count])
      const call = () => void randomUniform(out, { bound: 0.5, seed: 3 })
      yield {
        shape: `f32 (${count})`,
        bytes: count * 4,
        operations: 60 * count,
        bound: 'copy',
        run: call,
        async check() {
          call()
          expectClose((await out.read()).subarray(0, 2000), reference(2000, 0.5, 3, 0), {
            absolute: 0,
            relative: 2 ** -23,
          })
        },
        dispose: () => out.dispose(),
      }
    },
  })
