// A small model for tests of the runtime: one forward, backward and update through several ops.

import { layerNorm } from '../../lib/ops/layer_norm.js'
import { linear } from '../../lib/ops/linear.js'
import { softmaxCrossEntropy } from '../../lib/ops/softmax_cross_entropy.js'
import type { Device } from '../../lib/runtime/device.js'
import { AdamW } from '../../lib/runtime/optimizer.js'
import { Parameter, Tape } from '../../lib/runtime/tape.js'
import { keep, scope, Tensor, unscoped } from '../../lib/runtime/tensor.js'
import { TestRandom } from './random.js'

export interface SmallModel {
  /** One training step; the loss, which the caller frees. */
  step(): Tensor<'float32'>
  readonly parameters: readonly Parameter[]
  dispose(): void
}

/** Two layers over `rows` fixed rows; the same every time it is made. */
export function smallModel(device: Device, rows = 37, width = 16, classes = 11): SmallModel {
  const random = new TestRandom(rows)
  const normal = (shape: number[], size = 1) =>
    Tensor.from(device, Float32Array.from(random.normals(shape[0] * (shape[1] ?? 1), size)), shape)
  return unscoped(() => {
    const made: { dispose(): void }[] = []
    const owned = <T extends { dispose(): void }>(item: T): T => {
      made.push(item)
      return item
    }
    try {
      const parameter = (name: string, shape: number[]) =>
        owned(new Parameter(name, owned(normal(shape, 1 / Math.sqrt(shape[1] ?? 1)))))
      const x = owned(normal([rows, width]))
      const targets = owned(
        Tensor.from(
          device,
          Int32Array.from({ length: rows }, () => random.integer(-1, classes - 1)),
        ),
      )
      const gain = parameter('gain', [width])
      const shift = parameter('shift', [width])
      const inner = parameter('inner', [width, width])
      const outer = parameter('outer', [classes, width])
      const parameters = [gain, shift, inner, outer]
      const optimizer = owned(new AdamW(parameters))
      return {
        parameters,
        step() {
          return scope(() => {
            const tape = new Tape()
            const { loss } = tape.record(() => {
              const hidden = linear(x, inner.value, null, { activation: 'gelu' })
              return softmaxCrossEntropy(linear(layerNorm(hidden, gain.value, shift.value), outer.value), targets)
            })
            tape.backward([{ loss }])
            optimizer.step(0.01)
            return keep(loss)
          })
        },
        dispose() {
          for (const item of made) item.dispose()
        },
      }
    } catch (error) {
      for (const item of made) item.dispose()
      throw error
    }
  })
}
