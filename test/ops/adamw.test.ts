import { describe, expect, it } from 'vitest'
import { type AdamwSettings, adamwUpdate } from '../../lib/ops/adamw.js'
import { adamwUpdate as referenceUpdate } from '../../lib/reference/adamw.js'
import type { Device } from '../../lib/runtime/device.js'
import { Tensor } from '../../lib/runtime/tensor.js'
import { expectClose, expectSameBits } from '../support/close.js'
import { everyVariant, expectSameOnThreads, openDevice } from '../support/devices.js'
import { TestRandom } from '../support/random.js'

// The kernel receives its settings as float32: rounded here, so that both compute with the same numbers.
const settings: AdamwSettings = {
  lr: Math.fround(0.01),
  beta1: Math.fround(0.9),
  beta2: Math.fround(0.999),
  eps: Math.fround(1e-8),
  weightDecay: Math.fround(0.1),
  maxNorm: 1,
  step: 1,
  zeroGradients: false,
}

const sizes = [1, 7, 16_384, 0, 17_001, 33]

function problem(counts: readonly number[] = sizes, scale = 1) {
  const random = new TestRandom(counts.length)
  return counts.map((size, i) => ({
    value: random.normals(size),
    gradient: random.normals(size, scale),
    m: random.normals(size, 0.1),
    v: random.normals(size, 0.1).map(Math.abs),
    decay: i % 2 === 0,
  }))
}

function concatenated(parts: ArrayLike<number>[]): Float64Array {
  const all = new Float64Array(parts.reduce((sum, part) => sum + part.length, 0))
  let at = 0
  for (const part of parts) {
    all.set(part, at)
    at += part.length
  }
  return all
}

const joined = (parts: ArrayLike<number>[]) => Float32Array.from(concatenated(parts))

/** One update on a device: the norm, and value, m, v and gradient of all entries one after the other. */
async function run(device: Device, p: ReturnType<typeof problem>, change: Partial<AdamwSettings> = {}) {
  const entries = p.map(({ decay, ...arrays }) => {
    const [value, gradient, m, v] = [arrays.value, arrays.gradient, arrays.m, arrays.v].map(values =>
      Tensor.from(device, Float32Array.from(values)),
    )
    return { value, gradient, m, v, decay }
  })
  const norm = Tensor.zeros(device, 'float32', [1])
  adamwUpdate(entries, norm, { ...settings, ...change })
  const join = async (key: 'value' | 'm' | 'v' | 'gradient') =>
    joined(await Promise.all(entries.map(entry => entry[key].read())))
  const result = {
    norm: await norm.read(),
    value: await join('value'),
    m: await join('m'),
    v: await join('v'),
    gradient: await join('gradient'),
  }
  for (const { value, gradient, m, v } of entries) for (const tensor of [value, gradient, m, v]) tensor.dispose()
  norm.dispose()
  await device.sync()
  return result
}

function reference(p: ReturnType<typeof problem>, change: Partial<AdamwSettings> = {}) {
  const copies = p.map(e => ({ ...e, value: e.value.slice(), m: e.m.slice(), v: e.v.slice() }))
  const norm = referenceUpdate(copies, { ...settings, ...change })
  const [value, m, v] = (['value', 'm', 'v'] as const).map(key => concatenated(copies.map(entry => entry[key])))
  return { norm, value, m, v }
}

describe('adamw', () => {
  describe.each(everyVariant())('%s', (_, device) => {
    it.each([
      { step: 1 },
      { step: 1000, maxNorm: Number.POSITIVE_INFINITY },
      { step: 7, maxNorm: 1e6, weightDecay: 0 },
      { step: 3, beta1: 0, beta2: 0 },
    ])('matches the reference with %o', async change => {
      const p = problem()
      const got = await run(device, p, change)
      const want = reference(p, change)
      expectClose(got.norm, [want.norm], { absolute: 0, relative: 2 ** -24 }, 'norm')
      // A handful of roundings each; the quotient of m and √v is at most of size 1 / √(1 − β2).
      expectClose(got.m, want.m, { absolute: 0, relative: 4 * 2 ** -24 }, 'm')
      expectClose(got.v, want.v, { absolute: 0, relative: 4 * 2 ** -24 }, 'v')
      expectClose(got.value, want.value, { absolute: 0, relative: 4 * 2 ** -24 }, 'value')
      expectSameBits(got.gradient, joined(p.map(e => e.gradient)), 'gradient')
    })

    it('sets gradients to zero when asked, and changes nothing else by it', async () => {
      const p = problem()
      const kept = await run(device, p)
      const zeroed = await run(device, p, { zeroGradients: true })
      for (const key of ['norm', 'value', 'm', 'v'] as const) expectSameBits(zeroed[key], kept[key], key)
      expectSameBits(zeroed.gradient, new Float32Array(zeroed.gradient.length), 'gradient')
    })

    it('gives the same bits for 1, 2 and 3 threads', async () => {
      const p = problem([40_003, 5, 20_000])
      await expectSameOnThreads(device, other => run(other, p))
    })

    it.each([Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY])(
      'updates nothing when a gradient is %f',
      async bad => {
        const p = problem([20, 16_400])
        p[1].gradient[16_399] = bad
        const got = await run(device, p, { zeroGradients: true })
        expect(got.norm[0]).toBe(Number.isNaN(bad) ? bad : Number.POSITIVE_INFINITY)
        for (const key of ['value', 'm', 'v', 'gradient'] as const) {
          expectSameBits(got[key], joined(p.map(e => e[key])), key)
        }
      },
    )

    it('clips gradients whose squares exceed float32', async () => {
      const p = problem([50], 1e30)
      const got = await run(device, p)
      const want = reference(p)
      expectClose(got.norm, [want.norm], { absolute: 0, relative: 2 ** -24 }, 'norm')
      expectClose(got.value, want.value, { absolute: 0, relative: 8 * 2 ** -24 }, 'value')
    })
  })

  it('takes the plain step of the paper at the first step', async () => {
    const p = [
      {
        value: Float64Array.of(1, 1),
        gradient: Float64Array.of(0.5, -0.25),
        m: new Float64Array(2),
        v: new Float64Array(2),
        decay: true,
      },
    ]
    // m̂ / √v̂ is the gradient's sign; decay takes lr · 0.1 of the value.
    const got = await run(openDevice(), p)
    expectClose(got.value, [1 - 0.001 - 0.01, 1 - 0.001 + 0.01], { absolute: 1e-6 })
  })

  it('takes no entries', async () => {
    const device = openDevice()
    const norm = Tensor.from(device, Float32Array.of(5))
    adamwUpdate([], norm, settings)
    expect(await norm.read()).toEqual(Float32Array.of(0))
  })

  it('refuses wrong sizes, types, repeated tensors and settings', () => {
    const device = openDevice()
    const make = (shape: number[]) => Tensor.zeros(device, 'float32', shape)
    const entry = (shape: number[]) => {
      const [value, gradient, m, v] = [0, 1, 2, 3].map(() => make(shape))
      return { value, gradient, m, v, decay: true }
    }
    const norm = make([1])
    expect(() => adamwUpdate([{ ...entry([2, 3]), gradient: make([5]) }], norm, settings)).toThrow(
      /\[adamw_update\] expected gradients of 6 elements but received \(5\)/,
    )
    const once = entry([4])
    expect(() => adamwUpdate([once, once], norm, settings)).toThrow(/overlapping memory/)
    expect(() => adamwUpdate([{ ...once, m: once.v }], norm, settings)).toThrow(/overlapping memory/)
    // Among so many that they are sorted first; the overlap is of any two, and of a part.
    const many = Array.from({ length: 20 }, () => entry([4]))
    const base = make([10])
    expect(() => adamwUpdate([...many, once, ...many.slice(7, 8)], norm, settings)).toThrow(/overlapping memory/)
    const parts = [base.view(0, [4]), base.view(3, [4])]
    const reaching = many.map((one, i) => (i === 3 || i === 17 ? { ...one, v: parts[i === 3 ? 0 : 1] } : one))
    expect(() => adamwUpdate(reaching, norm, settings)).toThrow(/expected v apart from v but received overlapping/)
    expect(() => adamwUpdate(many, norm, settings)).not.toThrow()
    expect(() => adamwUpdate([{ ...once, decay: 1 as never }], norm, settings)).toThrow(TypeError)
    expect(() => adamwUpdate([{ ...once, m: Tensor.zeros(device, 'int32', [4]) as never }], norm, settings)).toThrow(
      TypeError,
    )
    for (const change of [
      { lr: -1 },
      { lr: Number.NaN },
      { beta1: 1 },
      { eps: 0 },
      { maxNorm: 0 },
      { step: 0 },
      { step: 1.5 },
    ]) {
      expect(() => adamwUpdate([once], norm, { ...settings, ...change }), JSON.stringify(change)).toThrow(RangeError)
    }
  })
})
