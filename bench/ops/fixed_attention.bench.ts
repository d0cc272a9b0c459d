import { binding } from '../../lib/native.js'
import { attend, attendBackward, cutRows } from '../../lib/reference/attention.js'
import type { Device } from '../../lib/runtime/device.js'
import { Offsets, Tensor } from '../../lib/runtime/tensor.js'
import { expectClose } from '../../test/support/close.js'
import { type OpCase, runOpBench } from '../support/op_bench.js'
import { normals } from '../support/values.js'

const shapes = [
  { users: 8, length: 4000, width: 128, heads: 4, slots: 32 },
  { users: 500, length: 64, width: 128, heads: 4, slots: 16 },
]
type Shape = (typeof shapes)[number]

function open(device: Device, { users, length, width, heads, slots }: Shape) {
  const events = users * length
  const rows = users * slots
  return {
    offsets: new Offsets(
      device,
      Int32Array.from({ length: users + 1 }, (_, i) => i * length),
    ),
    queries: Tensor.from(device, normals(slots * width), [slots, width]),
    dqueries: Tensor.zeros(device, 'float32', [slots, width]),
    q: Tensor.from(device, normals(events * width), [events, width]),
    dq: Tensor.empty(device, 'float32', [events, width]),
    out: Tensor.empty(device, 'float32', [events, width]),
    dout: Tensor.from(device, normals(events * width), [events, width]),
    lse: Tensor.empty(device, 'float32', [events, heads]),
    kv: Tensor.from(device, normals(events * 2 * width), [events, 2 * width]),
    dkv: Tensor.empty(device, 'float32', [events, 2 * width]),
    memory: Tensor.empty(device, 'float32', [rows, width]),
    dmemory: Tensor.from(device, normals(rows * width), [rows, width]),
    memoryLse: Tensor.empty(device, 'float32', [rows, heads]),
    slotsKv: Tensor.from(device, normals(rows * 2 * width), [rows, 2 * width]),
    dslotsKv: Tensor.empty(device, 'float32', [rows, 2 * width]),
  }
}

/** Compares one row of `got` with float64, head by head. */
function checkRow(got: Float32Array, row: number, { width, heads }: Shape, want: (column: number) => Float64Array) {
  for (let column = 0; column < width; column += width / heads) {
    const wanted = want(column)
    const at = row * width + column
    expectClose(got.subarray(at, at + wanted.length), wanted, { absolute: 0, relative: 2 ** -16 })
  }
}

function* cases(device: Device, shape: Shape): Iterable<OpCase> {
  const { users, length, width, heads, slots } = shape
  const { handle } = device
  const t = open(device, shape)
  const write = [handle, t.queries.handle, t.kv.handle, t.offsets.handle, heads] as const
  const read = [handle, t.q.handle, t.slotsKv.handle, t.offsets.handle, heads, slots] as const
  const dim = width / heads
  // The last row of the last sequence stands for all.
  const events = users * length
  const begin = events - length
  const run = {
    writeForward: () => binding.fixed_attention_write_forward(...write, t.memory.handle, t.memoryLse.handle),
    writeBackward() {
      const given = [t.memory.handle, t.memoryLse.handle, t.dmemory.handle] as const
      binding.fixed_attention_write_backward(...write, ...given, t.dqueries.handle, t.dkv.handle, false)
    },
    readForward: () => binding.fixed_attention_read_forward(...read, t.out.handle, t.lse.handle),
    readBackward() {
      const given = [t.out.handle, t.lse.handle, t.dout.handle] as const
      binding.fixed_attention_read_backward(...read, ...given, t.dq.handle, false, t.dslotsKv.handle, false)
    },
  }
  const check = {
    async writeForward() {
      const [got, queries, kv] = await Promise.all([t.memory.read(), wide(t.queries), wide(t.kv)])
      checkRow(got, users * slots - 1, shape, column => {
        const k = cutRows(kv, 2 * width, begin, events, column, dim)
        const v = cutRows(kv, 2 * width, begin, events, width + column, dim)
        return attend(cutRows(queries, width, slots - 1, slots, column, dim), k, v)[0]
      })
    },
    async writeBackward() {
      const [got, queries, kv, dmemory] = await Promise.all([
        t.dkv.read(),
        wide(t.queries),
        wide(t.kv),
        wide(t.dmemory),
      ])
      for (const part of ['dk', 'dv'] as const) {
        checkRow(got, 2 * (events - 1) + (part === 'dv' ? 1 : 0), shape, column => {
          const k = cutRows(kv, 2 * width, begin, events, column, dim)
          const v = cutRows(kv, 2 * width, begin, events, width + column, dim)
          const dout = cutRows(dmemory, width, (users - 1) * slots, users * slots, column, dim)
          return attendBackward(cutRows(queries, width, 0, slots, column, dim), k, v, dout)[part][length - 1]
        })
      }
    },
    async readForward() {
      const [got, q, kv] = await Promise.all([t.out.read(), wide(t.q), wide(t.slotsKv)])
      checkRow(got, events - 1, shape, column => {
        const k = cutRows(kv, 2 * width, (users - 1) * slots, users * slots, column, dim)
        const v = cutRows(kv, 2 * width, (users - 1) * slots, users * slots, width + column, dim)
        return attend(cutRows(q, width, events - 1, events, column, dim), k, v)[0]
      })
    },
    async readBackward() {
      const [got, q, kv, douts] = await Promise.all([t.dslotsKv.read(), wide(t.q), wide(t.slotsKv), wide(t.dout)])
      for (const part of ['dk', 'dv'] as const) {
        checkRow(got, 2 * (users * slots - 1) + (part === 'dv' ? 1 : 0), shape, column => {
          const k = cutRows(kv, 2 * width, (users - 1) * slots, users * slots, column, dim)
          const v = cutRows(kv, 2 * width, (users - 1) * slots, users * slots, width + column, dim)
          const dout = cutRows(douts, width, begin, events, column, dim)
          return attendBackward(cutRows(q, width, begin, events, column, dim), k, v, dout)[part][slots - 1]
        })
      }
    },
  }
  for (const name of ['writeForward', 'writeBackward', 'readForward', 'readBackward'] as const) {
    const isForward = name.endsWith('Forward')
    const isLast = name === 'readBackward'
    yield {
      shape: `${name.padEnd(13)} f32 ${users} × ${length}, width ${width}, ${heads} heads, ${slots} slots`,
      bytes: 4 * events * width * (name.startsWith('write') ? 2 : 1) * (isForward ? 1 : 2),
      operations: (isForward ? 4 : 10) * events * slots * width,
      bound: 'multiply-add',
      run: run[name],
      async check() {
        run[name]()
        await check[name]()
      },
      dispose() {
        if (isLast) for (const tensor of Object.values(t)) tensor.dispose()
      },
    }
  }
}

async function wide(tensor: Tensor<'float32'>): Promise<Float64Array> {
  return Float64Array.from(await tensor.read())
}

export default () =>
  runOpBench({
    op: 'fixed_attention',
    *cases(device) {
      for (const shape of shapes) yield* cases(device, shape)
    },
  })
