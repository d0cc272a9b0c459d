import { CandidateSampler, sampledSoftmax } from '../../lib/ops/sampled_softmax.js'
import { softmaxCrossEntropyForward } from '../../lib/reference/softmax_cross_entropy.js'
import { scope, Tensor } from '../../lib/runtime/tensor.js'
import { Philox } from '../../lib/util/philox.js'
import { expectClose } from '../../test/support/close.js'
import { type OpCase, runOpBench } from '../support/op_bench.js'
import { normals } from '../support/values.js'

const WIDTH = 128

/** The loss over given candidates: rows of the classes gathered, scores, softmax. Drawing them is the batch's work. */
export default () =>
  runOpBench({
    op: 'sampled_softmax',
    *cases(device): Iterable<OpCase> {
      const [rows, classes, samples] = [4800, 50_000, 2000]
      const random = new Philox(7)
      const ids = Int32Array.from({ length: rows }, () => Math.floor(classes * random.uniform() ** 3))
      const candidates = new CandidateSampler(classes).draw(ids, samples, random)
      const x = Tensor.from(device, normals(rows * WIDTH), [rows, WIDTH])
      const weight = Tensor.from(device, normals(classes * WIDTH, 0.1), [classes, WIDTH])
      const bias = Tensor.from(device, normals(classes))
      const drawn = candidates.classes.length
      yield {
        shape: `f32 (${rows}, ${WIDTH}), ${drawn} candidates of ${classes}`,
        bytes: 4 * (rows * WIDTH + 2 * drawn * WIDTH + 2 * rows * drawn),
        operations: 2 * rows * drawn * WIDTH,
        bound: 'multiply-add',
        run: () => scope(() => void sampledSoftmax(x, weight, bias, candidates)),
        async check() {
          const { loss } = sampledSoftmax(x, weight, bias, candidates)
          const [a, w, b] = await Promise.all([x, weight, bias].map(tensor => tensor.read()))
          const scores = new Float64Array(rows * drawn)
          for (let row = 0; row < rows; row++) {
            for (const [k, c] of candidates.classes.entries()) {
              let sum = b[c] - candidates.logExpected[k]
              for (let i = 0; i < WIDTH; i++) sum += a[row * WIDTH + i] * w[c * WIDTH + i]
              scores[row * drawn + k] = sum
            }
          }
          const ones = new Float64Array(rows).fill(1)
          const want = softmaxCrossEntropyForward(scores, candidates.targets, ones, rows, drawn)
          expectClose(await loss.read(), Float64Array.of(want.loss), { absolute: 0, relative: 2 ** -16 })
          loss.dispose()
        },
        dispose: () => [x, weight, bias].forEach(tensor => void tensor.dispose()),
      }
    },
  })
