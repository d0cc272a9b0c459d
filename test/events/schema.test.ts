// Schemas: what is accepted, the clear refusals, and the types that keep field names.

import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, expectTypeOf, it } from 'vitest'
import {
  defineSchema,
  type EventChunk,
  type EventRow,
  type Fields,
  type FieldsOfKind,
  fromRows,
  loadSchema,
  parseSchema,
  type Schema,
  type TextColumn,
} from '../../lib/events/index.js'
import { plainEvents } from '../support/event_files.js'
import { temporaryFolder } from '../support/folder.js'

const folder = temporaryFolder()

const good = {
  entity: 'user',
  time: 'at',
  fields: { type: { kind: 'categorical' }, amount: { kind: 'numeric', buckets: 8 }, note: { kind: 'text', hash: 64 } },
}

describe('parseSchema', () => {
  it('accepts every kind with its options', () => {
    expect(parseSchema(good)).toEqual(good)
    const full = {
      entity: 'u',
      time: { column: 't', format: '%d.%m.%Y' },
      fields: {
        a: { kind: 'categorical', minCount: 3, hash: 100 },
        b: { kind: 'text', ngrams: 3, aggregate: 'conv', hash: 512 },
      },
    }
    expect(parseSchema(full)).toEqual(full)
  })

  const broken: [string, unknown, RegExp][] = [
    ['no object', [], /expected an object/],
    ['no entity', { ...good, entity: undefined }, /'entity' to be the name of a column but received undefined/],
    ['a misspelt key', { ...good, feilds: {} }, /received 'feilds'; did you mean 'fields'\?/],
    ['no fields', { ...good, fields: {} }, /at least one field/],
    [
      'a misspelt kind',
      { ...good, fields: { a: { kind: 'categoric' } } },
      /'a'\] expected 'kind'.*received 'categoric'/,
    ],
    ['a misspelt option', { ...good, fields: { a: { kind: 'numeric', bucket: 3 } } }, /did you mean 'buckets'\?/],
    ['an option of another kind', { ...good, fields: { a: { kind: 'numeric', hash: 3 } } }, /options of kind numeric/],
    ['too many buckets', { ...good, fields: { a: { kind: 'numeric', buckets: 1e6 } } }, /whole number in \[1, 4096\]/],
    ['half a bucket', { ...good, fields: { a: { kind: 'numeric', buckets: 1.5 } } }, /received 1.5/],
    ['an unknown aggregate', { ...good, fields: { a: { kind: 'text', aggregate: 'max' } } }, /'mean' or 'conv'/],
    ['a time without format', { ...good, time: { column: 'at' } }, /'format' to be a strptime format/],
    [
      'a format of unknown parts',
      { ...good, time: { column: 'at', format: '%Y-%Q' } },
      /strptime parts.*received '%Y-%Q'/,
    ],
    [
      'a format that ends early',
      { ...good, time: { column: 'at', format: '%Y %' } },
      /strptime parts.*received '%Y %'/,
    ],
    ['the entity as a field', { ...good, fields: { user: { kind: 'text' } } }, /fields other than the entity/],
  ]
  it.each(broken)('refuses %s', (_, json, message) => {
    expect(() => parseSchema(json)).toThrow(message)
  })

  it('takes every part that DuckDB reads', () => {
    const format =
      'on%%%A %B %G %H %I %M %S %T %U %V %W %X %Y %Z %a %b %c %d %f %g %h %j %m %n %p %u %w %x %y %z %-H %-I %-M %-S %-d %-j %-m %-y\n'
    expect(parseSchema({ ...good, time: { column: 'at', format } })).toMatchObject({ time: { format } })
  })

  it('reads a file, and names it in errors', async () => {
    const file = join(folder, 'schema.json')
    writeFileSync(file, `\ufeff${JSON.stringify(good)}`)
    expect(await loadSchema(file)).toEqual(good)
    writeFileSync(file, '{"entity": ')
    await expect(loadSchema(file)).rejects.toMatchObject({
      code: 'FILE_BROKEN',
      message: expect.stringContaining(file),
    })
    const absent = join(folder, 'absent.json')
    await expect(loadSchema(absent)).rejects.toMatchObject({ code: 'FILE_NOT_FOUND' })
  })
})

describe('types', () => {
  const schema = defineSchema({
    entity: 'user',
    time: 'at',
    fields: { type: { kind: 'categorical' }, amount: { kind: 'numeric' } },
  })

  it('keeps the names of fields and the kind of their columns', () => {
    type F = (typeof schema)['fields']
    expectTypeOf<keyof F>().toEqualTypeOf<'type' | 'amount'>()
    expectTypeOf<EventChunk<F>['columns']['amount']>().toEqualTypeOf<Float64Array>()
    expectTypeOf<EventChunk<F>['columns']['type']>().toEqualTypeOf<TextColumn>()
    expectTypeOf<FieldsOfKind<F, 'numeric'>>().toEqualTypeOf<'amount'>()
    // @ts-expect-error: no such field
    type _ = EventChunk<F>['columns']['amuont']
  })

  it('refuses a wrong field name, kind or value in rows and options', () => {
    fromRows(schema, [{ user: 'a', at: 1, type: 'x', amount: null }])
    // @ts-expect-error: a misspelt field
    fromRows(schema, [{ user: 'a', at: 1, type: 'x', amuont: 2 }])
    // @ts-expect-error: a number must be a number
    fromRows(schema, [{ user: 'a', at: 1, type: 'x', amount: '2' }])
    // @ts-expect-error: no such kind
    expect(() => defineSchema({ entity: 'u', time: 't', fields: { a: { kind: 'numbers' } } })).toThrow(/kind/)
    // @ts-expect-error: buckets belong to numbers
    expect(() => defineSchema({ entity: 'u', time: 't', fields: { a: { kind: 'text', buckets: 2 } } })).toThrow(
      /buckets/,
    )
    // @ts-expect-error: a text must be a text
    fromRows({ ...schema, fields: { note: { kind: 'text' } } }, [{ user: 'a', at: 1, note: 5 }])
    // @ts-expect-error: no entity
    fromRows(schema, [{ at: 1, type: 'x' }])
    // @ts-expect-error: no time
    fromRows(schema, [{ user: 'a', type: 'x' }])
    // @ts-expect-error: a time that may be missing
    fromRows(schema, [{ user: 'a', at: null }])
    const source = fromRows(schema, [{ user: 'a', at: 1, type: 'x', amount: null }])
    // @ts-expect-error: no such field
    expect(() => source.values('amuont')).toBeTypeOf('function')
  })

  it('lets rows leave out a field', async () => {
    const source = fromRows(schema, [
      { user: 'a', at: 1, type: 'x' },
      { user: 7n, at: 2 },
    ])
    expect(await plainEvents(source)).toEqual([
      ['a', 1, 'x', null],
      ['7', 2, null, null],
    ])
  })

  it('takes whatever a loaded schema may name, in literals and in rows of an interface', async () => {
    const loaded: Schema = parseSchema(JSON.parse(JSON.stringify(schema)))
    interface Row {
      user: bigint
      at: Date
      type: boolean | null
      tags: string[]
    }
    const typed: Row[] = [{ user: 7n, at: new Date(5), type: true, tags: [] }]
    const literal = fromRows(loaded, [{ user: 'a', at: new Date(5), type: undefined, amount: null }])
    expect(await plainEvents(literal)).toEqual([['a', 5, null, null]])
    expect(await plainEvents(fromRows(loaded, typed))).toEqual([['7', 5, 'true', null]])
    // Names that are known keep their checks.
    expectTypeOf<EventRow<Fields, 'user', 'at'>>().toExtend<{ user: string | number | bigint }>()
    // @ts-expect-error: no object
    expect(() => fromRows(loaded, ['a'])).toBeTypeOf('function')
  })
})
