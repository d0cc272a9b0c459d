import { adamwUpdate } from '../../lib/ops/adamw.js'
import { adamwUpdate as referenceUpdate } from '../../lib/reference/adamw.js'
import { Tensor } from '../../lib/runtime/tensor.js'
import { expectClose } from '../../test/support/close.js'
import { type OpCase, runOpBench } from '../support/op_bench.js'
import { normals } from '../support/values.js'

const settings = { lr: 1e-3, beta1: 0.9, beta2: 0.999, eps: 1e-8, weightDecay: 0.01, maxNorm: 1, step: 1 }

export default () =>
  runOpBench({
    op: 'adamw',
    *cases(device): Iterable<OpCase> {
      for (const { count, size } of [
        { count: 1, size: 10_000_000 },
        { count: 60, size: 16_384 },
      ]) {
        const parts = Array.from({ length: count }, () => {
          const [value, gradient] = [0, 1].map(() => Tensor.from(device, normals(size)))
          const [m, v] = [0, 1].map(() => Tensor.zeros(device, 'float32', [size]))
          return { value, gradient, m, v, decay: true }
        })
        const norm = Tensor.empty(device, 'float32', [1])
        const call = () => adamwUpdate(parts, norm, { ...settings, zeroGradients: false })
        yield {
          shape: `${count} × ${size}`,
          bytes: 32 * count * size,
          operations: 20 * count * size,
          bound: 'copy',
          target: 0.7,
          run: call,
          async check() {
            call()
            const values = () => Float64Array.from(normals(size))
            const zeros = () => new Float64Array(size)
            const want = parts.map(() => ({ value: values(), gradient: values(), m: zeros(), v: zeros(), decay: true }))
            referenceUpdate(want, settings)
            const tolerance = { absolute: 2 ** -24, relative: 2 ** -20 }
            expectClose(await parts[count - 1].value.read(), want[count - 1].value, tolerance)
            // 1 − β₂ is 0.001 of a number that is rounded.
            expectClose(await parts[0].v.read(), want[0].v, { absolute: 2 ** -60, relative: 2 ** -14 })
          },
          dispose() {
            for (const { value, gradient, m, v } of parts) for (const part of [value, gradient, m, v]) part.dispose()
            norm.dispose()
          },
        }
      }
    },
  })
