// Every kernel of the encoder on a card, at sizes that leave its caches: median time, and the share of the card's own
// limit. Each is compared with the CPU's result on a small problem before it is timed.

import { blockAttention } from '../../lib/ops/block_attention.js'
import { convert } from '../../lib/ops/convert.js'
import { fieldEmbedding } from '../../lib/ops/field_embedding.js'
import { fixedAttentionRead, fixedAttentionWrite } from '../../lib/ops/fixed_attention.js'
import { fullAttention } from '../../lib/ops/full_attention.js'
import { gatedDwconv } from '../../lib/ops/gated_dwconv.js'
import { gatedSeparableConv } from '../../lib/ops/gated_separable_conv.js'
import { gatherRows } from '../../lib/ops/gather_rows.js'
import { glu } from '../../lib/ops/glu.js'
import { LAYER_NORM_EPS, layerNorm } from '../../lib/ops/layer_norm.js'
import { linear } from '../../lib/ops/linear.js'
import { MachineProbe } from '../../lib/ops/machine.js'
import { pool } from '../../lib/ops/pool.js'
import { softmaxCrossEntropy } from '../../lib/ops/softmax_cross_entropy.js'
import { cudaStatus, Device, type Precision } from '../../lib/runtime/device.js'
import { Parameter, Tape } from '../../lib/runtime/tape.js'
import { type FloatType, Offsets, scope, Tensor, unscoped } from '../../lib/runtime/tensor.js'
import { SeqriskError } from '../../lib/util/errors.js'
import { normals } from '../support/values.js'

type Float = Tensor<'float32'>
/** Activations, stored as the device's precision is. */
type Inner = Tensor<FloatType>

/** What a kernel needs at the given number of events, in sequences of 4 000. */
interface Problem {
  readonly inputs: readonly (Parameter | Activation)[]
  forward(): Inner
}

interface Case {
  readonly name: string
  /**
   * Bytes of one event, forward and backward, where an element of an activation takes `e`; and operations.
   */
  bytes(e: number): readonly [number, number]
  readonly operations: readonly [number, number]
  readonly bound: 'copy' | 'multiply-add' | 'tensor cores'
  readonly precision?: Precision
  /** Products by that library, where it can be loaded. */
  readonly cublaslt?: boolean
  /** As encoding runs it: nothing is kept for a backward, and there is none. */
  readonly encodes?: boolean
  make(device: Device, events: number): Problem
}

const D = 256
const EVENTS = 256_000
const SMALL = 8_000
const LENGTH = 4000
const PRECISIONS = ['float32', 'bfloat16'] as const

const CASES: readonly Case[] = [
  ...(['float32', 'bfloat16', 'cublaslt'] as const).flatMap(kind =>
    [
      [D, D],
      [D, 3 * D],
      [D, 4 * D],
    ].map(
      ([width, out]): Case => ({
        name: `linear ${width} → ${out}${kind === 'cublaslt' ? ' by cuBLASLt' : ''}`,
        bytes: e => [e * (width + out), 2 * e * (width + out)],
        operations: [2 * width * out, 4 * width * out],
        bound: kind === 'float32' ? 'multiply-add' : 'tensor cores',
        precision: kind === 'float32' ? 'float32' : 'bfloat16',
        cublaslt: kind === 'cublaslt',
        make(device, events) {
          const x = input(device, events, width)
          const [weight, bias] = [floats(device, out, width), floats(device, out)].map(value => parameter(value))
          return { inputs: [x, weight, bias], forward: () => linear(x.value, weight.value, bias.value) }
        },
      }),
    ),
  ),
  ...PRECISIONS.flatMap(precision =>
    [5, 31, 101].map(
      (width): Case => ({
        name: `gated_dwconv K=${width}`,
        bytes: e => [2 * e * D, 3 * e * D],
        operations: [4 * width * D, 12 * width * D],
        bound: 'copy',
        precision,
        make(device, events) {
          const filter = [floats(device, width, D), floats(device, D), floats(device, width, D), floats(device, D)].map(
            value => parameter(value),
          )
          const x = input(device, events, D)
          const offsets = offsetsOf(device, events)
          const [weight, bias, gateWeight, gateBias] = filter.map(({ value }) => value)
          return {
            inputs: [x, ...filter],
            forward: () => gatedDwconv(x.value, weight, bias, gateWeight, gateBias, offsets),
          }
        },
      }),
    ),
  ),
  // One kernel, and the two that it stands for: while training, where what stands between is kept, and while encoding.
  ...[128, 256].flatMap(width =>
    [false, true].flatMap(encodes =>
      [false, true].map(
        (apart): Case => ({
          name: `gated_separable_conv ${width}${apart ? ' in two' : ''}${encodes ? ', encoding' : ''}`,
          bytes: e => [width * ((encodes ? 1 : 2) * e + 8), width * (5 * e + 4)],
          operations: [2 * width * (width + 10), 4 * width * (width + 15)],
          bound: 'copy',
          precision: 'bfloat16',
          encodes,
          make(device, events) {
            const shapes = [[5, width], [width], [5, width], [width], [width, width], [width]]
            const parameters = shapes.map(shape => parameter(floats(device, ...shape)))
            const [weight, bias, gateWeight, gateBias, pointWeight, pointBias] = parameters.map(({ value }) => value)
            const residual = parameter(floats(device, events, width))
            const x = input(device, events, width)
            const offsets = offsetsOf(device, events)
            const filters = { weight, bias, gateWeight, gateBias, pointWeight, pointBias }
            const forward = () => {
              if (!apart) return gatedSeparableConv(x.value, filters, residual.value, offsets)
              const between = gatedDwconv(x.value, weight, bias, gateWeight, gateBias, offsets)
              return linear(between, pointWeight, pointBias, { residual: residual.value })
            }
            return { inputs: [x, ...parameters, residual], forward }
          },
        }),
      ),
    ),
  ),
  ...PRECISIONS.map(
    (precision): Case => ({
      name: 'layer_norm',
      // x is of the residual stream: float32, with a gradient that is added to.
      bytes: e => [(4 + e) * D, (4 + 3 * e) * D],
      operations: [8 * D, 16 * D],
      bound: 'copy',
      precision,
      make(device, events) {
        const gradient = Tensor.zeros(device, device.activations, [events, D])
        const x = new Parameter('x', floats(device, events, D), { gradient: gradient as Inner as Float })
        const [weight, bias] = [floats(device, D), floats(device, D)].map(value => parameter(value))
        return {
          inputs: [x, weight, bias],
          forward: () => layerNorm(x.value, weight.value, bias.value, LAYER_NORM_EPS, device.activations),
        }
      },
    }),
  ),
  ...PRECISIONS.map(
    (precision): Case => ({
      name: 'glu',
      bytes: e => [3 * e * D, 5 * e * D],
      operations: [10 * D, 20 * D],
      bound: 'copy',
      precision,
      make(device, events) {
        const x = input(device, events, 2 * D)
        return { inputs: [x], forward: () => glu(x.value) }
      },
    }),
  ),
  ...PRECISIONS.flatMap((precision): Case[] => [
    {
      name: 'block_attention B=64',
      bytes: e => [4 * e * D, 8 * e * D],
      operations: [4 * 64 * D, 10 * 64 * D],
      bound: 'copy',
      precision,
      make(device, events) {
        const qkv = input(device, events, 3 * D)
        const offsets = offsetsOf(device, events)
        return { inputs: [qkv], forward: () => blockAttention(qkv.value, offsets, { heads: 4, block: 64 }) }
      },
    },
    {
      name: 'fixed_attention 64 slots, write',
      bytes: e => [2 * e * D, 4 * e * D],
      operations: [4 * 64 * D, 10 * 64 * D],
      bound: 'copy',
      precision,
      make(device, events) {
        const [queries, kv] = [parameter(floats(device, 64, D)), input(device, events, 2 * D)]
        const offsets = offsetsOf(device, events)
        return {
          inputs: [queries, kv],
          forward: () => fixedAttentionWrite(queries.value, kv.value, offsets, { heads: 4 }),
        }
      },
    },
    {
      name: 'fixed_attention 64 slots, read',
      bytes: e => [2 * e * D, 4 * e * D],
      operations: [4 * 64 * D, 10 * 64 * D],
      bound: 'copy',
      precision,
      make(device, events) {
        const kv = input(device, (events / LENGTH) * 64, 2 * D)
        const q = input(device, events, D)
        const offsets = offsetsOf(device, events)
        return {
          inputs: [q, kv],
          forward: () => fixedAttentionRead(q.value, kv.value, offsets, { heads: 4, slots: 64 }),
        }
      },
    },
    {
      name: 'full_attention N=4000',
      bytes: e => [4 * e * D, 8 * e * D],
      operations: [4 * LENGTH * D, 10 * LENGTH * D],
      bound: precision === 'bfloat16' ? 'tensor cores' : 'multiply-add',
      precision,
      make(device, events) {
        const qkv = input(device, events, 3 * D)
        const offsets = offsetsOf(device, events)
        return { inputs: [qkv], forward: () => fullAttention(qkv.value, offsets, { heads: 4 }) }
      },
    },
  ]),
  // `unknown`: the share of the events that have no value.
  ...[
    { ids: 20, unknown: 0 },
    { ids: 80, unknown: 0 },
    { ids: 200, unknown: 0 },
    { ids: 60_000, unknown: 0 },
    { ids: 60_000, unknown: 0.5 },
  ].map(
    ({ ids, unknown }): Case => ({
      name: `field_embedding, a field of ${ids}${unknown ? `, ${100 * unknown} % unknown` : ''}`,
      bytes: () => [4 * D, 4 * D],
      operations: [D, D],
      bound: 'copy',
      make(device, events) {
        const table = parameter(floats(device, ids, D))
        const codes = Tensor.from(
          device,
          Int32Array.from({ length: events }, (_, i) => ((i * 0.618) % 1 < unknown ? 0 : (i * 7919) % ids)),
        )
        return {
          inputs: [table],
          forward: () => fieldEmbedding([{ codes, table: table.value }], { merge: 'add', width: D }),
        }
      },
    }),
  ),
  ...[true, false].map(
    (ascending): Case => ({
      name: `gather_rows, 15 %${ascending ? '' : ' in any order'}`,
      bytes: () => [0.15 * 8 * D, 0.15 * 4 * D + 4 * D],
      operations: [D, D],
      bound: 'copy',
      make(device, events) {
        const x = input(device, events, D)
        const count = Math.floor(0.15 * events)
        const index = Tensor.from(
          device,
          Int32Array.from({ length: count }, (_, i) => Math.floor((ascending ? i : (i * 7919) % count) / 0.15)),
        )
        return { inputs: [x], forward: () => gatherRows(x.value as Float, index, { ascending }) }
      },
    }),
  ),
  {
    name: 'pool mean',
    bytes: () => [4 * D, 4 * D],
    operations: [D, D],
    bound: 'copy',
    make(device, events) {
      const x = input(device, events, D)
      const offsets = offsetsOf(device, events)
      return { inputs: [x], forward: () => pool(x.value as Float, offsets, { mode: 'mean' }) }
    },
  },
  {
    name: 'softmax_cross_entropy, 1000 classes',
    bytes: () => [4 * 1000, 8 * 1000],
    operations: [4000, 4000],
    bound: 'copy',
    make(device, events) {
      const logits = input(device, events, 1000)
      const targets = Tensor.from(
        device,
        Int32Array.from({ length: events }, (_, i) => i % 1000),
      )
      return { inputs: [logits], forward: () => softmaxCrossEntropy(logits.value as Float, targets).loss }
    },
  },
]

export default async function* cudaKernels(): AsyncGenerator<string> {
  const { devices, missing } = cudaStatus()
  if (devices.length === 0) {
    yield `cuda/kernels  SKIPPED: ${missing}`
    return
  }
  const cards = {
    float32: new Device({ kind: 'cuda' }),
    bfloat16: new Device({ kind: 'cuda', precision: 'bfloat16' }),
  }
  const library = openCublaslt()
  if (typeof library === 'string') yield `cuda/kernels  by cuBLASLt SKIPPED: ${library}`
  const cpu = new Device({ kind: 'cpu' })
  const probe = new MachineProbe(cards.float32)
  let [copy, gigaflops] = [0, 0]
  for (let i = 0; i < 5; i++) {
    copy = Math.max(copy, await probe.copyGigabytes())
    gigaflops = Math.max(gigaflops, await probe.gigaflops())
  }
  probe.dispose()
  yield `cuda/kernels  ${devices[0].name}: copy ${copy.toFixed(0)} GB/s, float32 multiply-add ${gigaflops.toFixed(0)} GFLOP/s`
  // `SEQRISK_BENCH_ONLY=bfloat16` leaves the others out.
  const only = process.env.SEQRISK_BENCH_ONLY ?? ''
  for (const one of CASES.filter(({ name, precision = 'float32' }) => `${name} ${precision}`.includes(only))) {
    if (one.cublaslt && typeof library === 'string') continue
    const card = one.cublaslt ? (library as Device) : cards[one.precision ?? 'float32']
    await check(one, card, cpu)
    const [forward, backward] = await time(one, card)
    for (const [i, name] of (one.encodes ? ['forward'] : ['forward', 'backward']).entries()) {
      const ms = [forward, backward][i]
      const bytes = one.bytes(one.precision === 'bfloat16' ? 2 : 4)[i]
      const gigabytes = (bytes * EVENTS) / ms / 1e6
      const flops = (one.operations[i] * EVENTS) / ms / 1e6
      const share =
        one.bound === 'copy'
          ? `${((100 * gigabytes) / copy).toFixed(0)} % of copy`
          : one.bound === 'multiply-add'
            ? `${((100 * flops) / gigaflops).toFixed(0)} % of multiply-add`
            : `${(flops / 1000).toFixed(0)} TFLOP/s`
      yield `cuda/kernels  ${one.name.padEnd(36)} ${(one.precision ?? 'float32').padEnd(8)} ${name.padEnd(8)} ` +
        `${ms.toFixed(3)} ms  ${gigabytes.toFixed(0)} GB/s  ${(flops / 1000).toFixed(1)} TFLOP/s  ${share}`
    }
  }
  for (const device of [cpu, library, ...Object.values(cards)]) if (device instanceof Device) device.close()
}

/** The card with that library, or why it has none. `SEQRISK_BENCH_CUBLASLT` is its file, where the loader does not find it. */
function openCublaslt(): Device | string {
  try {
    return new Device({ kind: 'cuda', precision: 'bfloat16', cublaslt: process.env.SEQRISK_BENCH_CUBLASLT ?? true })
  } catch (error) {
    if (error instanceof SeqriskError && error.code === 'NO_CUBLASLT') return error.message
    throw error
  }
}

/** One step through a problem; what it returns is kept. */
function pass({ inputs, forward }: Problem, dout: Inner | null): Inner {
  const tape = new Tape()
  const out = tape.record(() => {
    for (const input of inputs) if (input instanceof Activation) input.enter(tape)
    return forward()
  })
  tape.backward([dout ? { loss: out, dout } : { loss: out }])
  return out
}

/** Milliseconds of forward and backward: the median of some turns. */
async function time(one: Case, device: Device): Promise<[number, number]> {
  const problem = unscoped(() => one.make(device, EVENTS))
  const dout = unscoped(() => {
    const out = problem.forward()
    if (out.shape.length === 1) return null
    const exact = floats(device, ...(out.shape as number[]))
    out.copyFrom(exact)
    exact.dispose()
    return out
  })
  // As many times between two waits that the waits weigh little.
  const ms = async (body: () => void) => {
    const run = async (times: number) => {
      const begun = performance.now()
      for (let i = 0; i < times; i++) body()
      await device.sync()
      return (performance.now() - begun) / times
    }
    await run(1)
    const times = Math.min(50, Math.max(2, Math.ceil(15 / (await run(2)))))
    const samples: number[] = []
    for (let turn = 0; turn < 7; turn++) samples.push(await run(times))
    return samples.sort((a, b) => a - b)[3]
  }
  // With a tape, so that what the backward needs is kept here too.
  const forwardMs = await ms(() => {
    scope(() => {
      if (one.encodes) problem.forward()
      else new Tape().record(problem.forward)
    })
  })
  const seedMs = dout
    ? await ms(() => scope(() => void Tensor.empty(device, dout.dtype, dout.shape).copyFrom(dout)))
    : 0
  const bothMs = await ms(() => scope(() => void pass(problem, dout)))
  dout?.dispose()
  for (const input of problem.inputs) input.dispose()
  return [forwardMs, bothMs - forwardMs - seedMs]
}

/** The same numbers as on the CPU, in the precision's own terms. */
async function check(one: Case, card: Device, cpu: Device): Promise<void> {
  const results: Float32Array[][] = []
  for (const device of [cpu, card]) {
    const problem = unscoped(() => one.make(device, SMALL))
    const shape = scope(() => problem.forward().shape)
    const dout = shape.length === 1 ? null : floats(device, ...(shape as number[]))
    for (const input of problem.inputs) if (input instanceof Activation) input.keepsGradient = true
    const out = pass(problem, dout)
    results.push(
      await Promise.all([
        out.read(),
        ...problem.inputs.map(input => (input instanceof Activation ? input.readGradient() : input.gradient.read())),
      ]),
    )
    for (const input of problem.inputs) input.dispose()
  }
  const allowed = one.precision === 'bfloat16' ? 2e-2 : 1e-4
  for (const [i, want] of results[0].entries()) {
    let [difference, size] = [0, 0]
    for (const [k, value] of want.entries()) {
      difference += (results[1][i][k] - value) ** 2
      size += value ** 2
    }
    const error = Math.sqrt(difference / size)
    if (!(error <= allowed)) throw new Error(`${one.name}: result ${i} differs from the CPU's by ${error}`)
  }
}

function parameter(value: Float): Parameter {
  return new Parameter('input', value)
}

/** What another op has computed: its gradient is assigned, and read where that is asked for. */
class Activation {
  readonly value: Inner
  keepsGradient = false
  readonly #source: Parameter
  #gradient: Promise<Float32Array> | null = null

  constructor(value: Inner) {
    this.value = value
    this.#source = parameter(Tensor.zeros(value.device, 'float32', [1]))
  }

  enter(tape: Tape): void {
    tape.add(this.value, [this.#source.value], dx => {
      if (this.keepsGradient) this.#gradient = dx.read()
    })
  }

  readGradient(): Promise<Float32Array> {
    return this.#gradient ?? Promise.reject(new Error('no gradient came back'))
  }

  dispose(): void {
    this.value.dispose()
    this.#source.dispose()
  }
}

/** An activation, stored as the device's precision is. */
function input(device: Device, rows: number, width: number): Activation {
  const exact = floats(device, rows, width)
  const value = convert(exact, device.activations)
  if (value !== exact) exact.dispose()
  return new Activation(value)
}

/** The same numbers again and again: drawing 10⁸ of them would take longer than the bench. */
const PERIOD = 1_000_003
const NUMBERS = normals(PERIOD, 0.5)

function floats(device: Device, ...shape: number[]): Float {
  const values = new Float32Array(shape.reduce((product, size) => product * size, 1))
  for (let i = 0; i < values.length; i += PERIOD)
    values.set(NUMBERS.subarray(0, Math.min(PERIOD, values.length - i)), i)
  return Tensor.from(device, values, shape)
}

function offsetsOf(device: Device, events: number): Offsets {
  return new Offsets(
    device,
    Int32Array.from({ length: events / LENGTH + 1 }, (_, i) => i * LENGTH),
  )
}
