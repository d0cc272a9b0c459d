// Hand-made features against a plain recount of the rows.

import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { defineSchema, type EventRow, fromRows } from '../../lib/events/index.js'
import { aggregate } from '../../lib/transfer/aggregate.js'
import { planAggregates } from '../../lib/transfer/aggregate_plan.js'
import { loadAggregatePlan, saveAggregatePlan } from '../../lib/transfer/plan_file.js'
import { Philox } from '../../lib/util/philox.js'
import { temporaryFolder } from '../support/folder.js'
import { watchTurns } from '../support/turns.js'

const schema = defineSchema({
  entity: 'u',
  time: 't',
  fields: { type: { kind: 'categorical' }, amount: { kind: 'numeric' }, note: { kind: 'text' } },
})
type Row = EventRow<typeof schema.fields, 'u', 't'>
const HOUR = 3_600_000

/** Sorted rows of some entities, with missing values and ties. */
function randomRows(entities: number, seed: number): Row[] {
  const random = new Philox(seed)
  return Array.from({ length: entities }, (_, u) => {
    let time = Date.UTC(2020, 0, 1) + random.below(1000) * HOUR
    return Array.from({ length: 1 + random.below(12) }, (): Row => {
      time += random.below(40) * HOUR
      return {
        u: `u${u}`,
        t: new Date(time),
        type: [null, 'a', 'b', 'c'][random.below(4)],
        amount: random.below(5) === 0 ? null : random.below(100) / 4,
        note: [null, '', 'red blue', 'Red red!'][random.below(4)],
      }
    })
  }).flat()
}

const sum = (values: number[]) => values.reduce((a, b) => a + b, 0)
const mean = (values: number[]) => (values.length === 0 ? Number.NaN : sum(values) / values.length)
const deviation = (values: number[]) =>
  values.length < 2
    ? Number.NaN
    : Math.sqrt(sum(values.map(value => (value - mean(values)) ** 2)) / (values.length - 1))
const least = (values: number[]) => (values.length === 0 ? Number.NaN : Math.min(...values))
const most = (values: number[]) => (values.length === 0 ? Number.NaN : Math.max(...values))
const share = <T>(values: readonly T[], holds: (value: T) => boolean) => values.filter(holds).length / values.length

/** Every feature of one entity, by definition. */
function recount(rows: readonly Row[], newest: number): Record<string, number> {
  const days = rows.map(row => (row.t as Date).getTime() / (24 * HOUR))
  const gaps = days.slice(1).map((day, i) => day - days[i])
  const dates = rows.map(row => row.t as Date)
  const out: Record<string, number> = {
    'time.count': rows.length,
    'time.first': days[0],
    'time.last': days.at(-1)!,
    'time.span': days.at(-1)! - days[0],
    'time.recency': newest - days.at(-1)!,
    'gap.mean': mean(gaps),
    'gap.deviation': deviation(gaps),
    'gap.min': least(gaps),
    'gap.max': most(gaps),
    'gap.last': gaps.at(-1) ?? Number.NaN,
  }
  for (const [i, label] of ['0-5', '6-11', '12-17', '18-23'].entries()) {
    out[`hour.${label}.share`] = share(dates, date => Math.floor(date.getUTCHours() / 6) === i)
  }
  for (const [i, label] of ['mon', 'tue', 'wed', 'thu', 'fri', 'sat', 'sun'].entries()) {
    out[`weekday.${label}.share`] = share(dates, date => (date.getUTCDay() + 6) % 7 === i)
  }
  for (const [i, label] of ['1-10', '11-20', '21-31'].entries()) {
    out[`day.${label}.share`] = share(dates, date => Math.min(Math.floor((date.getUTCDate() - 1) / 10), 2) === i)
  }
  const types = rows.map(row => row.type ?? '')
  out['type.distinct'] = new Set(types).size
  for (const value of ['', 'a', 'b', 'c']) {
    out[`type.count[${value}]`] = types.filter(type => type === value).length
    out[`type.share[${value}]`] = share(types, type => type === value)
    out[`type.first[${value}]`] = Number(types[0] === value)
    out[`type.last[${value}]`] = Number(types.at(-1) === value)
  }
  const numbers = (list: readonly Row[]) => list.map(row => row.amount).filter(value => typeof value === 'number')
  const describeNumbers = (list: number[], suffix: string) => {
    out[`amount.sum${suffix}`] = sum(list)
    out[`amount.mean${suffix}`] = mean(list)
    out[`amount.min${suffix}`] = least(list)
    out[`amount.max${suffix}`] = most(list)
    out[`amount.last${suffix}`] = list.at(-1) ?? Number.NaN
  }
  const all = numbers(rows)
  describeNumbers(all, '')
  out['amount.count'] = all.length
  out['amount.deviation'] = deviation(all)
  out['amount.first'] = all[0] ?? Number.NaN
  for (const value of ['', 'a', 'b', 'c']) {
    describeNumbers(numbers(rows.filter(row => (row.type ?? '') === value)), `[type=${value}]`)
  }
  const words = rows.flatMap(row => row.note?.toLowerCase().match(/\w+/g) ?? [])
  out['note.words'] = words.length
  for (const word of ['red', 'blue']) out[`note.count[${word}]`] = words.filter(one => one === word).length
  return out
}

describe('aggregate', () => {
  it('is every feature by its definition', async () => {
    const rows = randomRows(200, 3)
    const newest = Math.max(...rows.map(row => (row.t as Date).getTime())) / (24 * HOUR)
    const table = await aggregate(fromRows(schema, rows))
    const names = Object.keys(table.columns).sort()
    let compared = 0
    for (const [i, id] of table.ids.entries()) {
      const want = recount(
        rows.filter(row => row.u === id),
        newest,
      )
      expect(names).toEqual(Object.keys(want).sort())
      for (const name of names) {
        const got = table.columns[name][i]
        compared++
        if (Number.isNaN(want[name])) expect(got, `${name} of ${id}`).toBeNaN()
        else if (!(Math.abs(got - want[name]) <= 1e-9 * (1 + Math.abs(want[name])))) {
          expect.fail(`${name} of ${id} is ${got}, not ${want[name]}`)
        }
      }
    }
    expect(compared).toBe(200 * names.length)
  })

  it('of a one-event entity has no gaps, and of a missing number no mean', async () => {
    const source = fromRows(schema, [{ u: 'u', t: 5, type: null, amount: null, note: null }])
    const { columns } = await aggregate(source)
    const first = Object.fromEntries(Object.entries(columns).map(([name, column]) => [name, column[0]]))
    expect(first).toMatchObject({
      'time.count': 1,
      'time.first': 5,
      'time.span': 0,
      'time.recency': 0,
      'gap.mean': Number.NaN,
      'gap.last': Number.NaN,
      'amount.count': 0,
      'amount.sum': 0,
      'amount.mean': Number.NaN,
      'amount.first': Number.NaN,
      'note.words': 0,
    })
    expect(Object.keys(first).some(name => name.startsWith('hour'))).toBe(false)
  })

  it('keeps the most frequent values, words and pairs, and counts infinities out', async () => {
    const rows: Row[] = []
    for (let i = 0; i < 60; i++) {
      const type = `t${Math.floor(Math.sqrt(i))}`
      rows.push({
        u: `u${i % 3}`,
        t: i,
        type,
        amount: i === 0 ? Number.POSITIVE_INFINITY : 1,
        note: `w${i % 20} often`,
      })
    }
    const plan = await planAggregates(fromRows(schema, rows), { topValues: 2, topWords: 3, maxPairs: 1 })
    expect(plan.categorical).toEqual([{ field: 'type', values: ['t6', 't5'] }])
    expect(plan.numeric).toEqual([{ field: 'amount', pairs: [{ by: 'type', values: ['t6'] }] }])
    expect(plan.text).toEqual([{ field: 'note', words: ['often'] }])
    const { columns } = await aggregate(fromRows(schema, rows), { plan: JSON.parse(JSON.stringify(plan)) })
    expect(sum([...columns['amount.sum']])).toBe(59)
    expect(sum([...columns['amount.sum[type=t6]']])).toBe(13)
  })

  it('counts 300 000 words without holding the event loop', { retry: 2 }, async () => {
    const notes = defineSchema({ entity: 'u', time: 't', fields: { note: { kind: 'text' } } })
    const rows = Array.from({ length: 30_000 }, (_, i) => ({
      u: `u${i % 100}`,
      t: i,
      note: Array.from({ length: 10 }, (_, k) => `word${10 * i + k} w${(i + k) % 70}`).join(' '),
    }))
    const source = fromRows(notes, rows)
    // Sorted before, since it is the words that are watched.
    await source.summary()
    let plan: Awaited<ReturnType<typeof planAggregates>> | null = null
    const { longest } = await watchTurns(async () => {
      plan = await planAggregates(source)
    })
    expect(longest).toBeLessThan(20)
    const times = new Map<string, number>()
    for (const { note } of rows) for (const word of note.split(' ')) times.set(word, (times.get(word) ?? 0) + 1)
    const want = [...times].sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1)).slice(0, 50)
    expect(plan!.text).toEqual([{ field: 'note', words: want.map(([word]) => word) }])
  })

  it('applies a plan to other events: columns stay, unknown values count nowhere', async () => {
    const source = fromRows(schema, randomRows(50, 5))
    const plan = await planAggregates(source)
    const fitted = await aggregate(source, { plan })
    const other = await aggregate(
      fromRows(schema, [{ u: 'x', t: '2020-01-01', type: 'new', amount: 2, note: 'new' }]),
      { plan },
    )
    expect(Object.keys(other.columns)).toEqual(Object.keys(fitted.columns))
    expect(other.columns['type.distinct'][0]).toBe(1)
    for (const value of ['', 'a', 'b', 'c']) expect(other.columns[`type.count[${value}]`][0]).toBe(0)
    const numbers = fromRows(schema, [{ u: 'x', t: 1, type: 'a', amount: 2, note: '' }])
    await expect(aggregate(numbers, { plan })).rejects.toThrow(
      /times that are dates, .* received 'plain numbers'; give Dates/,
    )
  })

  it.each([
    ['gap', 'gap.mean'],
    ['time', 'time.count'],
  ])('refuses a number %s, whose features would take the names of others', async (field, name) => {
    const strange = defineSchema({ entity: 'u', time: 't', fields: { [field]: { kind: 'numeric' } } })
    const source = fromRows(strange, [{ u: 'a', t: 1, [field]: 2 } as never])
    await expect(aggregate(source)).rejects.toThrow(
      new RangeError(
        `[aggregate] expected fields whose features have names of their own but received '${name}'; rename the field`,
      ),
    )
  })

  it('refuses pairs whose names are one', async () => {
    const strange = defineSchema({
      entity: 'u',
      time: 't',
      fields: { n: { kind: 'numeric' }, a: { kind: 'categorical' }, 'a=b': { kind: 'categorical' } },
    })
    const rows = Array.from({ length: 9 }, (_, t) => ({ u: 'u', t, n: t, a: 'b=c', 'a=b': 'c' }))
    await expect(aggregate(fromRows(strange, rows))).rejects.toThrow(/received 'n\.sum\[a=b=c\]'/)
  })

  it('counts recency back from the present that it is told', async () => {
    const source = fromRows(schema, randomRows(20, 5))
    const plan = await planAggregates(source)
    const now = await aggregate(source, { plan })
    const later = await aggregate(source, { plan, asOf: new Date(plan.newest + 48 * HOUR) })
    expect([...later.columns['time.recency']]).toEqual([...now.columns['time.recency']].map(days => days + 2))
    const { 'time.recency': _, ...rest } = later.columns
    expect(now.columns).toMatchObject(rest)
    await expect(aggregate(source, { asOf: Number.NaN })).rejects.toThrow(/asOf to be a time but received NaN/)
    await expect(aggregate(source, { plan, asOf: 1_719_792_000 })).rejects.toThrow(/; did you give seconds\?/)
    const plain = { entity: 'u', time: 't', fields: { type: { kind: 'categorical' } } } as const
    const numbers = fromRows(
      plain,
      [5, 6, 7].map(t => ({ u: 'x', t, type: 'a' })),
    )
    expect([...(await aggregate(numbers, { asOf: 9 })).columns['time.recency']]).toEqual([2])
    const date = new Date('2024-07-01')
    await expect(aggregate(numbers, { asOf: date })).rejects.toThrow(/asOf as a number, as the times of the events/)
  })

  it('keeps a plan in a file, and refuses what is none and what belongs to other fields', async () => {
    const folder = temporaryFolder()
    const path = join(folder, 'not', 'there', 'plan.json')
    const source = fromRows(schema, randomRows(50, 5))
    const plan = await planAggregates(source)
    await saveAggregatePlan(path, plan)
    expect(await loadAggregatePlan(path)).toEqual(plan)
    for (const text of ['{"version":1', 'null', '{"version":2}', '{"version":1,"time":"number","newest":3}']) {
      await writeFile(path, text)
      await expect(loadAggregatePlan(path)).rejects.toMatchObject({ code: 'PLAN_INVALID' })
    }
    for (const path of [join(folder, 'none.json'), folder]) {
      await expect(loadAggregatePlan(path)).rejects.toMatchObject({
        code: 'FILE_NOT_FOUND',
        message: `[aggregate] expected a readable plan but received '${path}'; check the path`,
      })
    }
    const nothing = { ...plan, newest: Number.NEGATIVE_INFINITY }
    await expect(saveAggregatePlan(path, nothing)).rejects.toMatchObject({ code: 'NO_EVENTS' })
    const { note: _, ...fields } = schema.fields
    const other = fromRows({ ...schema, fields }, [{ u: 'x', t: '2020-01-01', type: 'a', amount: 1 }])
    await expect(aggregate(other, { plan })).rejects.toThrow(/a text field 'note' but received undefined/)
  })

  it('reports progress, can be cancelled, and refuses wrong options', async () => {
    const source = fromRows(schema, randomRows(3000, 8))
    const seen: number[] = []
    await aggregate(source, { onProgress: ({ phase, done, total }) => phase === 'events' && seen.push(done / total) })
    expect(seen.at(-1)).toBe(1)
    await expect(aggregate(source, { signal: AbortSignal.abort(new Error('stop')) })).rejects.toThrow('stop')
    // @ts-expect-error: no such option
    await expect(aggregate(source, { topValue: 3 })).rejects.toThrow(/did you mean 'topValues'/)
    await expect(aggregate(source, { topValues: -1 })).rejects.toThrow(RangeError)
  })
})
