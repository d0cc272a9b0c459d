import { describe, expect, it } from 'vitest'
import { binding } from '../../lib/native.js'
import { fixedAttentionRead, fixedAttentionWrite } from '../../lib/ops/fixed_attention.js'
import {
  fixedAttentionReadBackward,
  fixedAttentionReadForward,
  fixedAttentionWriteBackward,
  fixedAttentionWriteForward,
} from '../../lib/reference/fixed_attention.js'
import type { Device } from '../../lib/runtime/device.js'
import { Parameter, Tape } from '../../lib/runtime/tape.js'
import { Offsets, scope, Tensor } from '../../lib/runtime/tensor.js'
import { attentionTolerance } from '../support/attention.js'
import { expectClose, expectSameBits } from '../support/close.js'
import { everyVariant, expectSameOnThreads, openDevice } from '../support/devices.js'
import { checkGradients } from '../support/gradcheck.js'
import { offsetsOf } from '../support/packed.js'
import { TestRandom } from '../support/random.js'

function problem(heads: number, dim: number, slots: number, lengths: number[]) {
  const random = new TestRandom(heads * 7919 + dim * 104729 + slots * 31 + lengths.length)
  const offsets = offsetsOf(lengths)
  const events = offsets[lengths.length]
  const rows = slots * lengths.length
  const width = heads * dim
  return {
    ...{ heads, width, slots, offsets, events, rows },
    queries: random.normals(slots * width),
    kv: random.normals(events * 2 * width),
    dmemory: random.normals(rows * width),
    q: random.normals(events * width),
    slotKv: random.normals(rows * 2 * width),
    dout: random.normals(events * width),
  }
}

type Problem = ReturnType<typeof problem>

const zeros = (device: Device, rows: number, columns: number) => Tensor.zeros(device, 'float32', [rows, columns])
const empty = (device: Device, rows: number, columns: number) => Tensor.empty(device, 'float32', [rows, columns])
const tensor = (device: Device, values: Float64Array, columns: number) =>
  Tensor.from(device, Float32Array.from(values), [values.length / columns, columns])

/** Both directions into fresh memory, which guard mode fills with NaN; `dqueries` starts at zero. */
async function runWrite(device: Device, p: Problem) {
  const [memory, dqueries, dkv] = await Promise.all(
    scope(() => {
      const queries = tensor(device, p.queries, p.width)
      const kv = tensor(device, p.kv, 2 * p.width)
      const offsets = new Offsets(device, p.offsets)
      const [memory, lse] = [empty(device, p.rows, p.width), empty(device, p.rows, p.heads)]
      const [dqueries, dkv] = [zeros(device, p.slots, p.width), empty(device, p.events, 2 * p.width)]
      const dmemory = tensor(device, p.dmemory, p.width)
      const common = [device.handle, queries.handle, kv.handle, offsets.handle, p.heads, memory.handle] as const
      binding.fixed_attention_write_forward(...common, lse.handle)
      binding.fixed_attention_write_backward(...common, lse.handle, dmemory.handle, dqueries.handle, dkv.handle, false)
      return [memory, dqueries, dkv].map(t => t.read())
    }),
  )
  return { memory, dqueries, dkv }
}

async function runRead(device: Device, p: Problem) {
  const [out, dq, dkv] = await Promise.all(
    scope(() => {
      const q = tensor(device, p.q, p.width)
      const kv = tensor(device, p.slotKv, 2 * p.width)
      const offsets = new Offsets(device, p.offsets)
      const [out, lse] = [empty(device, p.events, p.width), empty(device, p.events, p.heads)]
      const [dq, dkv] = [empty(device, p.events, p.width), empty(device, p.rows, 2 * p.width)]
      const dout = tensor(device, p.dout, p.width)
      const common = [device.handle, q.handle, kv.handle, offsets.handle, p.heads, p.slots, out.handle] as const
      binding.fixed_attention_read_forward(...common, lse.handle)
      const back = [lse.handle, dout.handle, dq.handle, false, dkv.handle, false] as const
      binding.fixed_attention_read_backward(...common, ...back)
      return [out, dq, dkv].map(t => t.read())
    }),
  )
  return { out, dq, dkv }
}

/** The problem of sequence i alone. */
function only(p: Problem, i: number): Problem {
  const [begin, end] = [p.offsets[i], p.offsets[i + 1]]
  const events = (values: Float64Array, columns: number) => values.subarray(begin * columns, end * columns)
  const slots = (values: Float64Array, columns: number) =>
    values.subarray(i * p.slots * columns, (i + 1) * p.slots * columns)
  return {
    ...p,
    offsets: offsetsOf([end - begin]),
    events: end - begin,
    rows: p.slots,
    kv: events(p.kv, 2 * p.width),
    dmemory: slots(p.dmemory, p.width),
    q: events(p.q, p.width),
    slotKv: slots(p.slotKv, 2 * p.width),
    dout: events(p.dout, p.width),
  }
}

// Heads, columns per head, slots, lengths. Beyond 2048 events sums run in chunks.
const shapes: [number, number, number, number[]][] = [
  [1, 1, 1, [1]],
  [4, 32, 64, [64, 0, 1, 65]],
  [2, 5, 3, [0, 127, 2, 0]],
  [1, 16, 65, [31, 33]],
  [3, 7, 1, [19, 70]],
  [1, 256, 2, [70]],
  [2, 4, 5, [2049, 3, 4500, 0, 2048]],
]

async function expectWrites(device: Device, p: Problem, longest: number) {
  const got = await runWrite(device, p)
  const back = fixedAttentionWriteBackward(p.queries, p.kv, p.dmemory, p)
  const tolerance = attentionTolerance(p.width / p.heads, longest)
  expectClose(got.memory, fixedAttentionWriteForward(p.queries, p.kv, p), tolerance, 'memory')
  expectClose(got.dqueries, back.dqueries, tolerance, 'dqueries')
  expectClose(got.dkv, back.dkv, tolerance, 'dkv')
}

async function expectReads(device: Device, p: Problem, longest: number) {
  const got = await runRead(device, p)
  const back = fixedAttentionReadBackward(p.q, p.slotKv, p.dout, p)
  const tolerance = attentionTolerance(p.width / p.heads, Math.max(p.slots, longest))
  expectClose(got.out, fixedAttentionReadForward(p.q, p.slotKv, p), tolerance, 'out')
  expectClose(got.dq, back.dq, tolerance, 'dq')
  expectClose(got.dkv, back.dkv, tolerance, 'dkv')
}

describe('fixed_attention', () => {
  describe.each(everyVariant())('%s', (_, device) => {
    it.each(shapes)('writes as the reference: %i heads of %i, %i slots, lengths %j', async (...shape) => {
      await expectWrites(device, problem(...shape), Math.max(...shape[3]))
    })

    it.each(shapes)('reads as the reference: %i heads of %i, %i slots, lengths %j', async (...shape) => {
      await expectReads(device, problem(...shape), Math.max(...shape[3]))
    })

    it('writes as the reference on a sequence of 64 000 events', async () => {
      await expectWrites(device, problem(1, 4, 4, [64_000]), 64_000)
    })

    it('reads as the reference on a sequence of 64 000 events', async () => {
      await expectReads(device, problem(1, 4, 4, [64_000]), 64_000)
    })

    it('gives the same bits for 1, 2 and 3 threads', async () => {
      const p = problem(2, 4, 3, [2500, 3, 400, 0, 70])
      await expectSameOnThreads(device, other => runWrite(other, p))
      await expectSameOnThreads(device, other => runRead(other, p))
    })

    it('gives a sequence the same bits alone and among others', async () => {
      const p = problem(2, 3, 4, [5, 2101, 0, 1, 2048, 66])
      const [write, read] = [await runWrite(device, p), await runRead(device, p)]
      for (const i of [0, 1, 2, 3, 4, 5]) {
        const alone = only(p, i)
        const [events, slots] = [
          (values: Float32Array, columns: number) =>
            values.subarray(p.offsets[i] * columns, p.offsets[i + 1] * columns),
          (values: Float32Array, columns: number) => values.subarray(i * 4 * columns, (i + 1) * 4 * columns),
        ]
        const [oneWrite, oneRead] = [await runWrite(device, alone), await runRead(device, alone)]
        expectSameBits(oneWrite.memory, slots(write.memory, 6), `memory of ${i}`)
        expectSameBits(oneRead.dkv, slots(read.dkv, 12), `read dkv of ${i}`)
        if (alone.events === 0) continue
        expectSameBits(oneWrite.dkv, events(write.dkv, 12), `write dkv of ${i}`)
        expectSameBits(oneRead.out, events(read.out, 6), `out of ${i}`)
        expectSameBits(oneRead.dq, events(read.dq, 6), `dq of ${i}`)
      }
    })

    it('gives ones for values of one, and zeros for a sequence without events', async () => {
      const p = problem(2, 3, 5, [4, 0, 2300])
      const ones = (kv: Float64Array) => kv.map((value, i) => (i % 12 < 6 ? value : 1))
      const { memory } = await runWrite(device, { ...p, kv: ones(p.kv) })
      const want = Float64Array.from(memory, (_, i) => (i >= 30 && i < 60 ? 0 : 1))
      expectClose(memory, want, { absolute: 40 * 2 ** -24 })
      const { out } = await runRead(device, { ...p, slotKv: ones(p.slotKv) })
      expectClose(out, new Float64Array(out.length).fill(1), { absolute: 8 * 2 ** -24 })
    })

    it('stays finite for logits of 1e4, across chunks too', async () => {
      const p = problem(1, 2, 3, [4200])
      const kv = p.kv.map((value, i) => (i % 4 < 2 ? value * 5000 : value))
      const got = await runWrite(device, { ...p, kv })
      expectClose(got.memory, fixedAttentionWriteForward(p.queries, kv, p), { absolute: 0, relative: 2 ** -8 })
      expect([...got.dkv, ...got.dqueries].every(Number.isFinite)).toBe(true)
    })

    it('adds to gradients that are there', async () => {
      const p = problem(2, 2, 3, [7, 0, 2060])
      const [write, read] = [await runWrite(device, p), await runRead(device, p)]
      const parameter = (values: Float64Array, columns: number) =>
        new Parameter('', tensor(device, values, columns), {})
      const [queries, kv, q, slotKv] = [
        parameter(p.queries, 4),
        parameter(p.kv, 8),
        parameter(p.q, 4),
        parameter(p.slotKv, 8),
      ]
      const all = [queries, kv, q, slotKv]
      for (const { gradient } of all) gradient.fill(0.25)
      scope(() => {
        const tape = new Tape()
        const offsets = new Offsets(device, p.offsets)
        const [memory, out] = tape.record(() => [
          fixedAttentionWrite(queries.value, kv.value, offsets, { heads: 2 }),
          fixedAttentionRead(q.value, slotKv.value, offsets, { heads: 2, slots: 3 }),
        ])
        tape.backward([
          { loss: memory, dout: tensor(device, p.dmemory, 4) },
          { loss: out, dout: tensor(device, p.dout, 4) },
        ])
      })
      const got = await Promise.all(all.map(({ gradient }) => gradient.read()))
      const once = [write.dqueries, write.dkv, read.dq, read.dkv]
      once.forEach((values, i) => {
        const want = values.map(value => value + 0.25)
        expectClose(got[i], want, { absolute: 0, relative: 16 * 2 ** -24 }, `gradient ${i}`)
      })
      for (const item of all) item.dispose()
    })

    it('takes no events and no sequences', async () => {
      const p = problem(1, 2, 3, [])
      expect((await runWrite(device, p)).memory.length).toBe(0)
      expect((await runRead(device, p)).out.length).toBe(0)
    })
  })

  it('skips the gradient of an input that nobody trains', async () => {
    const device = openDevice()
    const p = problem(1, 2, 3, [7])
    const kv = new Parameter('kv', tensor(device, p.kv, 4))
    scope(() => {
      const tape = new Tape()
      const offsets = new Offsets(device, p.offsets)
      const memory = tape.record(() =>
        fixedAttentionWrite(tensor(device, p.queries, 2), kv.value, offsets, { heads: 1 }),
      )
      tape.backward([{ loss: memory, dout: tensor(device, p.dmemory, 2) }])
    })
    expectSameBits(await kv.gradient.read(), (await runWrite(device, p)).dkv)
    kv.dispose()
  })

  it('has a reference whose gradients agree with finite differences', () => {
    const p = problem(2, 3, 2, [5, 0, 1])
    const write = fixedAttentionWriteBackward(p.queries, p.kv, p.dmemory, p)
    const read = fixedAttentionReadBackward(p.q, p.slotKv, p.dout, p)
    const [fWrite, fRead] = [
      ([queries, kv]: Float64Array[]) => fixedAttentionWriteForward(queries, kv, p),
      ([q, kv]: Float64Array[]) => fixedAttentionReadForward(q, kv, p),
    ]
    checkGradients(fWrite, [p.queries, p.kv], [write.dqueries, write.dkv], p.dmemory)
    checkGradients(fRead, [p.q, p.slotKv], [read.dq, read.dkv], p.dout)
    const broken = (values: Float64Array) => values.map((value, i) => (i % 3 === 1 ? value * 1.01 : value))
    expect(() => checkGradients(fWrite, [p.queries, p.kv], [broken(write.dqueries), write.dkv], p.dmemory)).toThrow()
    expect(() => checkGradients(fRead, [p.q, p.slotKv], [read.dq, broken(read.dkv)], p.dout)).toThrow()
  })

  it('refuses wrong shapes and options', () => {
    const device = openDevice()
    const offsets = new Offsets(device, offsetsOf([4, 2]))
    const queries = zeros(device, 3, 8)
    const write = (kv: Tensor<'float32'>, options: object = {}, by = queries) => {
      return () => fixedAttentionWrite(by, kv, offsets, { heads: 2, ...options })
    }
    expect(write(zeros(device, 6, 16), { heads: 3 })).toThrow(/\[fixedAttentionWrite\] expected queries of shape/)
    expect(write(zeros(device, 6, 15))).toThrow(/kv of 16 columns, twice those of queries but received 15/)
    expect(write(zeros(device, 7, 16))).toThrow(/over 7 events/)
    expect(write(zeros(device, 6, 16), {}, zeros(device, 0, 8))).toThrow(/1 to \d+ queries/)
    expect(write(zeros(device, 6, 16), { slots: 3 })).toThrow(TypeError)
    const read = (kv: Tensor<'float32'>, options: object = {}) => {
      return () => fixedAttentionRead(zeros(device, 6, 8), kv, offsets, { heads: 2, slots: 3, ...options })
    }
    expect(read(zeros(device, 5, 16))).toThrow(/kv of shape \(6, 16\), slots for every sequence .* \(5, 16\)/)
    expect(read(zeros(device, 6, 16), { slots: 0 })).toThrow(RangeError)
    expect(read(zeros(device, 6, 16), { slots: 2.5 })).toThrow(RangeError)
    expect(read(zeros(device, 6, 16), { heads: 5 })).toThrow(/multiple of heads \(5\)/)
  })
})
