// What the benches of block_attention and full_attention share: equally long sequences, and checks against the
// float64 reference.

import { attend, attendBackward, cutRows } from '../../lib/reference/attention.js'
import type { Device } from '../../lib/runtime/device.js'
import { Offsets, Tensor } from '../../lib/runtime/tensor.js'
import { expectClose } from '../../test/support/close.js'
import type { OpCase } from './op_bench.js'
import { normals } from './values.js'

export interface SelfAttentionShape {
  readonly users: number
  readonly length: number
  readonly width: number
  readonly heads: number
  /** Events that attend to each other, at most the length. */
  readonly block: number
}

export interface SelfAttentionTensors {
  readonly qkv: Tensor<'float32'>
  readonly offsets: Offsets
  readonly out: Tensor<'float32'>
  readonly lse: Tensor<'float32'>
  readonly dout: Tensor<'float32'>
  readonly dqkv: Tensor<'float32'>
}

/** Forward as in training (it keeps lse), and backward. */
export function* selfAttentionCases(
  device: Device,
  shape: SelfAttentionShape,
  forward: (tensors: SelfAttentionTensors) => void,
  backward: (tensors: SelfAttentionTensors) => void,
): Iterable<OpCase> {
  const { users, length, width, heads, block } = shape
  const events = users * length
  const name = `f32 ${users} × ${length}, width ${width}, ${heads} heads, block ${block}`
  const open = () => ({
    qkv: Tensor.from(device, normals(events * 3 * width), [events, 3 * width]),
    offsets: new Offsets(
      device,
      Int32Array.from({ length: users + 1 }, (_, i) => i * length),
    ),
    out: Tensor.empty(device, 'float32', [events, width]),
    lse: Tensor.empty(device, 'float32', [events, heads]),
    dout: Tensor.from(device, normals(events * width), [events, width]),
    dqkv: Tensor.empty(device, 'float32', [events, 3 * width]),
  })
  const pairs = Math.floor(length / block) * block ** 2 + (length % block) ** 2
  const products = 2 * users * pairs * width
  const forwardTensors = open()
  yield {
    shape: `forward  ${name}`,
    bytes: 4 * events * (4 * width + heads),
    operations: 2 * products,
    bound: 'multiply-add',
    run: () => forward(forwardTensors),
    async check() {
      forward(forwardTensors)
      await checkForward(forwardTensors, shape)
    },
    dispose: () => Object.values(forwardTensors).forEach(tensor => void tensor.dispose()),
  }
  const tensors = open()
  forward(tensors)
  yield {
    shape: `backward ${name}`,
    bytes: 4 * events * (8 * width + heads),
    operations: 5 * products,
    bound: 'multiply-add',
    run: () => backward(tensors),
    async check() {
      backward(tensors)
      await checkBackward(tensors, shape)
    },
    dispose: () => Object.values(tensors).forEach(tensor => void tensor.dispose()),
  }
}

const QUERIES = 3

/** The first queries of the last sequence's first block, in float64. */
function someBlock(qkv: Float32Array, { users, length, width, heads, block }: SelfAttentionShape) {
  const begin = (users - 1) * length
  const dim = width / heads
  const values = Float64Array.from(qkv)
  return Array.from({ length: heads }, (_, head) => {
    const part = (i: number, end: number) => cutRows(values, 3 * width, begin, end, i * width + head * dim, dim)
    return { column: head * dim, q: part(0, begin + QUERIES), k: part(1, begin + block), v: part(2, begin + block) }
  })
}

async function checkForward({ qkv, out }: SelfAttentionTensors, shape: SelfAttentionShape): Promise<void> {
  const [got, from] = await Promise.all([out.read(), qkv.read()])
  const begin = (shape.users - 1) * shape.length * shape.width
  for (const { column, q, k, v } of someBlock(from, shape)) {
    attend(q, k, v).forEach((want, i) => {
      const at = begin + i * shape.width + column
      expectClose(got.subarray(at, at + want.length), want, { absolute: 0, relative: 2 ** -18 }, 'out')
    })
  }
}

/** dq of some queries; and, since weights sum to 1, Σ dv = Σ dout and Σ dk = 0 over a block. */
async function checkBackward({ qkv, dout, dqkv }: SelfAttentionTensors, shape: SelfAttentionShape): Promise<void> {
  const { width, block } = shape
  const [got, from, gradient] = await Promise.all([dqkv.read(), qkv.read(), dout.read()])
  const begin = (shape.users - 1) * shape.length
  const douts = Float64Array.from(gradient)
  for (const { column, q, k, v } of someBlock(from, shape)) {
    const dim = q[0].length
    const rows = cutRows(douts, width, begin, begin + QUERIES, column, dim)
    attendBackward(q, k, v, rows).dq.forEach((want, i) => {
      const at = (begin + i) * 3 * width + column
      expectClose(got.subarray(at, at + dim), want, { absolute: 0, relative: 2 ** -16 }, 'dq')
    })
    const sum = (values: ArrayLike<number>, stride: number, at: number) =>
      Float64Array.from({ length: dim }, (_, c) => {
        let total = 0
        for (let row = begin; row < begin + block; row++) total += values[row * stride + at + c]
        return total
      })
    // block sums of numbers of about 1, each rounded.
    const tolerance = { absolute: block * 2 ** -20, relative: 2 ** -18 }
    expectClose(sum(got, 3 * width, 2 * width + column), sum(gradient, width, column), tolerance, 'dv')
    expectClose(sum(got, 3 * width, width + column), new Float64Array(dim), tolerance, 'dk')
  }
}
