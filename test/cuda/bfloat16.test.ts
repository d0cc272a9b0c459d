// bfloat16 on a card, in products and as what activations are stored as: near the CPU's float32, the same bits in two
// runs and alone as among others.

import { describe, expect, it } from 'vitest'
import { type EncoderConfig, transformerConfig } from '../../lib/encoder/config.js'
import { Encoder } from '../../lib/encoder/encoder.js'
import { fitEncoding } from '../../lib/events/encoding.js'
import { add } from '../../lib/ops/add.js'
import { blockAttention } from '../../lib/ops/block_attention.js'
import { convert } from '../../lib/ops/convert.js'
import { dropout } from '../../lib/ops/dropout.js'
import { fixedAttentionRead, fixedAttentionWrite } from '../../lib/ops/fixed_attention.js'
import { fullAttention } from '../../lib/ops/full_attention.js'
import { dwconv, gatedDwconv } from '../../lib/ops/gated_dwconv.js'
import { gatedSeparableConv } from '../../lib/ops/gated_separable_conv.js'
import { glu } from '../../lib/ops/glu.js'
import { LAYER_NORM_EPS, layerNorm } from '../../lib/ops/layer_norm.js'
import { linear } from '../../lib/ops/linear.js'
import { unfold } from '../../lib/ops/unfold.js'
import { cudaStatus, Device } from '../../lib/runtime/device.js'
import { Parameter, Tape } from '../../lib/runtime/tape.js'
import { type FloatType, Offsets, Tensor } from '../../lib/runtime/tensor.js'
import { SeqriskError } from '../../lib/util/errors.js'
import { expectSameBits } from '../support/close.js'
import { openDevice } from '../support/devices.js'
import { TestRandom } from '../support/random.js'
import { smallSource } from '../support/small_source.js'

type Float = Tensor<'float32'>
type Inner = Tensor<FloatType>

/** Whether a card is there, and the library beside it. */
function hasCublaslt(): boolean {
  if (devices.length === 0) return false
  try {
    new Device({ kind: 'cuda', precision: 'bfloat16', cublaslt: true }).close()
    return true
  } catch (error) {
    if (error instanceof SeqriskError && error.code === 'NO_CUBLASLT') return false
    throw error
  }
}

interface Problem {
  readonly lengths: readonly number[]
  /** Columns of each input, one row an event, or the given rows. */
  readonly inputs: readonly { readonly width: number; readonly rows?: number }[]
  run(inputs: readonly Float[], offsets: Offsets): Inner
}

const { devices, missing } = cudaStatus()
const reason = devices.length > 0 ? '' : ` (skipped: ${missing})`

const lengths = [3, 200, 0, 64, 65, 1, 700]
const events = lengths.reduce((sum, length) => sum + length, 0)
const self = (width: number) => [{ width: 3 * width }]
/** As layers of an encoder store it. */
const inner = (x: Float): Inner => convert(x, x.device.activations)
function separableInputs(width: number, taps: number): Problem['inputs'] {
  const [filter, row, point] = [
    { width, rows: taps },
    { width: 0, rows: width },
    { width, rows: width },
  ]
  return [{ width }, filter, row, filter, row, point, row]
}
/** `apart`: by the two ops that it stands for. */
function separable(inputs: readonly Float[], offsets: Offsets, apart = false): Float {
  const [x, weight, bias, gateWeight, gateBias, pointWeight, pointBias] = inputs
  const filters = { weight, bias, gateWeight, gateBias, pointWeight, pointBias }
  if (!apart) return gatedSeparableConv(inner(x), filters, x, offsets)
  const between = gatedDwconv(inner(x), weight, bias, gateWeight, gateBias, offsets)
  return linear(between, pointWeight, pointBias, { residual: x })
}
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
  ...(['none', 'relu', 'gelu'] as const).map((activation): [string, Problem] => [
    `linear of bfloat16, ${activation}`,
    {
      lengths,
      inputs: [{ width: 96 }, { width: 96, rows: 200 }, { width: 0, rows: 200 }],
      run: ([x, weight, bias]) => linear(inner(x), weight, bias, { activation }),
    },
  ]),
  [
    'linear of bfloat16 onto a residual stream',
    {
      lengths,
      inputs: [{ width: 64 }, { width: 64, rows: 64 }, { width: 0, rows: 64 }],
      run: ([x, weight, bias]) => linear(inner(x), weight, bias, { residual: x }),
    },
  ],
  [
    'layer_norm, gated_dwconv and a residual',
    {
      lengths,
      inputs: [
        { width: 72 },
        { width: 0, rows: 72 },
        { width: 0, rows: 72 },
        { width: 72, rows: 5 },
        { width: 0, rows: 72 },
        { width: 72, rows: 5 },
        { width: 0, rows: 72 },
      ],
      run: ([x, gain, shift, weight, bias, gateWeight, gateBias], offsets) => {
        const h = layerNorm(x, gain, shift, LAYER_NORM_EPS, x.device.activations)
        return add(x, gatedDwconv(h, weight, bias, gateWeight, gateBias, offsets))
      },
    },
  ],
  // One kernel, or two where the card has none for it.
  ...[
    [64, 3],
    [128, 5],
    [256, 7],
    [96, 5],
  ].map(([width, taps]): [string, Problem] => [
    `gated_separable_conv ${width}, K=${taps}`,
    { lengths, inputs: separableInputs(width, taps), run: (inputs, offsets) => separable(inputs, offsets) },
  ]),
  [
    'dwconv, glu, unfold and dropout',
    {
      lengths,
      inputs: [{ width: 20 }, { width: 20, rows: 3 }, { width: 0, rows: 20 }],
      run: ([x, weight, bias], offsets) =>
        dropout(unfold(glu(dwconv(inner(x), weight, bias, offsets)), offsets, { width: 3 }), { rate: 0.2, seed: 5 }),
    },
  ],
  ...[8, 32, 36, 64, 100, 128, 192].map((dim): [string, Problem] => [
    `block_attention, heads of ${dim}`,
    {
      lengths,
      inputs: self(2 * dim),
      run: ([qkv], offsets) => blockAttention(inner(qkv), offsets, { heads: 2, block: 64 }),
    },
  ]),
  [
    'block_attention, long blocks and shift',
    {
      lengths,
      inputs: self(96),
      run: ([qkv], offsets) => blockAttention(inner(qkv), offsets, { heads: 3, block: 150, shift: true }),
    },
  ],
  [
    'full_attention',
    { lengths, inputs: self(64), run: ([qkv], offsets) => fullAttention(inner(qkv), offsets, { heads: 2 }) },
  ],
  [
    'fixed_attention, write',
    {
      lengths,
      inputs: [{ width: 64, rows: 70 }, { width: 128 }],
      run: ([queries, kv], offsets) => fixedAttentionWrite(queries, inner(kv), offsets, { heads: 2 }),
    },
  ],
  [
    'fixed_attention, read',
    {
      lengths,
      inputs: [{ width: 64 }, { width: 128, rows: 70 * lengths.length }],
      run: ([q, kv], offsets) => fixedAttentionRead(inner(q), inner(kv), offsets, { heads: 2, slots: 70 }),
    },
  ],
]

/** Where each sequence starts, and the end. */
function startsOf(lengths: readonly number[]): Int32Array {
  const starts = new Int32Array(lengths.length + 1)
  for (const [i, length] of lengths.entries()) starts[i + 1] = starts[i] + length
  return starts
}

/** Out and the gradient of every input. */
async function results(device: Device, { lengths, inputs, run }: Problem): Promise<Float32Array[]> {
  const random = new TestRandom(11)
  const tensor = (shape: number[]) => {
    const size = shape.reduce((product, n) => product * n, 1)
    return Tensor.from(device, Float32Array.from(random.normals(size)), shape)
  }
  const starts = startsOf(lengths)
  const held = inputs.map(({ width, rows = starts[lengths.length] }, i) => {
    return new Parameter(`input${i}`, tensor(width === 0 ? [rows] : [rows, width]))
  })
  const tape = new Tape()
  const offsets = new Offsets(device, starts)
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
  it.each(problems)('%s: near float32', async (name, problem) => {
    const want = await results(openDevice(), problem)
    const got = await results(openDevice({ kind: 'cuda', precision: 'bfloat16' }), problem)
    for (const [i, values] of want.entries()) {
      let [difference, size] = [0, 0]
      for (const [k, value] of values.entries()) {
        difference += (got[i][k] - value) ** 2
        size += value ** 2
      }
      // An operand or an element errs by at most 2⁻⁸ of itself; errors of products are independent, so their sum errs by about
      // as much. A relu's gradient jumps: about 2⁻⁸ of the elements lie so near 0 that they change sides, and √2⁻⁸ is 2⁻⁴.
      const isJump = name.includes('relu') && i > 0
      expect(Math.sqrt(difference / size), `result ${i}`).toBeLessThan(isJump ? 2 ** -4 : 2 ** -6)
      expect(difference, `result ${i} is rounded`).toBeGreaterThan(0)
    }
  })

  it.each(problems)('%s: the same bits twice', async (_, problem) => {
    const device = openDevice({ kind: 'cuda', precision: 'bfloat16' })
    const [first, second] = [await results(device, problem), await results(device, problem)]
    for (const [i, values] of first.entries()) expectSameBits(second[i], values, `result ${i}`)
  })

  it.each([64, 128, 256])('gives gated_separable_conv of %i channels the bits of its parts', async width => {
    const device = openDevice({ kind: 'cuda', precision: 'bfloat16' })
    for (const taps of [3, 5, 7]) {
      const parts = { lengths: [4000, ...lengths], inputs: separableInputs(width, taps) }
      const whole = await results(device, { ...parts, run: (inputs, offsets) => separable(inputs, offsets) })
      const apart = await results(device, { ...parts, run: (inputs, offsets) => separable(inputs, offsets, true) })
      for (const [i, values] of whole.entries()) expectSameBits(values, apart[i], `K=${taps}, result ${i}`)
    }
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

  const selves: [string, number, (x: Inner, offsets: Offsets) => Inner][] = [
    ['block_attention', 3, (x, offsets) => blockAttention(x, offsets, { heads: 2, block: 64 })],
    ['block_attention, long blocks', 3, (x, offsets) => blockAttention(x, offsets, { heads: 2, block: 150 })],
    ['full_attention', 3, (x, offsets) => fullAttention(x, offsets, { heads: 2 })],
    [
      'gated_dwconv',
      1,
      (x, offsets) => {
        const filled = (value: number, shape: number[]) => Tensor.empty(x.device, 'float32', shape).fill(value)
        const [weight, bias] = [filled(0.3, [5, 64]), filled(0.1, [64])]
        return gatedDwconv(x, weight, bias, weight, bias, offsets)
      },
    ],
  ]
  it.each(selves)('%s: a sequence has the same bits alone and among others', async (_, inputs, op) => {
    const device = openDevice({ kind: 'cuda', precision: 'bfloat16' })
    const width = 64 * inputs
    const random = new TestRandom(17)
    const x = Float32Array.from(random.normals(events * width))
    const dout = Float32Array.from(random.normals(events * 64))
    const run = async (own: readonly number[], begin: number, end: number) => {
      const input = new Parameter('x', Tensor.from(device, x.slice(begin * width, end * width), [end - begin, width]))
      const tape = new Tape()
      const offsets = new Offsets(device, startsOf(own))
      const out = tape.record(() => op(inner(input.value), offsets))
      const seed = Tensor.from(device, dout.slice(begin * 64, end * 64), [end - begin, 64])
      tape.backward([{ loss: out, dout: seed }])
      return Promise.all([out.read(), input.gradient.read()])
    }
    const [out, dx] = await run(lengths, 0, events)
    let begin = 0
    for (const [i, length] of lengths.entries()) {
      const end = begin + length
      if (length > 0) {
        const alone = await run([length], begin, end)
        expectSameBits(alone[0], out.subarray(begin * 64, end * 64), `out of ${i}`)
        expectSameBits(alone[1], dx.subarray(begin * width, end * width), `dx of ${i}`)
      }
      begin = end
    }
  })

  it('reads and writes what it stores as float32', async () => {
    const device = openDevice({ kind: 'cuda', precision: 'bfloat16' })
    const values = Float32Array.of(1, -2.5, 1 + 2 ** -8, 1 + 2 ** -7, 3e38, Number.NaN, Number.NEGATIVE_INFINITY)
    const tensor = Tensor.empty(device, 'bfloat16', [7]).write(values)
    // The upper half of each; ties go to the even neighbour.
    const halves = Uint32Array.of(0x3f80, 0xc020, 0x3f80, 0x3f81, 0x7f62, 0x7fc0, 0xff80).map(half => half * 65_536)
    const stored = new Float32Array(halves.buffer)
    const read = await tensor.read()
    expect(read).toEqual(stored)
    expect([...(await tensor.view(1, [2]).read())]).toEqual([-2.5, 1])
    const copy = Tensor.empty(device, 'bfloat16', [7]).copyFrom(tensor)
    expect([...(await Tensor.zeros(device, 'float32', [7]).copyFrom(copy).read()).subarray(0, 4)]).toEqual([
      ...read.subarray(0, 4),
    ])
    expect([...(await copy.view(3, [3]).fill(0.5).read())]).toEqual([0.5, 0.5, 0.5])
    expect((await copy.read())[2]).toBe(1)
  })

  it('says what is missing of cuBLASLt', () => {
    const open = () => openDevice({ kind: 'cuda', precision: 'bfloat16', cublaslt: 'libnone.so.1' })
    const message = expect.stringContaining("cuBLASLt in 'libnone.so.1'")
    expect(open).toThrow(expect.objectContaining({ code: 'NO_CUBLASLT', message }))
  })

  const kinds: [string, Partial<EncoderConfig>][] = [
    ['block', {}],
    ['block, as wide as the convolution and its product are one kernel', { width: 64 }],
    ['fixed', { attention: 'fixed' }],
    ['full', { attention: 'full' }],
    ['transformer', transformerConfig(16)],
    ['dense', { convolution: 'dense' }],
    ['pointwise', { gate: 'pointwise', dilation: 2 }],
  ]
  const products = hasCublaslt() ? [false, true] : [false]
  if (devices.length > 0 && products.length === 1) it.skip('cuBLASLt: not installed', () => {})
  const cases = kinds.flatMap(([name, config]) => products.map(cublaslt => [name, cublaslt, config] as const))
  it.each(cases)(
    '%s, cuBLASLt %s: a vector depends on its own entity alone, bit for bit',
    async (_, cublaslt, config) => {
      const device = openDevice({ kind: 'cuda', precision: 'bfloat16', cublaslt })
      const source = smallSource()
      const sizes = { width: 16, blocks: 2, heads: 2, attentionSize: 8, ...config }
      const encoder = new Encoder(await fitEncoding(source), sizes, { device, seed: 3 })
      const together = await encoder.encode(source)
      const apart = await encoder.encode(source, { batchEvents: 1 })
      expect(together.vectors.every(Number.isFinite)).toBe(true)
      expectSameBits(apart.vectors, together.vectors, 'vectors')
      encoder.dispose()
    },
  )
})
