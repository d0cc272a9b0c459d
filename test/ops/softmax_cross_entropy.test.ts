import { describe, expect, it } from 'vitest'
import { softmaxCrossEntropy } from '../../lib/ops/softmax_cross_entropy.js'
import { softmaxCrossEntropyBackward, softmaxCrossEntropyForward } from '../../lib/reference/softmax_cross_entropy.js'
import type { Device } from '../../lib/runtime/device.js'
import { Parameter, Tape } from '../../lib/runtime/tape.js'
import { keep, scope, Tensor } from '../../lib/runtime/tensor.js'
import { expectClose, expectSameBits } from '../support/close.js'
import { everyVariant, expectSameOnThreads, openDevice } from '../support/devices.js'
import { checkGradients } from '../support/gradcheck.js'
import { TestRandom } from '../support/random.js'

interface Problem {
  rows: number
  classes: number
  logits: Float64Array
  targets: Int32Array
  weights?: Float64Array
  dout: number
}

// exp and log err by about one ulp each, x − max by half an ulp of the largest logit (here below 16), which the
// exponential turns into a relative error.
const tolerance = { absolute: 4 * 2 ** -24, relative: 16 * 2 ** -24 }

function problem(rows: number, classes: number, weighted = false): Problem {
  const random = new TestRandom(rows * 1000 + classes)
  return {
    rows,
    classes,
    logits: random.normals(rows * classes, 3),
    targets: Int32Array.from({ length: rows }, () => random.integer(rows > 2 ? -1 : 0, classes - 1)),
    weights: weighted ? random.normals(rows).map(Math.abs) : undefined,
    dout: 0.75,
  }
}

async function run(device: Device, p: Problem) {
  const logits = new Parameter('logits', Tensor.from(device, Float32Array.from(p.logits), [p.rows, p.classes]))
  const targets = Tensor.from(device, p.targets)
  const weights = p.weights && Tensor.from(device, Float32Array.from(p.weights))
  const tape = new Tape()
  const { loss, correct } = scope(() => {
    const result = tape.record(() => softmaxCrossEntropy(logits.value, targets, { weights }))
    tape.backward([{ loss: result.loss, dout: p.dout }])
    return result
  })
  const plain = softmaxCrossEntropy(logits.value, targets, { weights })
  const read = await Promise.all([loss, correct, logits.gradient, plain.loss, plain.correct].map(t => t.read()))
  for (const item of [loss, correct, plain.loss, plain.correct, targets, logits]) item.dispose()
  weights?.dispose()
  await device.sync()
  expectSameBits(read[3], read[0], 'loss without a tape')
  expectSameBits(read[4], read[1], 'correct without a tape')
  return { loss: read[0], correct: read[1], dlogits: read[2] }
}

function reference({ logits, targets, weights, rows, classes, dout }: Problem) {
  const w = weights ?? new Float64Array(rows).fill(1)
  return {
    ...softmaxCrossEntropyForward(logits, targets, w, rows, classes),
    dlogits: softmaxCrossEntropyBackward(logits, targets, w, dout, rows, classes),
  }
}

describe('softmax_cross_entropy', () => {
  const shapes: [number, number, boolean][] = [
    [1, 1, false],
    [1, 2, false],
    [3, 7, true],
    [5, 16, false],
    [40, 17, true],
    [2, 257, true],
    [700, 33, false],
    [3, 20_011, true],
    [2, 100_000, false],
  ]

  describe.each(everyVariant())('%s', (_, device) => {
    it.each(shapes)('matches the reference at (%i, %i), weighted: %s', async (rows, classes, weighted) => {
      const p = problem(rows, classes, weighted)
      const got = await run(device, p)
      const want = reference(p)
      expectClose(got.loss, [want.loss], tolerance, 'loss')
      expectClose(got.correct, [want.correct], { absolute: 0 }, 'correct')
      expectClose(got.dlogits, want.dlogits, { absolute: 2 ** -40, relative: 16 * 2 ** -24 }, 'dlogits')
    })

    it('gives the same bits for 1, 2 and 3 threads', async () => {
      const p = problem(3000, 21, true)
      await expectSameOnThreads(device, other => run(other, p))
    })

    it('keeps its digits when all logits are large', async () => {
      const p = problem(6, 9)
      const near = await run(device, p)
      const far = await run(device, { ...p, logits: p.logits.map(x => Math.fround(Math.round(x * 64) / 64 + 1e4)) })
      const want = reference({ ...p, logits: p.logits.map(x => Math.round(x * 64) / 64) })
      expectClose(far.loss, [want.loss], tolerance, 'loss')
      expectClose(far.dlogits, want.dlogits, { absolute: 2 ** -40, relative: 16 * 2 ** -24 }, 'dlogits')
      expect(near.loss[0]).not.toBe(far.loss[0])
    })

    it('takes logits of ±1e4 and −∞', async () => {
      const low = Number.NEGATIVE_INFINITY
      const p: Problem = {
        rows: 4,
        classes: 3,
        logits: Float64Array.of(1e4, -1e4, 0, -1e4, 1e4, 0, low, 2, 2, low, low, 5),
        targets: Int32Array.of(0, 0, 1, 2),
        dout: 1,
      }
      const got = await run(device, p)
      expectClose(got.loss, [(0 + 2e4 + Math.LN2 + 0) / 4], tolerance, 'loss')
      expectClose(got.correct, [3], { absolute: 0 }, 'correct')
      const want = [0, 0, 0, -0.25, 0.25, 0, 0, -0.125, 0.125, 0, 0, 0]
      expectClose(got.dlogits, want, { absolute: 2 ** -24 }, 'dlogits')
    })

    it('is infinite for a target that is ruled out, and NaN for NaN, unless the row is left out', async () => {
      const row = (first: number, target: number, weight: number): Problem => ({
        rows: 2,
        classes: 2,
        logits: Float64Array.of(first, 1, 0, 0),
        targets: Int32Array.of(target, 1),
        weights: Float64Array.of(weight, 1),
        dout: 1,
      })
      expect((await run(device, row(Number.NEGATIVE_INFINITY, 0, 1))).loss[0]).toBe(Number.POSITIVE_INFINITY)
      expect((await run(device, row(Number.NaN, 1, 1))).loss[0]).toBeNaN()
      expect((await run(device, row(Number.POSITIVE_INFINITY, 1, 1))).loss[0]).toBeNaN()
      for (const [target, weight] of [
        [-1, 1],
        [0, 0],
      ]) {
        const got = await run(device, row(Number.NaN, target, weight))
        expectClose(got.loss, [Math.LN2], tolerance, 'loss')
        expectClose(got.dlogits, [0, 0, 0.5, -0.5], { absolute: 2 ** -24 }, 'dlogits')
      }
    })

    it('counts a tie for its first class only', async () => {
      const targets = Int32Array.of(0, 1, 2, 20)
      const p = { rows: 4, classes: 21, logits: new Float64Array(84), targets, dout: 1 }
      expect((await run(device, p)).correct[0]).toBe(1)
    })
  })

  it('is 0 with gradient 0 when nothing counts', async () => {
    const device = openDevice()
    const p = problem(5, 4)
    for (const change of [
      { targets: new Int32Array(5).fill(-1) },
      { weights: new Float64Array(5) },
      { rows: 0, logits: new Float64Array(0), targets: new Int32Array(0) },
    ]) {
      const got = await run(device, { ...p, ...change })
      expect(got.loss[0]).toBe(0)
      expect(got.dlogits.every(value => value === 0)).toBe(true)
    }
  })

  it('adds to a gradient that is already there', async () => {
    const device = openDevice()
    const p = problem(5, 19)
    const logits = new Parameter('logits', Tensor.from(device, Float32Array.from(p.logits), [5, 19]))
    const start = new TestRandom(1).normals(95)
    logits.gradient.write(Float32Array.from(start))
    const tape = new Tape()
    const { loss } = tape.record(() => softmaxCrossEntropy(logits.value, Tensor.from(device, p.targets)))
    tape.backward([{ loss, dout: p.dout }])
    const want = reference(p).dlogits.map((value, i) => value + start[i])
    expectClose(await logits.gradient.read(), want, { absolute: 0, relative: 4 * 2 ** -24 })
  })

  it('assigns the gradient of an activation', async () => {
    const device = openDevice()
    const p = problem(6, 5)
    const logits = new Parameter('logits', Tensor.from(device, Float32Array.from(p.logits), [6, 5]))
    const tape = new Tape()
    // A stand-in op whose backward hands its gradient over, so that the gradient of `copy` is fresh memory.
    const { loss } = tape.record(() => {
      const copy = Tensor.empty(device, 'float32', [6, 5]).copyFrom(logits.value)
      tape.add(copy, [logits.value], dout => logits.gradient.copyFrom(dout))
      return softmaxCrossEntropy(copy, Tensor.from(device, p.targets))
    })
    tape.backward([{ loss: keep(loss), dout: p.dout }])
    const want = reference(p).dlogits
    expectClose(await logits.gradient.read(), want, { absolute: 2 ** -40, relative: 16 * 2 ** -24 })
  })

  it('has a reference whose gradients agree with finite differences', () => {
    const p = problem(6, 5, true)
    const { dlogits } = reference({ ...p, dout: 1 })
    const f = ([logits]: Float64Array[]) => Float64Array.of(reference({ ...p, logits }).loss)
    checkGradients(f, [p.logits], [dlogits], Float64Array.of(1))
    expect(() => checkGradients(f, [p.logits], [dlogits.map(v => v * 1.001)], Float64Array.of(1))).toThrow()
  })

  it.each([
    [5, 1],
    [-2, 2],
    [-(2 ** 31), 0],
    [2 ** 31 - 1, 0],
  ])('refuses target %i at the next read, and works on', async (bad, at) => {
    const device = openDevice()
    const logits = Tensor.zeros(device, 'float32', [3, 5])
    const targets = new Int32Array(3)
    targets[at] = bad
    const { loss } = softmaxCrossEntropy(logits, Tensor.from(device, targets))
    await expect(loss.read()).rejects.toThrow(
      new RangeError(
        `[softmax_cross_entropy_forward] expected targets in [-1, classes) but received ${bad} at index ${at}`,
      ),
    )
    const good = softmaxCrossEntropy(logits, Tensor.zeros(device, 'int32', [3]))
    expectClose(await good.loss.read(), [Math.log(5)], tolerance)
  })

  it('refuses wrong shapes, types and options', () => {
    const device = openDevice()
    const logits = Tensor.zeros(device, 'float32', [3, 5])
    const targets = Tensor.zeros(device, 'int32', [3])
    expect(() => softmaxCrossEntropy(logits, Tensor.zeros(device, 'int32', [4]))).toThrow(
      /\[softmax_cross_entropy_forward\] expected targets of shape \(3\) but received \(4\)/,
    )
    expect(() => softmaxCrossEntropy(targets as never, targets)).toThrow(TypeError)
    expect(() => softmaxCrossEntropy(logits, logits as never)).toThrow(TypeError)
    expect(() => softmaxCrossEntropy(Tensor.zeros(device, 'float32', [3, 0]), targets)).toThrow(/at least one class/)
    expect(() => softmaxCrossEntropy(logits, targets, { weight: targets } as never)).toThrow(/did you mean 'weights'/)
  })
})
