import { describe, expect, it } from 'vitest'
import { binding } from '../../lib/native.js'
import { blockAttention } from '../../lib/ops/block_attention.js'
import {
  type BlockAttentionProblem,
  blockAttentionBackward,
  blockAttentionForward,
  blocksOf,
} from '../../lib/reference/block_attention.js'
import type { Device } from '../../lib/runtime/device.js'
import { Parameter, Tape } from '../../lib/runtime/tape.js'
import { Offsets, scope, Tensor } from '../../lib/runtime/tensor.js'
import { attentionTolerance } from '../support/attention.js'
import { expectClose, expectSameBits } from '../support/close.js'
import { everyVariant, expectSameOnThreads, openDevice } from '../support/devices.js'
import { checkGradients } from '../support/gradcheck.js'
import { offsetsOf } from '../support/packed.js'
import { TestRandom } from '../support/random.js'

interface Problem extends BlockAttentionProblem {
  readonly offsets: Int32Array
  readonly qkv: Float64Array
  readonly dout: Float64Array
}

function problem(heads: number, dim: number, block: number, shift: boolean, lengths: number[]): Problem {
  const random = new TestRandom(heads * 7919 + dim * 104729 + block * 31 + lengths.length)
  const offsets = offsetsOf(lengths)
  const events = offsets[lengths.length]
  const width = heads * dim
  return {
    ...{ heads, width, block, shift, offsets },
    qkv: random.normals(events * 3 * width),
    dout: random.normals(events * width),
  }
}

/** Forward and backward into fresh memory, which guard mode fills with NaN. */
async function run(device: Device, p: Problem) {
  const events = p.offsets[p.offsets.length - 1]
  const reads = scope(() => {
    const tensor = (values: Float64Array, columns: number) =>
      Tensor.from(device, Float32Array.from(values), [events, columns])
    const empty = (columns: number) => Tensor.empty(device, 'float32', [events, columns])
    const offsets = new Offsets(device, p.offsets)
    const [qkv, dout] = [tensor(p.qkv, 3 * p.width), tensor(p.dout, p.width)]
    const [out, lse, dqkv] = [empty(p.width), empty(p.heads), empty(3 * p.width)]
    const common = [device.handle, qkv.handle, offsets.handle, p.heads, p.block, p.shift, out.handle] as const
    binding.block_attention_forward(...common, lse.handle)
    binding.block_attention_backward(...common, lse.handle, dout.handle, dqkv.handle, false)
    return [out.read(), dqkv.read(), qkv.read()] as const
  })
  const [out, dqkv, qkv] = await Promise.all(reads)
  if (events > 0) expectSameBits(qkv, Float32Array.from(p.qkv), 'qkv after the calls')
  return { out, dqkv }
}

function expectReference(got: { out: Float32Array; dqkv: Float32Array }, p: Problem): void {
  const longest = Math.max(...blocksOf(p).map(([begin, end]) => end - begin))
  const tolerance = attentionTolerance(p.width / p.heads, longest)
  expectClose(got.out, blockAttentionForward(p.qkv, p), tolerance, 'out')
  expectClose(got.dqkv, blockAttentionBackward(p.qkv, p.dout, p), tolerance, 'dqkv')
}

// Heads, columns per head, block, shift, lengths.
const shapes: [number, number, number, boolean, number[]][] = [
  [1, 1, 1, false, [1]],
  [1, 1, 1, true, [3]],
  [4, 32, 64, false, [64]],
  [4, 32, 64, true, [150, 1, 31, 32, 33]],
  [2, 16, 8, false, [0, 1, 7, 8, 9, 0, 17, 0]],
  [2, 16, 8, true, [0, 1, 3, 4, 5, 11, 12, 13]],
  [3, 5, 7, true, [23, 2, 41]],
  [1, 13, 100, false, [97, 101, 203]],
  [2, 33, 65, false, [64, 65, 66, 131]],
  [1, 256, 16, false, [19]],
  [1, 47, 1000, true, [127, 499]],
  // Longer than a span of keys, in one block.
  [1, 4, 3000, false, [1100, 513]],
]

describe('block_attention', () => {
  describe.each(everyVariant())('%s', (_, device) => {
    it.each(shapes)('matches the reference: %i heads of %i, block %i, shift %s, lengths %j', async (...shape) => {
      const p = problem(...shape)
      expectReference(await run(device, p), p)
    })

    it('matches the reference on a sequence of 64 000 events', async () => {
      const p = problem(1, 8, 64, true, [64_000])
      expectReference(await run(device, p), p)
    })

    it('gives the same bits for 1, 2 and 3 threads', async () => {
      const p = problem(2, 8, 600, true, [900, 3, 400, 1, 1300])
      await expectSameOnThreads(device, other => run(other, p))
    })

    it.each([8, 600])('gives a sequence the same bits alone and among others, block %i', async block => {
      const lengths = [5, 601, 0, 1, 90, 1205, 2]
      const p = problem(2, 6, block, block > 8, lengths)
      const all = await run(device, p)
      for (const i of [0, 1, 3, 4, 5, 6]) {
        const slice = (values: Float64Array, columns: number) =>
          values.subarray(p.offsets[i] * columns, p.offsets[i + 1] * columns)
        const alone = await run(device, {
          ...p,
          offsets: offsetsOf([lengths[i]]),
          qkv: slice(p.qkv, 3 * p.width),
          dout: slice(p.dout, p.width),
        })
        const among = (values: Float32Array, columns: number) =>
          values.subarray(p.offsets[i] * columns, p.offsets[i + 1] * columns)
        expectSameBits(alone.out, among(all.out, p.width), `out of ${i}`)
        expectSameBits(alone.dqkv, among(all.dqkv, 3 * p.width), `dqkv of ${i}`)
      }
    })

    it('gives ones for values of one', async () => {
      const p = problem(2, 8, 20, true, [1, 35, 64])
      const qkv = p.qkv.map((value, i) => (i % (3 * p.width) < 2 * p.width ? value : 1))
      const { out } = await run(device, { ...p, qkv })
      expectClose(out, new Float64Array(out.length).fill(1), { absolute: 20 * 2 ** -24 })
    })

    it('adds to a gradient that is there', async () => {
      const p = problem(2, 4, 5, false, [9, 3])
      const once = (await run(device, p)).dqkv
      const other = (await run(device, { ...p, shift: true })).dqkv
      const qkv = new Parameter('qkv', Tensor.from(device, Float32Array.from(p.qkv), [12, 24]))
      qkv.gradient.fill(0.25)
      scope(() => {
        const tape = new Tape()
        const offsets = new Offsets(device, p.offsets)
        const dout = Tensor.from(device, Float32Array.from(p.dout), [12, 8])
        const losses = tape.record(() =>
          [false, true].map(shift => blockAttention(qkv.value, offsets, { heads: 2, block: 5, shift })),
        )
        tape.backward(losses.map(loss => ({ loss, dout })))
      })
      const want = once.map((value, i) => value + other[i] + 0.25)
      expectClose(await qkv.gradient.read(), want, { absolute: 0, relative: 4 * 2 ** -24 })
      qkv.dispose()
    })

    it('stays finite for logits of 1e4 and for equal ones', async () => {
      const p = problem(1, 4, 80, false, [150])
      for (const scale of [100, 0]) {
        const qkv = p.qkv.map((value, i) => (i % 12 < 8 ? value * scale : value))
        const got = await run(device, { ...p, qkv })
        expect(got.dqkv.every(Number.isFinite)).toBe(true)
        // A logit of 1e4 is rounded to 2⁻¹¹, and so is the exponential as a share.
        const relative = scale === 0 ? 1e-5 : 2 ** -9
        expectClose(got.out, blockAttentionForward(qkv, p), { absolute: 0, relative })
        if (scale === 0) expectClose(got.dqkv, blockAttentionBackward(qkv, p.dout, p), { absolute: 0, relative })
      }
    })

    it('gives no weight to a logit of −inf, and none at all where every one is', async () => {
      const p = problem(1, 1, 4, false, [3, 2])
      // Columns q, k, v: the second key of the first sequence overflows, both of the second do.
      const qkv = Float64Array.from([1e30, 1, 3, 1e30, -1e30, 5, 1e30, 1, 7, 1e30, -1e30, 9, 1e30, -1e30, 11])
      const { out, dqkv } = await run(device, { ...p, qkv })
      expect([...out]).toEqual([5, 5, 5, 0, 0])
      expect(dqkv.some(Number.isNaN)).toBe(false)
    })

    it('lets NaN through to the rows that see it, and to no other', async () => {
      const p = problem(1, 3, 4, false, [8])
      const qkv = p.qkv.slice()
      qkv[9 * 5 + 4] = Number.NaN
      const { out } = await run(device, { ...p, qkv })
      expect(Array.from({ length: 8 }, (_, t) => Number.isNaN(out[3 * t]))).toEqual(
        [0, 0, 0, 0, 1, 1, 1, 1].map(Boolean),
      )
    })

    it('takes no events', async () => {
      expect((await run(device, problem(1, 2, 3, false, [0, 0]))).out.length).toBe(0)
    })
  })

  it('has a reference whose gradients agree with finite differences', () => {
    const p = problem(2, 3, 4, true, [9, 0, 2])
    const dqkv = blockAttentionBackward(p.qkv, p.dout, p)
    const f = ([qkv]: Float64Array[]) => blockAttentionForward(qkv, p)
    checkGradients(f, [p.qkv], [dqkv], p.dout)
    for (const part of [0, 1, 2]) {
      const broken = dqkv.map((value, i) => (Math.floor((i % 18) / 6) === part ? value * 1.001 : value))
      expect(() => checkGradients(f, [p.qkv], [broken], p.dout)).toThrow()
    }
  })

  it('cuts blocks where it says', () => {
    const offsets = offsetsOf([5, 0, 1, 12])
    expect(blocksOf({ offsets, block: 5, shift: false })).toEqual([
      [0, 5],
      [5, 6],
      [6, 11],
      [11, 16],
      [16, 18],
    ])
    expect(blocksOf({ offsets, block: 5, shift: true })).toEqual([
      [0, 2],
      [2, 5],
      [5, 6],
      [6, 8],
      [8, 13],
      [13, 18],
    ])
    expect(blocksOf({ offsets: offsetsOf([2]), block: 1, shift: true })).toEqual([
      [0, 1],
      [1, 2],
    ])
  })

  it('refuses wrong shapes, options and memory', () => {
    const device = openDevice()
    const qkv = Tensor.zeros(device, 'float32', [6, 24])
    const offsets = new Offsets(device, offsetsOf([4, 2]))
    const call = (options: object, tensor = qkv, packing = offsets) => {
      return () => blockAttention(tensor, packing, { heads: 2, block: 4, ...options })
    }
    expect(call({ heads: 3 })).toThrow(/\[blockAttention\] expected qkv of shape \(6, 3·width\) .* heads \(3\)/)
    expect(call({ heads: 0 })).toThrow(RangeError)
    expect(call({ heads: '2' })).toThrow(TypeError)
    expect(call({ block: 0 })).toThrow(/block to be an integer in \[1, /)
    expect(call({ block: 2.5 })).toThrow(RangeError)
    expect(call({ shift: 1 })).toThrow(TypeError)
    expect(call({ blok: 4 })).toThrow(/did you mean 'block'/)
    expect(call({}, Tensor.zeros(device, 'float32', [6, 25]))).toThrow(RangeError)
    expect(call({}, Tensor.zeros(device, 'float32', [24]))).toThrow(RangeError)
    expect(call({}, Tensor.zeros(device, 'float32', [7, 24]))).toThrow(/over 7 events but received offsets over 6/)
    expect(call({ heads: 1 }, Tensor.zeros(device, 'float32', [6, 3 * 257]))).toThrow(/1 to 256 columns/)
    expect(call({}, Tensor.zeros(device, 'int32', [6, 24]) as never)).toThrow(TypeError)
    expect(call({}, qkv, new Offsets(openDevice(), offsetsOf([6])))).toThrow(/another/)
    const { handle } = device
    const width = Tensor.zeros(device, 'float32', [6, 8])
    const lse = Tensor.zeros(device, 'float32', [6, 2])
    const backward = (dout: Tensor, dqkv: Tensor, heads = 2) => {
      const [out, all] = [width.handle, [handle, qkv.handle, offsets.handle, heads, 4, false] as const]
      return () => binding.block_attention_backward(...all, out, lse.handle, dout.handle, dqkv.handle, false)
    }
    expect(backward(width, qkv)).toThrow(/overlapping/)
    expect(backward(lse, Tensor.zeros(device, 'float32', [6, 24]))).toThrow(/dout of shape \(6, 8\)/)
    expect(backward(width, Tensor.zeros(device, 'float32', [6, 24]), 5)).toThrow(/multiple of heads \(5\)/)
    offsets.dispose()
    expect(call({})).toThrow(/freed/)
  })
})
