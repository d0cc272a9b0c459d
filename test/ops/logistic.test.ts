import { describe, expect, it } from 'vitest'
import { logisticGradient } from '../../lib/ops/logistic.js'
import { logisticGradient as reference } from '../../lib/reference/logistic.js'
import type { Device } from '../../lib/runtime/device.js'
import { scope, Tensor } from '../../lib/runtime/tensor.js'
import { expectClose, expectSameBits } from '../support/close.js'
import { everyVariant, expectSameOnThreads, openDevice } from '../support/devices.js'
import { checkGradients } from '../support/gradcheck.js'
import { TestRandom } from '../support/random.js'

interface Problem {
  readonly x: Float64Array
  readonly target: Int32Array
  readonly problem: Int32Array
  readonly weight: Float64Array
  readonly rows: number
  readonly width: number
  readonly problems: number
  readonly outputs: number
}

function problem(rows: number, width: number, problems: number, outputs: number, problemIds?: number[]): Problem {
  const random = new TestRandom(rows * 1000 + width * 10 + outputs)
  const classes = outputs === 1 ? 2 : outputs
  const ids = Int32Array.from(problemIds ?? Array.from({ length: problems }, (_, i) => i))
  return {
    x: random.normals(rows * width),
    target: Int32Array.from({ length: problems * rows }, () => random.integer(-1, classes - 1)),
    problem: ids,
    weight: random.normals(ids.length * outputs * width, 2 / Math.sqrt(width)),
    rows,
    width,
    problems,
    outputs,
  }
}

async function run(device: Device, p: Problem): Promise<Record<'loss' | 'gradient' | 'scores', Float32Array>> {
  const { loss, gradient, scores } = scope(() =>
    logisticGradient(
      Tensor.from(device, Float32Array.from(p.x), [p.rows, p.width]),
      Tensor.from(device, p.target, [p.problems, p.rows]),
      Tensor.from(device, p.problem),
      Tensor.from(device, Float32Array.from(p.weight), [p.problem.length, p.outputs, p.width]),
      true,
    ),
  )
  const read = await Promise.all([loss, gradient, scores!].map(tensor => tensor.read()))
  for (const tensor of [loss, gradient, scores!]) tensor.dispose()
  return { loss: read[0], gradient: read[1], scores: read[2] }
}

function wanted(p: Problem) {
  const losses: number[] = []
  const gradients: number[] = []
  const allScores: number[] = []
  const size = p.outputs * p.width
  p.problem.forEach((id, a) => {
    const target = p.target.subarray(id * p.rows, (id + 1) * p.rows)
    const weight = p.weight.subarray(a * size, (a + 1) * size)
    const { loss, gradient, scores } = reference(p.x, target, weight, p.rows, p.width, p.outputs)
    losses.push(loss)
    gradients.push(...gradient)
    allScores.push(...scores)
  })
  return { losses, gradients, scores: allScores }
}

describe('logistic', () => {
  const shapes: [rows: number, width: number, problems: number, outputs: number][] = [
    [1, 1, 1, 1],
    [3, 7, 2, 1],
    [32, 16, 1, 3],
    [33, 17, 5, 1],
    [70, 300, 3, 4],
    [500, 40, 7, 1],
  ]

  describe.each(everyVariant())('%s', (_, device) => {
    it.each(shapes)('matches the reference at rows %i, width %i, %i problems, %i outputs', async (...shape) => {
      const p = problem(...shape)
      const got = await run(device, p)
      const want = wanted(p)
      // A score of `width` products of size 2/√width errs by about √width·2⁻²⁴·2; loss and gradient are 1-Lipschitz in
      // it and sum over the rows, whose errors add up at worst.
      const perRow = 8 * Math.sqrt(p.width) * 2 ** -24
      const sums = Float64Array.from(want.losses, (_, a) => got.loss[2 * a] + got.loss[2 * a + 1])
      expectClose(sums, want.losses, { absolute: p.rows * perRow }, 'loss')
      expectClose(got.scores, want.scores, { absolute: 4 * perRow }, 'scores')
      expectClose(got.gradient, want.gradients, { absolute: 4 * p.rows * perRow }, 'gradient')
    })

    it('gives the same bits for 1, 2 and 3 threads', async () => {
      const p = problem(1500, 37, 3, 1)
      await expectSameOnThreads(device, other => run(other, p))
    })

    it('gives a problem the same bits alone and among others, in any order', async () => {
      const p = problem(90, 21, 4, 2, [3, 0, 2, 3, 1])
      const all = await run(device, p)
      const size = p.outputs * p.width
      for (const a of [0, 1, 4]) {
        const weight = p.weight.subarray(a * size, (a + 1) * size)
        const alone = await run(device, { ...p, problem: p.problem.subarray(a, a + 1), weight })
        expectSameBits(alone.loss, all.loss.subarray(2 * a, 2 * a + 2), 'loss')
        expectSameBits(alone.gradient, all.gradient.subarray(a * size, (a + 1) * size), 'gradient')
      }
    })

    it('stays finite at scores far from 0', async () => {
      const p = problem(40, 5, 2, 1)
      const got = await run(device, { ...p, weight: p.weight.map(w => w * 1e4) })
      const want = wanted({ ...p, weight: p.weight.map(w => Math.fround(w * 1e4)) })
      expectClose(
        Float64Array.from(want.losses, (_, a) => got.loss[2 * a] + got.loss[2 * a + 1]),
        want.losses,
        { absolute: 0, relative: 1e-5 },
        'loss',
      )
    })
  })

  it('has a reference whose gradient agrees with finite differences', () => {
    for (const outputs of [1, 3]) {
      const { x, target, weight, rows, width } = problem(12, 6, 1, outputs)
      const { gradient } = reference(x, target, weight, rows, width, outputs)
      const f = ([w]: Float64Array[]) => Float64Array.of(reference(x, target, w, rows, width, outputs).loss)
      checkGradients(f, [weight], [gradient], Float64Array.of(1))
      expect(() => checkGradients(f, [weight], [gradient.map(g => g * 1.001)], Float64Array.of(1))).toThrow()
    }
  })

  it('leaves out rows with target −1, and takes no rows and no problems', async () => {
    const device = openDevice()
    const none = problem(10, 4, 1, 1)
    const got = await run(device, { ...none, target: none.target.map(() => -1) })
    expect([...got.loss, ...got.gradient].every(value => value === 0)).toBe(true)
    const empty = await run(device, problem(0, 4, 2, 1))
    expect([...empty.loss, ...empty.gradient]).toEqual(Array(12).fill(0))
    expect((await run(device, problem(5, 4, 1, 1, []))).gradient.length).toBe(0)
  })

  it('does all of more tasks than the threads take at a time', async () => {
    const outputs = 2 ** 22 + 5
    const zeros = (...shape: number[]) => Tensor.zeros(device, 'float32', shape)
    const device = openDevice({ threads: 2, guard: true })
    const ids = Tensor.zeros(device, 'int32', [1])
    const { gradient } = logisticGradient(
      zeros(1, 1).fill(2),
      Tensor.zeros(device, 'int32', [1, 1]),
      ids,
      zeros(1, outputs, 1),
    )
    const values = await gradient.read()
    // x·(softmax − target)
    expect(values.findIndex((value, i) => Math.abs(value - 2 * (1 / outputs - Number(i === 0))) > 1e-8)).toBe(-1)
  })

  it('refuses wrong shapes at once, wrong values at the next read', async () => {
    const device = openDevice()
    const p = problem(6, 3, 2, 1)
    const x = Tensor.zeros(device, 'float32', [6, 3])
    const target = Tensor.zeros(device, 'int32', [2, 6])
    const ids = Tensor.zeros(device, 'int32', [1])
    expect(() => logisticGradient(x, target, ids, Tensor.zeros(device, 'float32', [1, 1, 4]))).toThrow(
      /\[logistic_gradient\] expected weight of shape \(1, 1, 3\) but received \(1, 1, 4\)/,
    )
    expect(() => logisticGradient(x, target, ids, Tensor.zeros(device, 'float32', [1, 0, 3]))).toThrow(RangeError)
    // As many outputs as this would end the process, and no memory bounds them.
    expect(() =>
      logisticGradient(
        Tensor.zeros(device, 'float32', [6, 0]),
        target,
        Tensor.zeros(device, 'int32', [4096]),
        Tensor.zeros(device, 'float32', [4096, 2 ** 20, 0]),
      ),
    ).toThrow('[logistic_gradient] expected at least one column of x but received none')
    expect(() => logisticGradient(x, x as never, ids, x)).toThrow(TypeError)
    await expect(run(device, { ...p, target: p.target.map(() => 2) })).rejects.toThrow(/targets .* received 2/)
    await expect(run(device, { ...p, target: p.target.map(() => -2) })).rejects.toThrow(RangeError)
    await expect(run(device, { ...p, problem: Int32Array.of(0, 2) })).rejects.toThrow(/problem .* received 2/)
    // The stream goes on after an error.
    expect((await run(device, p)).gradient.every(Number.isFinite)).toBe(true)
  })
})
