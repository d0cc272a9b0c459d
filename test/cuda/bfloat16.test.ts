// Matrix products in bfloat16 on a card: near the CPU's float32, the same bits in two runs and alone as among others.

import { describe, expect, it } from 'vitest'
import { blockAttention } from '../../lib/ops/block_attention.js'
import { fixedAttentionRead, fixedAttentionWrite } from '../../lib/ops/fixed_attention.js'
import { fullAttention } from '../../lib/ops/full_attention.js'
import { linear } from '../../lib/ops/linear.js'
import { cudaStatus, type Device } from '../../lib/runtime/device.js'
import { Parameter, Tape } from '../../lib/runtime/tape.js'
import { Offsets, Tensor } from '../../lib/runtime/tensor.js'
import { expectSameBits } from '../support/close.js'
import { openDevice } from '../support/devices.js'
import { TestRandom } from '../support/random.js'

type Float = Tensor<'float32'>

interface Problem {
  readonly lengths: readonly number[]
  /** Columns of each input, one row an event, or the given rows. */
  readonly inputs: readonly { readonly width: number; readonly rows?: number }[]
  run(inputs: readonly Float[], offsets: Offsets): Float
}

const { devices, missing } = cudaStatus()
const reason = devices.length > 0 ? '' : ` (skipped: ${missing})`

const lengths = [3, 200, 0, 64, 65, 1, 700]
const events = lengths.reduce((sum, length) => sum + length, 0)
const self = (width: number) => [{ width: 3 * width }]
const problems: [string, Problem][] = [
  ...[
    [64, 64],
    [256, 768],
    [100, 36],
    [33, 7],
    [8, 257],
  ].map(([width, out]): [string, Problem] => [
    `linear ${width} → ${out}`,
    {
      lengths,
      inputs: [{ width }, { width, rows: out }, { width: 0, rows: out }],
      run: ([x, weight, bias]) => linear(x, weight, bias, { activation: 'gelu' }),
    },
  ]),
  ...[8, 32, 36, 64, 100, 128].map((dim): [string, Problem] => [
    `block_attention, heads of ${dim}`,
    { lengths, inputs: self(2 * dim), run: ([qkv], offsets) => blockAttention(qkv, offsets, { heads: 2, block: 64 }) },
  ]),
  [
    'block_attention, long blocks and shift',
    {
      lengths,
      inputs: self(96),
      run: ([qkv], offsets) => blockAttention(qkv, offsets, { heads: 3, block: 150, shift: true }),
    },
  ],
  ['full_attention', { lengths, inputs: self(64), run: ([qkv], offsets) => fullAttention(qkv, offsets, { heads: 2 }) }],
  [
    'fixed_attention, write',
    {
      lengths,
      inputs: [{ width: 64, rows: 70 }, { width: 128 }],
      run: ([queries, kv], offsets) => fixedAttentionWrite(queries, kv, offsets, { heads: 2 }),
    },
  ],
  [
    'fixed_attention, read',
    {
      lengths,
      inputs: [{ width: 64 }, { width: 128, rows: 70 * lengths.length }],
      run: ([q, kv], offsets) => fixedAttentionRead(q, kv, offsets, { heads: 2, slots: 70 }),
    },
  ],
]

/** Out and the gradient of every input. */
async function results(device: Device, { lengths, inputs, run }: Problem): Promise<Float32Array[]> {
  const random = new TestRandom(11)
  const tensor = (shape: number[]) => {
    const size = shape.reduce((product, n) => product * n, 1)
    return Tensor.from(device, Float32Array.from(random.normals(size)), shape)
  }
  const starts = [0]
  for (const length of lengths) starts.push(starts[starts.length - 1] + length)
  const held = inputs.map(({ width, rows = starts[lengths.length] }, i) => {
    return new Parameter(`input${i}`, tensor(width === 0 ? [rows] : [rows, width]))
  })
  const tape = new Tape()
  const offsets = new Offsets(device, Int32Array.from(starts))
  const out = tape.record(() =>
    run(
      held.map(({ value }) => value),
      offsets,
    ),
  )
  tape.backward([{ loss: out, dout: tensor([...out.shape]) }])
  return Promise.all([out.read(), ...held.map(({ gradient }) => gradient.read())])
}

// Only a card has this precision.
describe.skipIf(devices.length === 0)(`bfloat16${reason}`, () => {
  it.each(problems)('%s: near float32', async (_, problem) => {
    const want = await results(openDevice(), problem)
    const got = await results(openDevice({ kind: 'cuda', precision: 'bfloat16' }), problem)
    for (const [i, values] of want.entries()) {
      let [difference, size] = [0, 0]
      for (const [k, value] of values.entries()) {
        difference += (got[i][k] - value) ** 2
        size += value ** 2
      }
      // An operand errs by at most 2⁻⁹ of itself; errors of products are independent, so their sum errs by about as much.
      expect(Math.sqrt(difference / size), `result ${i}`).toBeLessThan(2 ** -6)
      expect(difference, `result ${i} is rounded`).toBeGreaterThan(0)
    }
  })

  it.each(problems)('%s: the same bits twice', async (_, problem) => {
    const device = openDevice({ kind: 'cuda', precision: 'bfloat16' })
    const [first, second] = [await results(device, problem), await results(device, problem)]
    for (const [i, values] of first.entries()) expectSameBits(second[i], values, `result ${i}`)
  })

  it('gives rows the same bits alone and among others', async () => {
    const device = openDevice({ kind: 'cuda', precision: 'bfloat16' })
    const random = new TestRandom(3)
    const x = Float32Array.from(random.normals(events * 128))
    const weight = Tensor.from(device, Float32Array.from(random.normals(384 * 128)), [384, 128])
    const all = await linear(Tensor.from(device, x, [events, 128]), weight).read()
    for (const row of [0, 1, 70, events - 1]) {
      const one = linear(Tensor.from(device, x.slice(row * 128, (row + 1) * 128), [1, 128]), weight)
      expectSameBits(await one.read(), all.subarray(row * 384, (row + 1) * 384), `row ${row}`)
    }
  })
})
