import { binding } from '../../lib/native.js'
import { Tensor } from '../../lib/runtime/tensor.js'
import { expectClose } from '../../test/support/close.js'
import { type OpCase, runOpBench } from '../support/op_bench.js'
import { normals } from '../support/values.js'

export default () =>
  runOpBench({
    op: 'pair_contrastive',
    *cases(device): Iterable<OpCase> {
      for (const isBinary of [false, true]) {
        for (const pairs of [256, 2048]) {
          const values = normals(pairs * pairs)
          const scores = Tensor.from(device, values, [pairs, pairs])
          // Each entity brings two pairs.
          const entity = Tensor.from(
            device,
            Int32Array.from({ length: pairs }, (_, i) => i >> 1),
          )
          const dscores = Tensor.empty(device, 'float32', [pairs, pairs])
          const stats = Tensor.empty(device, 'float32', [4, pairs])
          const [loss, correct, count] = [1, 1, 1].map(size => Tensor.empty(device, 'float32', [size]))
          const dout = Tensor.from(device, Float32Array.of(1))
          const head = [device.handle, scores.handle, entity.handle, 1, isBinary] as const
          const forward = () =>
            binding.pair_contrastive_forward(...head, loss.handle, correct.handle, stats.handle, count.handle)
          const backward = () =>
            binding.pair_contrastive_backward(...head, stats.handle, count.handle, dout.handle, dscores.handle, false)
          const shape = `${isBinary ? 'binary' : 'softmax'}, ${pairs} pairs`
          yield {
            shape: `forward  ${shape}`,
            bytes: (isBinary ? 1 : 3) * pairs ** 2 * 4,
            operations: 40 * pairs ** 2,
            bound: 'copy',
            target: 0.7,
            run: forward,
            async check() {
              forward()
              const want = lossOf(values, pairs, isBinary)
              expectClose(await loss.read(), Float64Array.of(want), { absolute: 0, relative: 2 ** -18 })
            },
            dispose() {},
          }
          yield {
            shape: `backward ${shape}`,
            bytes: 2 * pairs ** 2 * 4,
            operations: 40 * pairs ** 2,
            bound: 'copy',
            target: 0.7,
            run: backward,
            async check() {
              forward()
              backward()
              // A softmax's gradients sum to 0 over all pairs; those of a binary loss have the sign of the label.
              const got = await dscores.read()
              if (isBinary) return expectSigns(got, pairs)
              const sum = got.reduce((sum, value) => sum + value, 0)
              expectClose([sum], [0], { absolute: 2 ** -20 })
            },
            dispose() {
              for (const tensor of [scores, entity, dscores, stats, loss, correct, count, dout]) tensor.dispose()
            },
          }
        }
      }
    },
  })

const isAllowed = (i: number, j: number) => i === j || i >> 1 !== j >> 1

function lossOf(s: Float32Array, pairs: number, isBinary: boolean): number {
  const rows = new Float64Array(pairs)
  const columns = new Float64Array(pairs)
  let binary = 0
  for (let i = 0; i < pairs; i++) {
    for (let j = 0; j < pairs; j++) {
      if (!isAllowed(i, j)) continue
      const score = s[i * pairs + j]
      rows[i] += Math.exp(score)
      columns[j] += Math.exp(score)
      const wrong = Math.log1p(Math.exp(i === j ? -score : score))
      binary += wrong / (i === j ? 2 * pairs : 2 * pairs * (pairs - 2))
    }
  }
  if (isBinary) return binary
  let sum = 0
  for (let i = 0; i < pairs; i++) sum += Math.log(rows[i]) + Math.log(columns[i]) - 2 * s[i * pairs + i]
  return sum / (2 * pairs)
}

function expectSigns(got: Float32Array, pairs: number): void {
  for (let i = 0; i < got.length; i++) {
    const [row, column] = [Math.floor(i / pairs), i % pairs]
    const want = !isAllowed(row, column) ? 0 : row === column ? -1 : 1
    if (!(Math.sign(got[i]) === want)) throw new Error(`expected a gradient of sign ${want} but received ${got[i]}`)
  }
}
