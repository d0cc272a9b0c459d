import { describe, expect, it } from 'vitest'
import { binding } from '../../lib/native.js'
import { fullAttention } from '../../lib/ops/full_attention.js'
import { attend, attendBackward, cutRows } from '../../lib/reference/attention.js'
import { fullAttentionBackward, fullAttentionForward } from '../../lib/reference/full_attention.js'
import type { Device } from '../../lib/runtime/device.js'
import { Parameter, Tape } from '../../lib/runtime/tape.js'
import { Offsets, scope, Tensor } from '../../lib/runtime/tensor.js'
import { attentionTolerance } from '../support/attention.js'
import { expectClose, expectSameBits } from '../support/close.js'
import { everyVariant, expectSameOnThreads, isEmulated, openDevice } from '../support/devices.js'
import { checkGradients } from '../support/gradcheck.js'
import { offsetsOf } from '../support/packed.js'
import { TestRandom } from '../support/random.js'

function problem(heads: number, dim: number, lengths: number[]) {
  const random = new TestRandom(heads * 7919 + dim * 104729 + lengths.length)
  const offsets = offsetsOf(lengths)
  const events = offsets[lengths.length]
  const width = heads * dim
  return {
    ...{ heads, width, offsets },
    qkv: random.normals(events * 3 * width),
    dout: random.normals(events * width),
  }
}

/** Forward and backward into fresh memory, which guard mode fills with NaN. */
async function run(device: Device, p: ReturnType<typeof problem>) {
  const events = p.offsets[p.offsets.length - 1]
  const reads = scope(() => {
    const tensor = (values: Float64Array, columns: number) =>
      Tensor.from(device, Float32Array.from(values), [events, columns])
    const empty = (columns: number) => Tensor.empty(device, 'float32', [events, columns])
    const offsets = new Offsets(device, p.offsets)
    const [qkv, dout] = [tensor(p.qkv, 3 * p.width), tensor(p.dout, p.width)]
    const [out, lse, dqkv] = [empty(p.width), empty(p.heads), empty(3 * p.width)]
    const common = [device.handle, qkv.handle, offsets.handle, p.heads, out.handle] as const
    binding.full_attention_forward(...common, lse.handle)
    binding.full_attention_backward(...common, lse.handle, dout.handle, dqkv.handle, false)
    return [out.read(), dqkv.read()] as const
  })
  const [out, dqkv] = await Promise.all(reads)
  return { out, dqkv }
}

/** Prime to what kernels work on at a time: a row in the place of another one is seen. */
const DISTINCT = 31

/**
 * One head of width 2 over `length` events, whose queries are DISTINCT ones in turn: what the reference makes of a
 * query then serves all its repetitions, and gradients are linear in `dout`. So every row is compared, in float64, at
 * the cost of a few rows.
 */
function repeating(length: number) {
  const p = problem(1, 2, [length])
  const qkv = p.qkv.map((value, i) => (i % 6 < 2 ? p.qkv[i % (6 * DISTINCT)] : value))
  const [q, k, v] = [
    cutRows(qkv, 6, 0, DISTINCT, 0, 2),
    cutRows(qkv, 6, 0, length, 2, 2),
    cutRows(qkv, 6, 0, length, 4, 2),
  ]
  const dout = cutRows(p.dout, 2, 0, length, 0, 2)
  const out = attend(q, k, v)
  const sums = q.map(() => new Float64Array(2))
  for (const [t, [x, y]] of dout.entries()) {
    sums[t % DISTINCT][0] += x
    sums[t % DISTINCT][1] += y
  }
  const { dk, dv } = attendBackward(q, k, v, sums)
  const dqOf = (...unit: number[]) => attendBackward(q, k, v, Array(DISTINCT).fill(Float64Array.from(unit))).dq
  const [byX, byY] = [dqOf(1, 0), dqOf(0, 1)]
  const rows = (row: (t: number) => ArrayLike<number>[]) =>
    Float64Array.from(dout.flatMap((_, t) => row(t).flatMap(values => Array.from(values))))
  const dq = (t: number) => byX[t % DISTINCT].map((value, c) => value * dout[t][0] + byY[t % DISTINCT][c] * dout[t][1])
  return {
    problem: { ...p, qkv },
    want: { out: rows(t => [out[t % DISTINCT]]), dqkv: rows(t => [dq(t), dk[t], dv[t]]) },
  }
}

/**
 * A card takes 64 000 events, 4·10⁹ weights forward and as many again backward. Two cores take 17 s for that with
 * vectors and two minutes without, and the time grows with the square: theirs are what is done in seconds.
 */
function longestOf(variant: string): number {
  if (variant === 'cuda') return isEmulated() ? 1_500 : 64_000
  return variant === 'scalar' ? 10_000 : 24_000
}

// Heads, columns per head, lengths.
const shapes: [number, number, number[]][] = [
  [1, 1, [1]],
  [4, 32, [64, 1, 0, 65, 2]],
  [2, 5, [0, 127, 3, 128, 129, 0]],
  [3, 16, [200, 17]],
  [1, 256, [70]],
  // More than one span of keys.
  [2, 3, [1031, 512, 513]],
]

describe('full_attention', () => {
  describe.each(everyVariant())('%s', (variant, device) => {
    const longest = longestOf(variant)
    it(`matches the reference on a sequence of ${longest} events`, async () => {
      const { problem, want } = repeating(longest)
      const got = await run(device, problem)
      expectClose(got.out, want.out, attentionTolerance(2, longest), 'out')
      expectClose(got.dqkv, want.dqkv, attentionTolerance(2, longest), 'dqkv')
    })

    it.each(shapes)('matches the reference: %i heads of %i, lengths %j', async (...shape) => {
      const p = problem(...shape)
      const got = await run(device, p)
      const tolerance = attentionTolerance(p.width / p.heads, Math.max(...shape[2]))
      expectClose(got.out, fullAttentionForward(p.qkv, p), tolerance, 'out')
      expectClose(got.dqkv, fullAttentionBackward(p.qkv, p.dout, p), tolerance, 'dqkv')
    })

    it('gives the same bits for 1, 2 and 3 threads', async () => {
      const p = problem(2, 8, [1500, 3, 700])
      await expectSameOnThreads(device, other => run(other, p))
    })

    it('gives a sequence the same bits alone and among others', async () => {
      const lengths = [3, 0, 601, 1, 1205]
      const p = problem(1, 6, lengths)
      const all = await run(device, p)
      for (const i of [0, 2, 3, 4]) {
        const [begin, end] = [p.offsets[i], p.offsets[i + 1]]
        const alone = await run(device, {
          ...p,
          offsets: offsetsOf([lengths[i]]),
          qkv: p.qkv.subarray(begin * 18, end * 18),
          dout: p.dout.subarray(begin * 6, end * 6),
        })
        expectSameBits(alone.out, all.out.subarray(begin * 6, end * 6), `out of ${i}`)
        expectSameBits(alone.dqkv, all.dqkv.subarray(begin * 18, end * 18), `dqkv of ${i}`)
      }
    })

    it('does not mind the order of the keys', async () => {
      const p = problem(2, 4, [150])
      const random = new TestRandom(3)
      const order = Array.from({ length: 150 }, (_, i) => i)
      for (let i = 149; i > 0; i--) {
        const j = random.integer(0, i)
        ;[order[i], order[j]] = [order[j], order[i]]
      }
      // Keys and values move together, queries stay.
      const qkv = p.qkv.map((value, i) => (i % 24 < 8 ? value : p.qkv[order[Math.floor(i / 24)] * 24 + (i % 24)]))
      const [straight, shuffled] = [await run(device, p), await run(device, { ...p, qkv })]
      expectClose(shuffled.out, straight.out, attentionTolerance(4, 150))
    })

    it('gives ones for values of one', async () => {
      const p = problem(2, 3, [1, 135, 64])
      const qkv = p.qkv.map((value, i) => (i % 18 < 12 ? value : 1))
      const { out } = await run(device, { ...p, qkv })
      expectClose(out, new Float64Array(out.length).fill(1), { absolute: 20 * 2 ** -24 })
    })

    it('stays finite where the largest logit comes last, and far above the others', async () => {
      const p = problem(1, 2, [300])
      // Query 1 on keys that grow: each tile of keys pushes all before it out of the sum.
      const qkv = p.qkv.map((value, i) => [1, 0, Math.floor(i / 6) * 100, 0, value, value][i % 6])
      const got = await run(device, { ...p, qkv })
      expectClose(got.out, fullAttentionForward(qkv, p), { absolute: 0, relative: 1e-5 })
      expect(got.dqkv.every(Number.isFinite)).toBe(true)
    })

    it('gives no weight to a tile of keys at −inf', async () => {
      const p = problem(1, 1, [140])
      const qkv = p.qkv.map((_, i) => [1e30, i < 3 * 130 ? -1e30 : 1, i < 3 * 130 ? 1 : 2][i % 3])
      const { out } = await run(device, { ...p, qkv })
      expect([...out]).toEqual(Array(140).fill(2))
    })

    it('takes no events', async () => {
      expect((await run(device, problem(1, 2, [0, 0]))).out.length).toBe(0)
    })
  })

  it('records its gradient on the tape', async () => {
    const device = openDevice()
    const p = problem(2, 4, [9, 3])
    const want = (await run(device, p)).dqkv
    const qkv = new Parameter('qkv', Tensor.from(device, Float32Array.from(p.qkv), [12, 24]))
    scope(() => {
      const tape = new Tape()
      const out = tape.record(() => fullAttention(qkv.value, new Offsets(device, p.offsets), { heads: 2 }))
      tape.backward([{ loss: out, dout: Tensor.from(device, Float32Array.from(p.dout), [12, 8]) }])
    })
    expectSameBits(await qkv.gradient.read(), want)
    qkv.dispose()
  })

  it('has the reference where queries repeat', () => {
    const { problem, want } = repeating(200)
    expectClose(want.out, fullAttentionForward(problem.qkv, problem), { absolute: 1e-12 })
    expectClose(want.dqkv, fullAttentionBackward(problem.qkv, problem.dout, problem), { absolute: 1e-12 })
  })

  it('has a reference whose gradients agree with finite differences', () => {
    const p = problem(2, 3, [7, 0, 2])
    const dqkv = fullAttentionBackward(p.qkv, p.dout, p)
    const f = ([qkv]: Float64Array[]) => fullAttentionForward(qkv, p)
    checkGradients(f, [p.qkv], [dqkv], p.dout)
    const broken = dqkv.map((value, i) => (i % 18 === 7 ? value * 1.01 : value))
    expect(() => checkGradients(f, [p.qkv], [broken], p.dout)).toThrow()
  })

  it('refuses wrong shapes and options', () => {
    const device = openDevice()
    const qkv = Tensor.zeros(device, 'float32', [6, 24])
    const offsets = new Offsets(device, offsetsOf([4, 2]))
    expect(() => fullAttention(qkv, offsets, { heads: 3 })).toThrow(/\[fullAttention\] expected qkv of shape/)
    expect(() => fullAttention(qkv, offsets, { heads: 2, block: 4 } as never)).toThrow(TypeError)
    expect(() => fullAttention(qkv, new Offsets(device, offsetsOf([5])), { heads: 2 })).toThrow(/over 6 events/)
    const wide = Tensor.zeros(device, 'float32', [6, 3 * 257])
    expect(() => fullAttention(wide, offsets, { heads: 1 })).toThrow(/1 to 256 columns/)
  })
})
