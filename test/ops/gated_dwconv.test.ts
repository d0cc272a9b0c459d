import { describe, expect, it } from 'vitest'
import { binding } from '../../lib/native.js'
import { dwconv, gatedDwconv } from '../../lib/ops/gated_dwconv.js'
import { gatedDwconvBackward, gatedDwconvForward } from '../../lib/reference/gated_dwconv.js'
import type { Device } from '../../lib/runtime/device.js'
import { Parameter, Tape } from '../../lib/runtime/tape.js'
import { keep, Offsets, scope, Tensor } from '../../lib/runtime/tensor.js'
import { expectClose, expectSameBits } from '../support/close.js'
import { everyVariant, expectSameOnThreads, openDevice } from '../support/devices.js'
import { checkGradients } from '../support/gradcheck.js'
import { TestRandom } from '../support/random.js'

interface Sizes {
  lengths: number[]
  channels: number
  width: number
  dilation?: number
  causal?: boolean
}

function problem({ lengths, channels, width, dilation = 1, causal = false }: Sizes) {
  const offsets = new Int32Array(lengths.length + 1)
  for (let s = 0; s < lengths.length; s++) offsets[s + 1] = offsets[s] + lengths[s]
  const events = offsets[lengths.length]
  const random = new TestRandom(events * 1000 + channels * 10 + width)
  // Sums over the width of about size 1, so that the gate is not saturated.
  const scale = 1 / Math.sqrt(width)
  return {
    x: random.normals(events * channels),
    weight: random.normals(width * channels, scale),
    bias: random.normals(channels),
    gateWeight: random.normals(width * channels, scale),
    gateBias: random.normals(channels),
    dout: random.normals(events * channels),
    offsets,
    events,
    channels,
    width,
    dilation,
    causal,
  }
}

type Problem = ReturnType<typeof problem>

/** Forward and backward on a device. */
async function run(device: Device, p: Problem, xIsParameter = true) {
  const tensor = (values: Float64Array, shape: number[]) => Tensor.from(device, Float32Array.from(values), shape)
  const x = tensor(p.x, [p.events, p.channels])
  const parameters = {
    weight: new Parameter('weight', tensor(p.weight, [p.width, p.channels])),
    bias: new Parameter('bias', tensor(p.bias, [p.channels])),
    gateWeight: new Parameter('gateWeight', tensor(p.gateWeight, [p.width, p.channels])),
    gateBias: new Parameter('gateBias', tensor(p.gateBias, [p.channels])),
    ...(xIsParameter ? { x: new Parameter('x', x) } : {}),
  }
  const { weight, bias, gateWeight, gateBias } = parameters
  const offsets = new Offsets(device, p.offsets)
  const options = { dilation: p.dilation, causal: p.causal }
  const tape = new Tape()
  const out = scope(() => {
    const out = keep(
      tape.record(() => gatedDwconv(x, weight.value, bias.value, gateWeight.value, gateBias.value, offsets, options)),
    )
    tape.backward([{ loss: out, dout: tensor(p.dout, [p.events, p.channels]) }])
    return out
  })
  const result: Record<string, Float32Array> = { out: await out.read() }
  for (const [name, parameter] of Object.entries(parameters)) result[`d${name}`] = await parameter.gradient.read()
  for (const item of [out, x, offsets, ...Object.values(parameters)]) item.dispose()
  await device.sync()
  return result
}

/** The problem of one sequence alone. */
function alone(p: Problem, s: number): Problem {
  const [begin, end] = [p.offsets[s], p.offsets[s + 1]]
  const rows = (values: Float64Array) => values.subarray(begin * p.channels, end * p.channels)
  return { ...p, x: rows(p.x), dout: rows(p.dout), events: end - begin, offsets: Int32Array.of(0, end - begin) }
}

// A float32 sum of n terms errs by up to n·2⁻²⁴ of the sum of their sizes, here √n of the result; 8 for the gate.
const tolerance = (terms: number) => ({ absolute: 2 ** -24, relative: (terms + 8) * 2 ** -23 })

// Roundings of many terms are random: eight deviations of them. An event left out would weigh 1/√n, and be seen.
const ofLongSums = (terms: number) => ({ absolute: 0, relative: 8 * Math.sqrt(terms) * 2 ** -24 })

async function expectReference(device: Device, p: Problem, ofSums = tolerance(p.events)) {
  const got = await run(device, p)
  const want = gatedDwconvBackward(p, p.dout)
  expectClose(got.out, gatedDwconvForward(p), tolerance(p.width), 'out')
  expectClose(got.dx, want.dx, tolerance(2 * p.width), 'dx')
  for (const name of ['dweight', 'dbias', 'dgateWeight', 'dgateBias'] as const) {
    expectClose(got[name], want[name], ofSums, name)
  }
}

const uneven = [5, 0, 1, 40, 2, 3, 0, 0, 1, 70, 8, 9]

describe('gated_dwconv', () => {
  describe.each(everyVariant())('%s', (_, device) => {
    const widths = [1, 3, 5, 31, 255]
    const dilations = [1, 2, 7]
    it.each(
      widths.flatMap(width =>
        dilations.flatMap(dilation => [false, true].map(causal => ({ width, dilation, causal }))),
      ),
    )('matches the reference at width $width, dilation $dilation, causal $causal', async options => {
      await expectReference(device, problem({ lengths: uneven, channels: 17, ...options }))
      await expectReference(device, problem({ lengths: [300], channels: 3, ...options }))
    })

    it.each([1, 3, 16, 17, 128, 130])('matches the reference with %i channels', async channels => {
      await expectReference(device, problem({ lengths: [20, 3, 2, 30, 11], channels, width: 5 }))
    })

    it('matches the reference over many ranges of events', async () => {
      await expectReference(device, problem({ lengths: [1, 600, 3, 1200, 2], channels: 5, width: 31, dilation: 2 }))
    })

    it('matches the reference on a sequence of 64 000 events', async () => {
      const p = problem({ lengths: [64_000], channels: 2, width: 5, dilation: 3 })
      await expectReference(device, p, ofLongSums(p.events))
    })

    it('gives the same bits for 1, 2 and 3 threads', async () => {
      const p = problem({ lengths: [700, 3, 3, 500, 900], channels: 70, width: 5 })
      await expectSameOnThreads(device, other => run(other, p))
    })

    it.each([
      { width: 5, dilation: 1, causal: false },
      { width: 31, dilation: 2, causal: false },
      { width: 255, dilation: 1, causal: true },
    ])('gives a sequence the same bits alone and among others at %o', async options => {
      const p = problem({ lengths: [3, 301, 2, 1, 4, 8, 17, 5, 600], channels: 19, ...options })
      const all = await run(device, p)
      for (let s = 0; s + 1 < p.offsets.length; s++) {
        const rows = (values: Float32Array) => values.subarray(p.offsets[s] * p.channels, p.offsets[s + 1] * p.channels)
        const one = await run(device, alone(p, s))
        expectSameBits(one.out, rows(all.out), `out of sequence ${s}`)
        expectSameBits(one.dx, rows(all.dx), `dx of sequence ${s}`)
      }
    })

    it('never lets a later event change an earlier output when causal', async () => {
      const p = problem({ lengths: [90], channels: 6, width: 5, dilation: 3, causal: true })
      const before = await run(device, p)
      for (const t of [0, 7, 50, 89]) {
        const x = p.x.map((value, i) => (i >= t * p.channels ? value + 1 : value))
        const after = await run(device, { ...p, x })
        const early = t * p.channels
        if (t > 0) expectSameBits(after.out.subarray(0, early), before.out.subarray(0, early))
        expect(after.out.subarray(early)).not.toEqual(before.out.subarray(early))
      }
    })

    it('adds to gradients that stand there, and skips that of a constant', async () => {
      const p = problem({ lengths: uneven, channels: 20, width: 3 })
      const once = await run(device, p)
      const constant = await run(device, p, false)
      expect(constant.dx).toBeUndefined()
      expectSameBits(constant.dweight, once.dweight)
      expectSameBits(constant.dgateBias, once.dgateBias)
      const twice = await run(device, { ...p, dout: p.dout.map(value => 2 * value) })
      const tensor = (values: Float64Array, shape: number[]) => Tensor.from(device, Float32Array.from(values), shape)
      const x = new Parameter('x', tensor(p.x, [p.events, p.channels]))
      const weight = new Parameter('weight', tensor(p.weight, [p.width, p.channels]))
      const gateWeight = tensor(p.gateWeight, [p.width, p.channels])
      const tape = new Tape()
      const loss = () => {
        const offsets = new Offsets(device, p.offsets)
        const bias = tensor(p.bias, [p.channels])
        const gateBias = tensor(p.gateBias, [p.channels])
        const out = gatedDwconv(x.value, weight.value, bias, gateWeight, gateBias, offsets)
        return { loss: out, dout: tensor(p.dout, [p.events, p.channels]) }
      }
      tape.backward(tape.record(() => [loss(), loss()]))
      expectClose(await x.gradient.read(), twice.dx, { absolute: 0, relative: 2 ** -22 })
      expectClose(await weight.gradient.read(), twice.dweight, { absolute: 0, relative: 2 ** -22 })
    })

    it.each([Number.NaN, Number.POSITIVE_INFINITY])('keeps %d where it belongs', async value => {
      const p = problem({ lengths: [6, 6], channels: 2, width: 3 })
      const x = p.x.map((old, i) => (i === 2 * p.channels ? value : old))
      const { out } = await run(device, { ...p, x })
      const isBad = Array.from(out, value => !Number.isFinite(value))
      expect(isBad.flatMap((yes, i) => (yes ? [i] : []))).toEqual([1, 2, 3].map(t => t * p.channels))
    })
  })

  it('has a reference whose gradients agree with finite differences', () => {
    for (const causal of [false, true]) {
      const p = problem({ lengths: [4, 1, 0, 9], channels: 2, width: 5, dilation: 2, causal })
      const names = ['x', 'weight', 'bias', 'gateWeight', 'gateBias'] as const
      const f = ([x, weight, bias, gateWeight, gateBias]: Float64Array[]) =>
        gatedDwconvForward({ ...p, x, weight, bias, gateWeight, gateBias })
      const inputs = names.map(name => p[name])
      const { dx, dweight, dbias, dgateWeight, dgateBias } = gatedDwconvBackward(p, p.dout)
      checkGradients(f, inputs, [dx, dweight, dbias, dgateWeight, dgateBias], p.dout)
      const broken = [dx, dweight, dbias, dgateWeight.map(v => v * 1.001), dgateBias]
      expect(() => checkGradients(f, inputs, broken, p.dout)).toThrow()
    }
  })

  it('takes no sequence and empty ones', async () => {
    const device = openDevice({ guard: false })
    for (const lengths of [[], [0, 0, 0]]) {
      const none = await run(device, problem({ lengths, channels: 4, width: 3 }))
      expect(none.out.length).toBe(0)
      expectSameBits(none.dweight, new Float32Array(12))
    }
  })

  it.each(everyVariant())('%s: without a gate, it is the first factor and its gradients', async (_, device) => {
    const p = problem({ lengths: uneven, channels: 19, width: 5, dilation: 2, causal: true })
    // In float64 a gate of σ(100) is 1 − 4·10⁻⁴⁴, which is 1.
    const open = { ...p, gateWeight: p.gateWeight.map(() => 0), gateBias: p.gateBias.map(() => 100) }
    const tensor = (values: Float64Array, ...shape: number[]) => Tensor.from(device, Float32Array.from(values), shape)
    const x = new Parameter('x', tensor(p.x, p.events, p.channels))
    const weight = new Parameter('weight', tensor(p.weight, p.width, p.channels))
    const bias = new Parameter('bias', tensor(p.bias, p.channels))
    const tape = new Tape()
    const options = { dilation: p.dilation, causal: p.causal }
    const offsets = new Offsets(device, p.offsets)
    const out = tape.record(() => dwconv(x.value, weight.value, bias.value, offsets, options))
    tape.backward([{ loss: out, dout: tensor(p.dout, p.events, p.channels) }])
    const want = gatedDwconvBackward(open, p.dout)
    expectClose(await out.read(), gatedDwconvForward(open), tolerance(p.width), 'out')
    expectClose(await x.gradient.read(), want.dx, tolerance(p.width), 'dx')
    expectClose(await weight.gradient.read(), want.dweight, tolerance(p.events), 'dweight')
    expectClose(await bias.gradient.read(), want.dbias, tolerance(p.events), 'dbias')
  })

  it('gives a batch too large for the caches the bits of its sequences', async () => {
    // Without guards: only an output on whole lines is written past the caches.
    const device = openDevice({ guard: false })
    const [length, channels] = [40_000, 256]
    const values = new TestRandom(7).normals(9973)
    const rows = Float32Array.from({ length: length * channels }, (_, i) => values[i % 9973])
    const parameter = (...shape: number[]) =>
      Tensor.from(
        device,
        Float32Array.from(
          values.subarray(
            0,
            shape.reduce((a, b) => a * b),
          ),
        ),
        shape,
      )
    const [weight, gateWeight, bias, gateBias] = [
      ...[0, 1].map(() => parameter(5, channels)),
      ...[0, 1].map(() => parameter(channels)),
    ]
    const run = async (sequences: number) => {
      const x = new Float32Array(sequences * rows.length)
      for (let s = 0; s < sequences; s++) x.set(rows, s * rows.length)
      const offsets = new Offsets(
        device,
        Int32Array.from({ length: sequences + 1 }, (_, s) => s * length),
      )
      const input = Tensor.from(device, x, [sequences * length, channels])
      return gatedDwconv(input, weight, bias, gateWeight, gateBias, offsets).read()
    }
    const [one, two] = [await run(1), await run(2)]
    for (const s of [0, 1]) expectSameBits(two.subarray(s * rows.length, (s + 1) * rows.length), one)
  })

  it('takes a dilation beyond every sequence', async () => {
    await expectReference(openDevice(), problem({ lengths: [5, 90], channels: 4, width: 5, dilation: 2 ** 31 - 1 }))
  })

  it('refuses even widths, wrong shapes, options and offsets', () => {
    const device = openDevice()
    const zeros = (...shape: number[]) => Tensor.zeros(device, 'float32', shape)
    const offsets = new Offsets(device, Int32Array.of(0, 2))
    const call = (change: Partial<Record<'weight' | 'bias' | 'gateWeight' | 'gateBias', Tensor<'float32'>>> = {}) => {
      const { weight = zeros(3, 4), bias = zeros(4), gateWeight = zeros(3, 4), gateBias = zeros(4) } = change
      return gatedDwconv(zeros(2, 4), weight, bias, gateWeight, gateBias, offsets)
    }
    expect(call().shape).toEqual([2, 4])
    expect(() => call({ weight: zeros(2, 4), gateWeight: zeros(2, 4) })).toThrow(
      /\[gated_dwconv_forward\] expected weight with an odd width from 1 to 255 but received 2/,
    )
    expect(() => call({ weight: zeros(257, 4), gateWeight: zeros(257, 4) })).toThrow(RangeError)
    expect(() => call({ weight: zeros(0, 4), gateWeight: zeros(0, 4) })).toThrow(RangeError)
    expect(() => call({ gateWeight: zeros(5, 4) })).toThrow(/expected gate_weight of shape \(3, 4\)/)
    expect(() => call({ bias: zeros(3) })).toThrow(/expected bias of shape \(4\)/)
    expect(() => call({ gateBias: zeros(4, 1) })).toThrow(RangeError)
    const withOptions = (options: object, o = offsets) =>
      gatedDwconv(zeros(2, 4), zeros(3, 4), zeros(4), zeros(3, 4), zeros(4), o, options)
    expect(() =>
      binding.gated_dwconv_forward(
        device.handle,
        zeros(2, 4).handle,
        zeros(3, 4).handle,
        zeros(4).handle,
        zeros(3, 4).handle,
        null,
        offsets.handle,
        1,
        false,
        zeros(2, 4).handle,
      ),
    ).toThrow(/expected all parts of the gate or none but received 1 of 2/)
    expect(() => withOptions({ dilation: 0 })).toThrow(/expected dilation to be an integer in \[1, 2147483647\]/)
    expect(() => withOptions({ dilation: 1.5 })).toThrow(RangeError)
    expect(() => withOptions({ dilatoin: 2 })).toThrow(/did you mean 'dilation'/)
    expect(() => withOptions({ causal: 1 })).toThrow(TypeError)
    expect(() => withOptions({}, new Offsets(device, Int32Array.of(0, 3)))).toThrow(/over 2 events/)
  })
})
