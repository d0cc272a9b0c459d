import { binding } from '../../lib/native.js'
import { type EmbeddingField, fieldEmbedding } from '../../lib/ops/field_embedding.js'
import {
  fieldEmbeddingBackward,
  fieldEmbeddingForward,
  type ReferenceField,
} from '../../lib/reference/field_embedding.js'
import type { Device } from '../../lib/runtime/device.js'
import { Tensor } from '../../lib/runtime/tensor.js'
import { Philox } from '../../lib/util/philox.js'
import { expectClose } from '../../test/support/close.js'
import { type OpCase, runOpBench } from '../support/op_bench.js'
import { normals } from '../support/values.js'

const EVENTS = 32_000
const WIDTH = 128

/** Rows of categorical tables, and bins of numeric ones. */
const mixes = [
  { name: '8 small fields', rows: [20, 20, 50, 100, 300], bins: [32, 32, 64] },
  { name: '8 fields, one of 100 000 rows', rows: [20, 20, 50, 100, 100_000], bins: [32, 32, 64] },
  { name: '1 field of 20 rows', rows: [20], bins: [] },
]

/** Skewed codes, as categories are: the low ones are frequent. */
function makeFields({ rows, bins }: (typeof mixes)[number]): ReferenceField[] {
  const rng = new Philox(1)
  const table = (ids: number) => Float64Array.from(normals(ids * WIDTH))
  const categorical = rows.map((ids): ReferenceField => {
    const codes = Int32Array.from({ length: EVENTS }, () => Math.floor(ids * rng.uniform() ** 2))
    return { kind: 'categorical', dim: WIDTH, table: table(ids), codes }
  })
  const numeric = bins.map((count): ReferenceField => {
    const codes = Int32Array.from({ length: EVENTS }, () => 2 + rng.below(count))
    const fraction = Float64Array.from(codes, () => Math.fround(rng.uniform()))
    return { kind: 'numeric', dim: WIDTH, table: table(count + 3), codes, fraction }
  })
  return [...categorical, ...numeric]
}

/** What has to move: the vectors, the codes and fractions, and every row of a table that occurs. */
function bytesOf(fields: readonly ReferenceField[]): { codes: number; rows: number } {
  let codes = 0
  let rows = 0
  for (const field of fields) {
    codes += EVENTS * (field.fraction ? 8 : 4)
    rows += new Set(field.codes).size * WIDTH * 4
  }
  return { codes, rows }
}

function upload(device: Device, fields: readonly ReferenceField[]) {
  return fields.map(({ codes, fraction, table }) => ({
    codes: Tensor.from(device, codes!),
    ...(fraction && { fraction: Tensor.from(device, Float32Array.from(fraction)) }),
    table: Tensor.from(device, Float32Array.from(table), [table.length / WIDTH, WIDTH]),
  }))
}

/** The first events alone, for the reference. */
function head(fields: readonly ReferenceField[], events: number): ReferenceField[] {
  return fields.map(field => ({ ...field, codes: field.codes!.subarray(0, events) }))
}

function forwardCase(device: Device, name: string, fields: ReferenceField[]): OpCase {
  const held = upload(device, fields)
  const call = () => fieldEmbedding(held as EmbeddingField[], { width: WIDTH, merge: 'add' })
  const { codes, rows } = bytesOf(fields)
  return {
    shape: `forward, ${EVENTS} events, ${name}, D=${WIDTH}`,
    bytes: EVENTS * WIDTH * 4 + codes + rows,
    operations: 2 * EVENTS * WIDTH * fields.length,
    bound: 'copy',
    target: 0.7,
    run: () => call().dispose(),
    async check() {
      const out = call()
      const want = fieldEmbeddingForward(head(fields, 50), 50, WIDTH, false)
      // Up to 70 terms.
      expectClose((await out.read()).subarray(0, 50 * WIDTH), want, { absolute: 0, relative: 70 * 2 ** -24 })
      out.dispose()
    },
    dispose() {
      for (const tensor of held.flatMap(field => Object.values(field))) tensor.dispose()
    },
  }
}

function backwardCase(device: Device, name: string, fields: ReferenceField[]): OpCase {
  const held = upload(device, fields)
  const values = normals(EVENTS * WIDTH)
  const dout = Tensor.from(device, values, [EVENTS, WIDTH])
  const parts = held.flatMap(({ codes, fraction, table }) => [
    fraction ? 1 : 0,
    WIDTH,
    codes.handle,
    ...(fraction ? [fraction.handle] : []),
    table.handle,
  ])
  const call = () => binding.field_embedding_backward(device.handle, false, dout.handle, fields.length, parts)
  const { codes, rows } = bytesOf(fields)
  return {
    shape: `backward, ${EVENTS} events, ${name}, D=${WIDTH}`,
    bytes: EVENTS * WIDTH * 4 + codes + 2 * rows,
    operations: 2 * EVENTS * WIDTH * fields.length,
    bound: 'copy',
    target: 0.7,
    run: call,
    async check() {
      for (const { table } of held) table.fill(0)
      call()
      const want = fieldEmbeddingBackward(fields.slice(0, 1), Float64Array.from(values), EVENTS, WIDTH, false)[0]
      // A row sums up to all events.
      expectClose(await held[0].table.read(), want, { absolute: 0, relative: Math.sqrt(EVENTS) * 2 ** -20 })
    },
    dispose() {
      for (const tensor of [dout, ...held.flatMap(field => Object.values(field))]) tensor.dispose()
    },
  }
}

export default () =>
  runOpBench({
    op: 'field_embedding',
    *cases(device): Iterable<OpCase> {
      for (const mix of mixes) {
        const fields = makeFields(mix)
        yield forwardCase(device, mix.name, fields)
        yield backwardCase(device, mix.name, fields)
      }
    },
  })
