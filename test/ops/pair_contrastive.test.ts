import { describe, expect, it } from 'vitest'
import { pairContrastive } from '../../lib/ops/pair_contrastive.js'
import { type PairMode, pairContrastive as reference } from '../../lib/reference/pair_contrastive.js'
import type { Device } from '../../lib/runtime/device.js'
import { Parameter, Tape } from '../../lib/runtime/tape.js'
import { scope, Tensor } from '../../lib/runtime/tensor.js'
import { expectClose } from '../support/close.js'
import { everyVariant, expectSameOnThreads, openDevice } from '../support/devices.js'
import { checkGradients } from '../support/gradcheck.js'
import { TestRandom } from '../support/random.js'

const width = 12
const temperature = 0.5

function problem(pairs: number, mode: PairMode) {
  const random = new TestRandom(pairs)
  const u = random.normals(pairs * width, 0.5)
  return {
    // v leans to u, so that there is something to find.
    u,
    v: u.map((x, i) => Math.fround(x + 0.3 * Math.sin(i))),
    entity: Int32Array.from({ length: pairs }, () => random.integer(-1, pairs)),
    width,
    temperature,
    mode,
  }
}

async function run(device: Device, p: ReturnType<typeof problem>, dout = 1) {
  const shape = [p.entity.length, width]
  const u = new Parameter('u', Tensor.from(device, Float32Array.from(p.u), shape))
  const v = new Parameter('v', Tensor.from(device, Float32Array.from(p.v), shape))
  const entity = Tensor.from(device, p.entity)
  const tape = new Tape()
  const { loss, correct } = scope(() => {
    const result = tape.record(() =>
      pairContrastive(u.value, v.value, entity, { temperature: p.temperature, mode: p.mode }),
    )
    tape.backward([{ loss: result.loss, dout }])
    return result
  })
  const [a, b, du, dv] = await Promise.all([loss, correct, u.gradient, v.gradient].map(t => t.read()))
  for (const item of [loss, correct, entity, u, v]) item.dispose()
  await device.sync()
  return { loss: a, correct: b, du, dv }
}

// Scores are sums of 12 terms of size 1 over a temperature of 1/2: off by up to 24·2⁻²⁴, as are logarithms and
// exponentials of them. Gradients add up to 300 of those with factors of size 1.
const tolerance = { absolute: 48 * 2 ** -24, relative: 48 * 2 ** -24 }

describe('pair_contrastive', () => {
  const cases: [number, PairMode][] = [1, 2, 3, 16, 17, 65, 300].flatMap(pairs => [
    [pairs, 'softmax'],
    [pairs, 'binary'],
  ])

  describe.each(everyVariant())('%s', (_, device) => {
    it.each(cases)('matches the reference for %i pairs, %s', async (pairs, mode) => {
      const p = problem(pairs, mode)
      const got = await run(device, p, 0.5)
      const want = reference(p)
      expectClose(got.loss, [want.loss], tolerance, 'loss')
      expectClose(got.correct, [want.correct], { absolute: 0 }, 'correct')
      for (const key of ['du', 'dv'] as const) {
        expectClose(
          got[key],
          want[key].map(x => 0.5 * x),
          { absolute: (48 * 2 ** -24) / pairs },
          key,
        )
      }
    })

    it.each(['softmax', 'binary'] as const)('gives the same bits for 1, 2 and 3 threads, %s', async mode => {
      const p = problem(200, mode)
      await expectSameOnThreads(device, other => run(other, p))
    })

    it('takes scores of ±1e4', async () => {
      for (const mode of ['softmax', 'binary'] as const) {
        const p = { ...problem(20, mode), temperature: 1e-4 }
        const got = await run(device, p)
        const want = reference({ ...p, temperature: 1 / Math.fround(1 / p.temperature) })
        expectClose(got.loss, [want.loss], { absolute: 0, relative: 1e-5 }, mode)
        for (const values of [got.du, got.dv]) for (const value of values) expect(Number.isFinite(value)).toBe(true)
      }
    })
  })

  it.each(['softmax', 'binary'] as const)('has a reference whose gradients agree with finite differences, %s', mode => {
    const p = problem(7, mode)
    const { du, dv } = reference(p)
    const f = ([u, v]: Float64Array[]) => Float64Array.of(reference({ ...p, u, v }).loss)
    checkGradients(f, [p.u, p.v], [du, dv], Float64Array.of(1))
    expect(() => checkGradients(f, [p.u, p.v], [du, dv.map(x => x * 1.001)], Float64Array.of(1))).toThrow()
  })

  it('does not hold pieces of one entity against each other', async () => {
    const device = openDevice()
    const p = { ...problem(6, 'softmax'), entity: new Int32Array(6).fill(4) }
    const all = await run(device, p)
    expect([all.loss[0], all.correct[0]]).toEqual([0, 6])
    expect([...all.du, ...all.dv].every(x => x === 0)).toBe(true)
    // One pair of another entity: now each of the six has one negative, and it has six.
    const other = await run(device, { ...p, entity: Int32Array.of(4, 4, 4, 4, 4, 9) })
    expect(other.loss[0]).toBeGreaterThan(0)
  })

  it('is ln(pairs) when all scores are equal, and finds none', async () => {
    const p = {
      ...problem(9, 'softmax'),
      entity: Int32Array.from({ length: 9 }, (_, i) => i),
      u: new Float64Array(108),
    }
    const got = await run(openDevice(), p)
    expectClose(got.loss, [Math.log(9)], { absolute: 0, relative: 4 * 2 ** -24 })
    expect(got.correct[0]).toBe(0)
    const binary = await run(openDevice(), { ...p, mode: 'binary' })
    expectClose(binary.loss, [Math.LN2], { absolute: 0, relative: 4 * 2 ** -24 })
  })

  it('is NaN for NaN', async () => {
    for (const mode of ['softmax', 'binary'] as const) {
      const p = problem(5, mode)
      p.u[3] = Number.NaN
      expect((await run(openDevice(), p)).loss[0]).toBeNaN()
    }
  })

  it('takes no pairs', async () => {
    for (const mode of ['softmax', 'binary'] as const) {
      const got = await run(openDevice(), problem(0, mode))
      expect([got.loss[0], got.correct[0]]).toEqual([0, 0])
    }
  })

  it('refuses wrong shapes, options and too many pairs', () => {
    const device = openDevice()
    const u = Tensor.zeros(device, 'float32', [3, 2])
    const entity = Tensor.zeros(device, 'int32', [3])
    expect(() => pairContrastive(u, Tensor.zeros(device, 'float32', [4, 2]), entity)).toThrow(/3 pairs/)
    expect(() => pairContrastive(u, Tensor.zeros(device, 'float32', [3, 4]), entity)).toThrow(RangeError)
    expect(() => pairContrastive(u, u, Tensor.zeros(device, 'int32', [2]))).toThrow(/entity of shape \(3\)/)
    expect(() => pairContrastive(u, u, entity, { temperature: 0 })).toThrow(/temperature above 0/)
    expect(() => pairContrastive(u, u, entity, { temperature: 1e-9 })).toThrow(RangeError)
    expect(() => pairContrastive(u, u, entity, { mode: 'soft' as never })).toThrow(/mode/)
    expect(() => pairContrastive(u, u, entity, { tau: 1 } as never)).toThrow(/known options/)
    const many = Tensor.zeros(device, 'float32', [4097, 1])
    expect(() => pairContrastive(many, many, entity)).toThrow(/at most 4096 pairs/)
  })
})
