import { binding } from '../../lib/native.js'
import { softmaxCrossEntropyBackward, softmaxCrossEntropyForward } from '../../lib/reference/softmax_cross_entropy.js'
import type { Device } from '../../lib/runtime/device.js'
import { Tensor } from '../../lib/runtime/tensor.js'
import { Philox } from '../../lib/util/philox.js'
import { expectClose } from '../../test/support/close.js'
import { type OpCase, runOpBench } from '../support/op_bench.js'
import { normals } from '../support/values.js'

/** Forward as in training (it keeps the rows' sums), and backward. */
function* casesOf(device: Device, rows: number, classes: number): Iterable<OpCase> {
  const rng = new Philox(rows)
  const ids = Int32Array.from({ length: rows }, () => rng.below(classes))
  const values = normals(rows * classes)
  const logits = Tensor.from(device, values, [rows, classes])
  const targets = Tensor.from(device, ids)
  const dlogits = Tensor.empty(device, 'float32', [rows, classes])
  const [rowMax, rowSum] = [rows, rows].map(size => Tensor.empty(device, 'float32', [size]))
  const [loss, correct, total] = [1, 1, 1].map(size => Tensor.empty(device, 'float32', [size]))
  const dout = Tensor.from(device, Float32Array.of(rows))
  const { handle } = device
  const kept = [rowMax.handle, rowSum.handle, total.handle] as const
  const forward = () =>
    binding.softmax_cross_entropy_forward(
      handle,
      logits.handle,
      targets.handle,
      null,
      loss.handle,
      correct.handle,
      ...kept,
    )
  const backward = () =>
    binding.softmax_cross_entropy_backward(
      handle,
      logits.handle,
      targets.handle,
      null,
      ...kept,
      dout.handle,
      dlogits.handle,
      false,
    )
  const shape = `f32 (${rows}, ${classes})`
  const ones = new Float64Array(rows).fill(1)
  yield {
    shape: `forward  ${shape}`,
    bytes: rows * classes * 4,
    operations: 20 * rows * classes,
    bound: 'copy',
    target: 0.7,
    run: forward,
    async check() {
      forward()
      const want = softmaxCrossEntropyForward(Float64Array.from(values), ids, ones, rows, classes)
      expectClose(await loss.read(), Float64Array.of(want.loss), { absolute: 0, relative: 2 ** -18 })
      expectClose(await correct.read(), Float64Array.of(want.correct), { absolute: 0 })
    },
    dispose() {},
  }
  yield {
    shape: `backward ${shape}`,
    bytes: 2 * rows * classes * 4,
    operations: 20 * rows * classes,
    bound: 'copy',
    target: 0.7,
    run: backward,
    async check() {
      forward()
      backward()
      const want = softmaxCrossEntropyBackward(Float64Array.from(values), ids, ones, rows, rows, classes)
      expectClose(await dlogits.read(), want, { absolute: 2 ** -22, relative: 2 ** -18 })
    },
    dispose() {
      for (const tensor of [logits, targets, dlogits, rowMax, rowSum, loss, correct, total, dout]) tensor.dispose()
    },
  }
}

export default () =>
  runOpBench({
    op: 'softmax_cross_entropy',
    *cases(device): Iterable<OpCase> {
      yield* casesOf(device, 4800, 300)
      yield* casesOf(device, 4800, 5000)
      yield* casesOf(device, 4800, 18)
    },
  })
