import { describe, expect, it } from 'vitest'
import { linear } from '../../lib/ops/linear.js'
import { CandidateSampler, type Candidates, sampledSoftmax } from '../../lib/ops/sampled_softmax.js'
import { softmaxCrossEntropy } from '../../lib/ops/softmax_cross_entropy.js'
import { Parameter, Tape } from '../../lib/runtime/tape.js'
import { scope, Tensor } from '../../lib/runtime/tensor.js'
import { Philox } from '../../lib/util/philox.js'
import { expectClose, expectSameBits } from '../support/close.js'
import { openDevice } from '../support/devices.js'
import { TestRandom } from '../support/random.js'

const device = openDevice()
const [rows, width, classes] = [7, 5, 40]

function parameters() {
  const random = new TestRandom(3)
  const make = (name: string, shape: number[]) => {
    const size = shape.reduce((a, b) => a * b, 1)
    return new Parameter(name, Tensor.from(device, Float32Array.from(random.normals(size)), shape))
  }
  return { x: make('x', [rows, width]), weight: make('weight', [classes, width]), bias: make('bias', [classes]) }
}

const targets = Int32Array.of(3, 39, -1, 3, 0, 17, 8)

/** Loss, correct and the gradients of x, weight and bias. */
async function run(
  loss: (p: ReturnType<typeof parameters>) => { loss: Tensor<'float32'>; correct: Tensor<'float32'> },
) {
  const p = parameters()
  const tape = new Tape()
  const result = scope(() => {
    const made = tape.record(() => loss(p))
    tape.backward([{ loss: made.loss }])
    return made
  })
  const all = [result.loss, result.correct, p.x.gradient, p.weight.gradient, p.bias.gradient]
  return Promise.all(all.map(tensor => tensor.read()))
}

const full = () =>
  run(({ x, weight, bias }) =>
    softmaxCrossEntropy(linear(x.value, weight.value, bias.value), Tensor.from(device, targets)),
  )

describe('CandidateSampler', () => {
  it('draws log-uniformly by default, and by counts', () => {
    const plain = new CandidateSampler(4)
    for (let c = 0; c < 4; c++) expect(plain.probability(c)).toBeCloseTo(Math.log((c + 2) / (c + 1)) / Math.log(5), 12)
    const counted = new CandidateSampler(4, [10, 0, 5, 4])
    for (const [c, count] of [10, 1, 5, 4].entries()) expect(counted.probability(c)).toBeCloseTo(count / 20, 12)
  })

  it('returns ascending classes that hold all targets, and where these stand', () => {
    const { classes: got, targets: at } = new CandidateSampler(classes).draw(targets, 5, new Philox(1))
    for (let i = 1; i < got.length; i++) expect(got[i]).toBeGreaterThan(got[i - 1])
    expect([...at].map(i => (i < 0 ? -1 : got[i]))).toEqual([...targets])
    expect(got.length).toBeLessThanOrEqual(5 + 5)
  })

  it('draws the same for the same seed, and other classes for another', () => {
    const sampler = new CandidateSampler(10_000)
    const draw = (seed: number) => sampler.draw(targets.subarray(0, 1), 50, new Philox(seed))
    expect(draw(1)).toEqual(draw(1))
    expect(draw(1).classes).not.toEqual(draw(2).classes)
  })

  it('includes a class as often as it says', () => {
    const sampler = new CandidateSampler(
      20,
      Float64Array.from({ length: 20 }, (_, c) => 1 + c * c),
    )
    const random = new Philox(5)
    const times = 20_000
    const seen = new Float64Array(20)
    const expected = new Float64Array(20)
    for (let i = 0; i < times; i++) {
      const drawn = sampler.draw(new Int32Array(0), 6, random)
      for (const [at, c] of drawn.classes.entries()) {
        seen[c]++
        expected[c] = Math.exp(drawn.logExpected[at])
      }
    }
    // Four standard errors.
    for (let c = 0; c < 20; c++) {
      expect(Math.abs(seen[c] / times - expected[c])).toBeLessThan(4 * Math.sqrt(expected[c] / times))
    }
  })

  it('refuses bad targets, samples and counts', () => {
    const sampler = new CandidateSampler(5)
    const random = new Philox(1)
    expect(() => sampler.draw(Int32Array.of(0, 5), 2, random)).toThrow(/expected targets in \[-1, 5\).*5 at index 1/)
    expect(() => sampler.draw(Int32Array.of(-2), 2, random)).toThrow(RangeError)
    expect(() => sampler.draw([0] as never, 2, random)).toThrow(TypeError)
    expect(() => sampler.draw(Int32Array.of(0), 0, random)).toThrow(/samples/)
    expect(() => new CandidateSampler(0)).toThrow(/at least one class/)
    expect(() => new CandidateSampler(3, [1, 2])).toThrow(/3 counts/)
    expect(() => new CandidateSampler(2, [1, Number.NaN])).toThrow(/finite counts/)
  })
})

describe('sampled_softmax', () => {
  it('is the full softmax, to the bit, when all classes are candidates', async () => {
    const all = new CandidateSampler(classes).draw(targets, classes, new Philox(1))
    const got = await run(({ x, weight, bias }) => sampledSoftmax(x.value, weight.value, bias.value, all))
    for (const [i, want] of (await full()).entries()) expectSameBits(got[i], want, `result ${i}`)
  })

  it('is the full softmax over its candidates, corrections apart', async () => {
    // All classes but one, without corrections, against the full softmax with that class ruled out by its bias.
    const left = Int32Array.from({ length: classes - 1 }, (_, i) => (i < 5 ? i : i + 1))
    const candidates: Candidates = {
      classes: left,
      targets: targets.map(target => left.indexOf(target)),
      logExpected: new Float32Array(classes - 1),
    }
    const got = await run(({ x, weight, bias }) => sampledSoftmax(x.value, weight.value, bias.value, candidates))
    const want = await run(({ x, weight, bias }) => {
      bias.value.view(5, [1]).fill(-1e30)
      return softmaxCrossEntropy(linear(x.value, weight.value, bias.value), Tensor.from(device, targets))
    })
    for (const [i, values] of want.entries()) {
      expectClose(got[i], values, { absolute: 2 ** -24, relative: 16 * 2 ** -24 }, `result ${i}`)
    }
  })

  it('shifts logits by the corrections, with or without a bias', async () => {
    const candidates: Candidates = {
      classes: Int32Array.of(0, 3),
      targets: Int32Array.of(1),
      logExpected: Float32Array.of(Math.log(0.25), 0),
    }
    const x = Tensor.zeros(device, 'float32', [1, width])
    const { weight, bias } = parameters()
    const plain = sampledSoftmax(x, weight.value, null, candidates)
    expectClose(await plain.loss.read(), [Math.log(5)], { absolute: 2 ** -22 })
    const b = await bias.value.read()
    const shifted = sampledSoftmax(x, weight.value, bias.value, candidates)
    const want = Math.log(1 + Math.exp(b[0] + Math.log(4) - b[3]))
    expectClose(await shifted.loss.read(), [want], { absolute: 2 ** -21 })
  })

  it('has no gradient, on average, at the true log-probabilities', async () => {
    const count = 30
    const counts = Float64Array.from({ length: count }, (_, c) => (c + 1) ** 2)
    const sampler = new CandidateSampler(count, counts)
    const x = Tensor.from(device, Float32Array.of(1), [1, 1])
    const truth = Float32Array.from({ length: count }, (_, c) => Math.log(sampler.probability(c)))
    const weight = new Parameter('weight', Tensor.from(device, truth, [count, 1]))
    const average = async (corrected: boolean) => {
      const random = new Philox(11)
      weight.zeroGradient()
      const steps = 3000
      for (let i = 0; i < steps; i++) {
        scope(() => {
          const drawn = sampler.draw(Int32Array.of(random.choice(counts)), 8, random)
          const tape = new Tape()
          const { loss } = tape.record(() =>
            sampledSoftmax(
              x,
              weight.value,
              null,
              corrected ? drawn : { ...drawn, logExpected: new Float32Array(drawn.classes.length) },
            ),
          )
          tape.backward([{ loss, dout: 1 / steps }])
        })
        if (i % 500 === 0) await device.sync()
      }
      return Math.max(...(await weight.gradient.read()).map(Math.abs))
    }
    // Standard error of a class of probability 0.1: sqrt(0.1 · 0.9 / 3000) = 0.0055 before the loss narrows it.
    expect(await average(true)).toBeLessThan(0.015)
    expect(await average(false)).toBeGreaterThan(0.03)
  })
})
