import { describe, expect, it } from 'vitest'
import { type EmbeddingField, fieldEmbedding } from '../../lib/ops/field_embedding.js'
import { gatherRows } from '../../lib/ops/gather_rows.js'
import {
  fieldEmbeddingBackward,
  fieldEmbeddingForward,
  type ReferenceField,
} from '../../lib/reference/field_embedding.js'
import type { Device } from '../../lib/runtime/device.js'
import { Parameter, Tape } from '../../lib/runtime/tape.js'
import { keep, Offsets, scope, Tensor } from '../../lib/runtime/tensor.js'
import { expectClose, expectSameBits } from '../support/close.js'
import { everyVariant, openDevice } from '../support/devices.js'
import { checkGradients } from '../support/gradcheck.js'
import { TestRandom } from '../support/random.js'

type Kind = ReferenceField['kind']
type Merge = 'add' | 'concat'

interface Problem {
  readonly events: number
  readonly width: number
  readonly merge: Merge
  readonly fields: ReferenceField[]
  readonly dout: Float64Array
}

/** Fields of the given kind, rows (bins for numeric) and width, with codes beyond both ends of the table. */
function problem(events: number, merge: Merge, specs: readonly [Kind, number, number][]): Problem {
  const random = new TestRandom(events * 100 + specs.length)
  const fields = specs.map(([kind, size, dim]): ReferenceField => {
    if (kind === 'dense') return { kind, dim, table: random.normals(events * dim) }
    const ids = kind === 'numeric' ? size + 3 : size
    const table = random.normals(ids * dim)
    if (kind !== 'text') {
      const codes = Int32Array.from({ length: events }, () => random.integer(-1, ids))
      if (kind === 'categorical') return { kind, dim, table, codes }
      const fraction = Float64Array.from(codes, () => Math.fround(random.next()))
      return { kind, dim, table, codes, fraction }
    }
    const wordOffsets = new Int32Array(events + 1)
    // Every third text is empty, and some have more words than the kernel sums at once.
    for (let t = 0; t < events; t++) {
      const words = t % 3 === 1 ? 0 : t % 5 === 0 ? random.integer(60, 140) : random.integer(1, 6)
      wordOffsets[t + 1] = wordOffsets[t] + words
    }
    const codes = Int32Array.from({ length: wordOffsets[events] }, () => random.integer(-1, ids))
    return { kind, dim, table, codes, wordOffsets }
  })
  const width = merge === 'add' ? specs[0][2] : specs.reduce((sum, [, , dim]) => sum + dim, 0)
  return { events, width, merge, fields, dout: random.normals(events * width) }
}

const floats = (device: Device, values: Float64Array, shape: number[]) =>
  Tensor.from(device, Float32Array.from(values), shape)

/** The field on a device; `table` and `values` come from its parameter. */
function fieldOn(device: Device, field: ReferenceField, source: Tensor<'float32'>): EmbeddingField {
  if (field.kind === 'dense') return { values: source }
  const codes = Tensor.from(device, field.codes!)
  if (field.kind === 'categorical') return { codes, table: source }
  if (field.kind === 'text') return { codes, wordOffsets: new Offsets(device, field.wordOffsets!), table: source }
  return { codes, fraction: floats(device, field.fraction!, [field.codes!.length]), table: source }
}

/** Forward and backward on a device: out, and the gradients of the tables. */
async function run(device: Device, p: Problem) {
  const sources = p.fields.map(({ table, dim }, i) => {
    return new Parameter(`field ${i}`, floats(device, table, [table.length / dim, dim]))
  })
  const tape = new Tape()
  const out = scope(() => {
    const out = tape.record(() => {
      const fields = p.fields.map((field, i) => fieldOn(device, field, sources[i].value))
      return fieldEmbedding(fields, { width: p.width, merge: p.merge })
    })
    tape.backward([{ loss: out, dout: floats(device, p.dout, [p.events, p.width]) }])
    return keep(out)
  })
  const [values, ...gradients] = await Promise.all([out, ...sources.map(s => s.gradient)].map(t => t.read()))
  const tables = await Promise.all(sources.map(s => s.value.read()))
  for (const item of [out, ...sources]) item.dispose()
  await device.sync()
  return { out: values, gradients, tables }
}

// A sum of n float32 terms errs by up to n·2⁻²⁴ of the sum of their sizes, which the reference gives for absolute
// values; two more roundings make a term.
function bound(terms: number, sizes: Float64Array) {
  return { absolute: (terms + 2) * 2 ** -24 * sizes.reduce((max, size) => Math.max(max, size), 1) }
}

const forward = (p: Problem) => fieldEmbeddingForward(p.fields, p.events, p.width, p.merge === 'concat')
const backward = (p: Problem) => fieldEmbeddingBackward(p.fields, p.dout, p.events, p.width, p.merge === 'concat')

function sizes(p: Problem): Problem {
  const fields = p.fields.map(field => ({ ...field, table: field.table.map(Math.abs) }))
  return { ...p, fields, dout: p.dout.map(Math.abs) }
}

/** The problem of one event alone. */
function alone(p: Problem, t: number): Problem {
  const fields = p.fields.map((field): ReferenceField => {
    const { kind, dim, table, codes, fraction, wordOffsets } = field
    if (kind === 'dense') return { kind, dim, table: table.subarray(t * dim, (t + 1) * dim) }
    if (kind !== 'text') return { ...field, codes: codes!.slice(t, t + 1), fraction: fraction?.slice(t, t + 1) }
    const [begin, end] = wordOffsets!.subarray(t, t + 2)
    return { ...field, codes: codes!.slice(begin, end), wordOffsets: Int32Array.of(0, end - begin) }
  })
  return { ...p, events: 1, fields, dout: p.dout.subarray(t * p.width, (t + 1) * p.width) }
}

const all: [Kind, number, number][] = [
  ['categorical', 20, 48],
  ['numeric', 16, 48],
  ['text', 30, 48],
  ['dense', 0, 48],
  ['categorical', 3, 48],
  ['numeric', 1, 48],
]

const problems: [string, Problem][] = [
  ['one category, one event, one column', problem(1, 'add', [['categorical', 1, 1]])],
  ['one number, columns around a vector', problem(9, 'add', [['numeric', 5, 17]])],
  ['text with a prime width', problem(31, 'add', [['text', 11, 37]])],
  ['all kinds added', problem(300, 'add', all)],
  ['all kinds side by side', problem(300, 'concat', all)],
  [
    'uneven widths side by side',
    problem(
      70,
      'concat',
      all.map(([kind, size], i): [Kind, number, number] => [kind, size, [1, 15, 64, 33, 16, 7][i]]),
    ),
  ],
  ['more terms than are summed at once', problem(5, 'add', Array(70).fill(['numeric', 3, 20]))],
  [
    'many events over few rows',
    problem(2000, 'add', [
      ['categorical', 2, 64],
      ['numeric', 2, 64],
    ]),
  ],
]

describe('field_embedding', () => {
  describe.each(everyVariant())('%s', (_, device) => {
    it.each(problems)('matches the reference: %s', async (_, p) => {
      const got = await run(device, p)
      // An event sums up to 140 words and 70 numbers of 6 terms.
      expectClose(got.out, forward(p), bound(420, forward(sizes(p))), 'out')
      const want = backward(p)
      const scale = backward(sizes(p))
      for (const [i, gradient] of got.gradients.entries()) {
        expectClose(gradient, want[i], bound(p.events, scale[i]), `gradient ${i}`)
        expectSameBits(got.tables[i], Float32Array.from(p.fields[i].table), `table ${i} after the call`)
      }
    })

    it('gives the same bits for 1, 2 and 3 threads', async () => {
      const p = problem(700, 'add', all)
      const [one, two, three] = await Promise.all(
        [1, 2, 3].map(threads => run(openDevice({ variant: device.variant, threads }), p)),
      )
      for (const other of [two, three]) {
        expectSameBits(other.out, one.out, 'out')
        for (const [i, gradient] of other.gradients.entries())
          expectSameBits(gradient, one.gradients[i], `gradient ${i}`)
      }
    })

    it.each(['add', 'concat'] as const)('gives an event the same bits alone and among others: %s', async merge => {
      const p = problem(40, merge, all)
      const { out } = await run(device, p)
      for (const t of [0, 1, 17, 39]) {
        const single = await run(device, alone(p, t))
        expectSameBits(single.out, out.subarray(t * p.width, (t + 1) * p.width), `event ${t}`)
      }
    })

    it('adds to the gradients of tables, and assigns or adds those of vectors', async () => {
      const table = new Parameter('table', Tensor.zeros(device, 'float32', [2, 3]))
      table.gradient.fill(5)
      const base = new Parameter('base', Tensor.zeros(device, 'float32', [2, 3]))
      const constant = Tensor.zeros(device, 'float32', [2, 3])
      const codes = Tensor.from(device, Int32Array.of(1, 1))
      const tape = new Tape()
      scope(() => {
        const out = tape.record(() => {
          const values = gatherRows(base.value, Tensor.from(device, Int32Array.of(1, 0)))
          // The first use assigns the gradient of `values`, the second one adds to it.
          const once = fieldEmbedding([{ values }, { codes, table: constant }], { width: 3, merge: 'add' })
          return fieldEmbedding([{ values: once }, { values }, { codes, table: table.value }], {
            width: 9,
            merge: 'concat',
          })
        })
        const dout = Float32Array.from({ length: 18 }, (_, i) => i)
        tape.backward([{ loss: out, dout: Tensor.from(device, dout, [2, 9]) }])
      })
      // Row t of dout is 9t + (0 … 8): its thirds go to once, values and the table.
      expect([...(await table.gradient.read())]).toEqual([5, 5, 5, 5 + 6 + 15, 5 + 7 + 16, 5 + 8 + 17])
      expect([...(await base.gradient.read())]).toEqual([9 + 12, 10 + 13, 11 + 14, 0 + 3, 1 + 4, 2 + 5])
    })

    it('takes no events', async () => {
      const table = Tensor.zeros(device, 'float32', [4, 3])
      const fields = [
        { codes: Tensor.zeros(device, 'int32', [0]), fraction: Tensor.zeros(device, 'float32', [0]), table },
      ]
      expect((await fieldEmbedding(fields, { width: 3, merge: 'add' }).read()).length).toBe(0)
    })
  })

  it('keeps the order and the size of numbers', async () => {
    const device = openDevice()
    // bias 10, bins of height 1, 2, 4: the encoding is 10 + the area below the value.
    const table = Tensor.from(device, Float32Array.of(-1, -2, 1, 2, 4, 10), [6, 1])
    const codes = Tensor.from(device, Int32Array.of(0, 1, 2, 2, 3, 4, 4, 5))
    const fraction = Tensor.from(device, Float32Array.of(0.5, 0.5, 0, 1, 0, 0, 1, 0.5))
    const out = fieldEmbedding([{ codes, fraction, table }], { width: 1, merge: 'add' })
    expect([...(await out.read())]).toEqual([-1, -2, 10, 11, 11, 13, 17, -1])
  })

  it('has a reference whose gradients agree with finite differences', () => {
    for (const merge of ['add', 'concat'] as const) {
      const p = problem(
        12,
        merge,
        all.map(([kind, size]): [Kind, number, number] => [kind, Math.min(size, 6), 3]),
      )
      const f = (tables: Float64Array[]) =>
        forward({ ...p, fields: p.fields.map((field, i) => ({ ...field, table: tables[i] })) })
      const tables = p.fields.map(field => field.table)
      const gradients = backward(p)
      checkGradients(f, tables, gradients, p.dout)
      const wrong = gradients.map((gradient, i) => (i === 1 ? gradient.map(v => v * 1.001) : gradient))
      expect(() => checkGradients(f, tables, wrong, p.dout)).toThrow()
    }
  })

  describe('refuses', () => {
    const device = openDevice()
    const codes = Tensor.zeros(device, 'int32', [4])
    const fraction = Tensor.zeros(device, 'float32', [4])
    const table = Tensor.zeros(device, 'float32', [5, 3])
    const options = { width: 3, merge: 'add' } as const
    const offsets = new Offsets(device, Int32Array.of(0, 1, 4))

    it.each<[string, () => unknown, RegExp]>([
      ['no fields', () => fieldEmbedding([], options), /expected at least one field/],
      [
        'a shared table',
        () =>
          fieldEmbedding(
            [
              { codes, table },
              { codes, fraction, table },
            ],
            options,
          ),
        /table of its own/,
      ],
      ['another width', () => fieldEmbedding([{ codes, table }], { ...options, width: 4 }), /expected a field 4 wide/],
      ['a sum of widths', () => fieldEmbedding([{ codes, table }], { width: 6, merge: 'concat' }), /6 wide together/],
      ['a wrong merge', () => fieldEmbedding([{ codes, table }], { width: 3, merge: 'sum' as never }), /merge 'add'/],
      [
        'fractions of other events',
        () => fieldEmbedding([{ codes, fraction: table.view(0, [3]), table }], options),
        /fraction/,
      ],
      [
        'words beyond the codes',
        () => fieldEmbedding([{ codes: codes.view(0, [3]), wordOffsets: offsets, table }], options),
        /3 events/,
      ],
      [
        'texts of other events',
        () =>
          fieldEmbedding(
            [
              { codes, table },
              { codes, wordOffsets: offsets, table: table.view(0, [4, 3]) },
            ],
            options,
          ),
        /word_offsets of 4/,
      ],
      [
        'a table without bins',
        () => fieldEmbedding([{ codes, fraction, table: table.view(0, [3, 3]) }], options),
        /at least 4 rows/,
      ],
      [
        'a table without rows',
        () => fieldEmbedding([{ codes, table: table.view(0, [0, 3]) }], options),
        /at least 1 rows/,
      ],
    ])('%s', (_, call, message) => {
      expect(call).toThrow(RangeError)
      expect(call).toThrow(message)
    })

    it('misspelled and mistyped parts', () => {
      expect(() => fieldEmbedding([{ codes, fractions: fraction, table } as never], options)).toThrow(/'fraction'/)
      expect(() => fieldEmbedding([{ codes: fraction as never, table }], options)).toThrow(TypeError)
      expect(() => fieldEmbedding([{ codes, table: codes as never }], { width: 0, merge: 'add' })).toThrow(TypeError)
    })
  })
})
