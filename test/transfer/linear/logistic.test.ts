import { describe, expect, test } from 'vitest'
import { softmaxCrossEntropy } from '../../../lib/ops/softmax_cross_entropy.js'
import { logisticGradient } from '../../../lib/reference/logistic.js'
import type { Device } from '../../../lib/runtime/device.js'
import { scope, Tensor } from '../../../lib/runtime/tensor.js'
import { innerPartsSteps } from '../../../lib/transfer/folds.js'
import { DesignMatrix } from '../../../lib/transfer/linear/design.js'
import { minimise } from '../../../lib/transfer/linear/lbfgs.js'
import { type FitOptions, type FitTask, fitLogistic } from '../../../lib/transfer/linear/logistic.js'
import type { Block } from '../../../lib/transfer/linear/scaling.js'
import { atOnce } from '../../../lib/util/pace.js'
import { Philox } from '../../../lib/util/philox.js'
import { expectClose } from '../../support/close.js'
import { openDevice } from '../../support/devices.js'
import { TestRandom } from '../../support/random.js'

const rows = 300
const width = 12
const all = Int32Array.from({ length: rows }, (_, r) => r)

/** Correlated columns; the class follows the first ones, with noise. */
function problem(classes: number, signal: number) {
  const random = new TestRandom(classes)
  const values = random.normals(rows * width)
  for (let r = 0; r < rows; r++) for (let c = 1; c < width; c++) values[r * width + c] += values[r * width + c - 1]
  const truth = Int32Array.from(all, r => {
    const z = signal * (values[r * width] - 0.5 * values[r * width + 3]) + random.normal()
    return Math.max(0, Math.min(classes - 1, Math.floor(z + classes / 2)))
  })
  const columns = Array.from({ length: width }, (_, c) => ({ name: `c${c}`, values, start: c, stride: width }))
  return { truth, block: { columns, rows: all } satisfies Block }
}

async function fit(device: Device, block: Block, truth: Int32Array, count: number, tasks: FitTask[], o?: FitOptions) {
  const matrix = await DesignMatrix.build(device, [block], { bend: 'plain' })
  const fitted = await fitLogistic(matrix, truth, count, tasks, o)
  const scores = await matrix.scores(
    fitted.map(task => task.weights),
    count === 2 ? 1 : count,
  )
  const x = await matrix.x.read()
  const padded = matrix.x.shape[1]
  matrix.dispose()
  return { fitted, scores, x, padded, columns: matrix.columns }
}

describe.each([2, 3])('%i classes', count => {
  const outputs = count === 2 ? 1 : count
  const { truth, block } = problem(count, 1)

  test('reaches the optimum of the float64 reference', async () => {
    const strength = 3
    const train = all.filter(row => row % 4 !== 0)
    const task = { train, innerFolds: atOnce(innerPartsSteps(train, truth, new Philox(0))) }
    const got = await fit(openDevice(), block, truth, count, [task], { strengths: [strength] })
    const target = truth.map((c, row) => (row % 4 === 0 ? -1 : c))
    const objective = async (weights: Float64Array) => {
      const { loss, gradient } = logisticGradient(got.x, target, weights, rows, got.padded, outputs)
      let penalty = 0
      for (let i = 0; i < weights.length; i++) {
        gradient[i] /= train.length
        if (i % got.padded >= got.columns) continue
        penalty += weights[i] ** 2
        gradient[i] += (strength / train.length) * weights[i]
      }
      return { loss: loss / train.length + (strength / train.length / 2) * penalty, gradient }
    }
    const start = new Float64Array(outputs * got.padded)
    const want = await minimise(objective, start, { tolerance: 1e-8, leastDecrease: 0 })
    const { weights } = got.fitted[0]
    expect((await objective(weights)).loss - want.loss).toBeLessThan(1e-7)
    // Strongly convex with strength/n = 0.013 at least: a slope of 1e-5 leaves at most 1e-3 of weight; scores even less.
    expectClose(weights, want.weights, { absolute: 1e-3 })
    expect(got.fitted[0].strength).toBe(strength)
  })

  test('scores are x·w of every row', async () => {
    const task = { train: all, innerFolds: [] }
    const { fitted, scores, x, padded } = await fit(openDevice(), block, truth, count, [task])
    const want = logisticGradient(x, truth, fitted[0].weights, rows, padded, outputs).scores
    expectClose(scores[0], want, { absolute: 1e-5, relative: 1e-6 })
  })

  test('tasks agree alone and side by side, and have the same bits for 1 and 2 threads', async () => {
    const tasks = [0, 1, 2].map(k => {
      const train = all.filter(row => row % 3 !== k)
      return { train, innerFolds: atOnce(innerPartsSteps(train, truth, new Philox(k))) }
    })
    const together = await fit(openDevice({ threads: 2 }), block, truth, count, tasks)
    for (const [k, task] of tasks.entries()) {
      const alone = await fit(openDevice({ threads: 1 }), block, truth, count, [task])
      // The preconditioner follows the class rates of all tasks: paths differ, minima agree.
      expect(alone.fitted[0].strength).toBe(together.fitted[k].strength)
      expectClose(alone.scores[0], together.scores[k], { absolute: 2e-2 })
    }
    const again = await fit(openDevice({ threads: 1 }), block, truth, count, tasks)
    expect(again.fitted).toEqual(together.fitted)
  })
})

describe.each([2, 3])('fewer rows than columns, %i classes', count => {
  const outputs = count === 2 ? 1 : count
  const few = { rows: 40, width: 90 }
  const random = new TestRandom(7)
  const values = random.normals(few.rows * few.width)
  // Two rows alike: their products with all rows are, and their matrix has no inverse.
  for (let c = 0; c < few.width; c++) values[few.width + c] = values[c]
  const rowsOf = Int32Array.from({ length: few.rows }, (_, r) => r)
  const truth = rowsOf.map(r => {
    return Math.max(0, Math.min(count - 1, Math.floor(values[r * few.width] + 0.5 * random.normal() + count / 2)))
  })
  const columns = Array.from({ length: few.width }, (_, c) => ({ name: `c${c}`, values, start: c, stride: few.width }))

  test('the gradient of the loss and its penalty is 0 in every column', async () => {
    const strength = 2
    const train = rowsOf.filter(row => row % 4 !== 0)
    const task = { train, innerFolds: atOnce(innerPartsSteps(train, truth, new Philox(0))) }
    const block = { columns, rows: rowsOf }
    const { fitted, x, padded } = await fit(openDevice(), block, truth, count, [task], { strengths: [strength] })
    const { weights } = fitted[0]
    expect(weights.length).toBe(outputs * padded)
    const target = truth.map((c, row) => (row % 4 === 0 ? -1 : c))
    const { gradient } = logisticGradient(x, target, weights, few.rows, padded, outputs)
    const slopes = gradient.map((sum, i) => {
      const column = i % padded
      return (sum + (column < few.width ? strength * weights[i] : 0)) / train.length
    })
    // The search ends with a slope of 1e-5 at most along each of 40 directions, which is 6.3e-5 along any column: the map between
    // them is orthonormal.
    expectClose(slopes, new Float64Array(slopes.length), { absolute: 1e-4 })
    expect(Math.max(...weights.map(Math.abs))).toBeGreaterThan(0.05)
  })
})

test('noise is met with a strong penalty, signal with a weak one', async () => {
  const chosen = async (signal: number) => {
    const { truth, block } = problem(2, signal)
    const task = { train: all, innerFolds: atOnce(innerPartsSteps(all, truth, new Philox(0))) }
    const { fitted } = await fit(openDevice(), block, truth, 2, [task])
    const { path, strength } = fitted[0]
    expect(path.length).toBeGreaterThan(1)
    expect(Math.min(...path.map(point => point.loss))).toBe(path.find(point => point.strength === strength)!.loss)
    return strength
  }
  expect(await chosen(0)).toBeGreaterThan(10 * (await chosen(5)))
})

test('a perfectly separable label stays finite', async () => {
  const { block } = problem(2, 1)
  const truth = Int32Array.from(all, r => (block.columns[0].values[r * width] > 0 ? 1 : 0))
  const task = { train: all, innerFolds: atOnce(innerPartsSteps(all, truth, new Philox(0))) }
  const { fitted, scores } = await fit(openDevice(), block, truth, 2, [task], { strengths: [1, 1e-3, 1e-6] })
  expect(fitted[0].weights.every(Number.isFinite)).toBe(true)
  expect(scores[0].filter((z, r) => z > 0 === (truth[r] === 1)).length).toBeGreaterThan(0.98 * rows)
})

test('progress rises to 1, and an abort stops the fit', async () => {
  const { truth, block } = problem(2, 1)
  const task = { train: all, innerFolds: atOnce(innerPartsSteps(all, truth, new Philox(0))) }
  const seen: number[] = []
  await fit(openDevice(), block, truth, 2, [task, task], { onProgress: done => seen.push(done) })
  expect(seen.length).toBeGreaterThan(3)
  expect(seen).toEqual(seen.toSorted((a, b) => a - b))
  expect(seen.at(-1)).toBeCloseTo(1, 12)
  const controller = new AbortController()
  const run = fit(openDevice(), block, truth, 2, [task], {
    signal: controller.signal,
    onProgress: () => controller.abort(new Error('enough')),
  })
  await expect(run).rejects.toThrow('enough')
})

test('a read that fails ends it, and leaves no memory behind', async () => {
  const device = openDevice({ guard: false })
  const before = device.info().liveBytes
  const { truth, block } = problem(2, 1)
  const matrix = await DesignMatrix.build(device, [block], { bend: 'plain' })
  const task = { train: all, innerFolds: atOnce(innerPartsSteps(all, truth, new Philox(0))) }
  const run = fitLogistic(matrix, truth, 2, [task], {
    // The next evaluation stands behind a target that does not exist.
    onProgress: () => {
      const wrong = () =>
        softmaxCrossEntropy(Tensor.zeros(device, 'float32', [1, 3]), Tensor.from(device, Int32Array.of(7)))
      scope(() => void wrong())
    },
  })
  await expect(run).rejects.toThrow(/expected targets/)
  matrix.dispose()
  expect(device.info().liveBytes).toBe(before)
})
