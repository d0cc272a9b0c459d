import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { type DemoData, demoSchema, demoTypes, generateDemo } from '../../lib/demo/generator.js'
import { writeDemo } from '../../lib/demo/write.js'
import { auc } from '../../lib/report/metrics.js'
import { temporaryFolder } from '../support/folder.js'

const data = generateDemo()
const { events, labels } = data

/** Rows [start, end) of each user, in the order of the labels. */
function spans({ events, labels }: DemoData): [start: number, end: number][] {
  const found = new Map<string, [number, number]>()
  for (let i = 0; i < events.user_id.length; i++) {
    const span = found.get(events.user_id[i])
    if (!span) found.set(events.user_id[i], [i, i + 1])
    else if (span[1] === i) span[1]++
    else throw new Error(`rows of ${events.user_id[i]} do not stand together`)
  }
  return labels.user_id.map(id => found.get(id)!)
}

const rows = spans(data)

/** AUC of one feature for a label, over the users that have it. */
function featureAuc(feature: Float64Array, label: Float64Array): number {
  const known = [...label.keys()].filter(user => !Number.isNaN(label[user]))
  return auc(
    known.map(user => feature[user]),
    known.map(user => label[user]),
  )
}

/** Aggregates of each user: per event type count, sum and mean of amounts, hours and gaps, first and last time. */
function aggregates(): Map<string, Float64Array> {
  const features = new Map<string, Float64Array>()
  const add = (name: string, user: number, value: number) => {
    if (!features.has(name)) features.set(name, new Float64Array(rows.length))
    features.get(name)![user] += value
  }
  rows.forEach(([start, end], user) => {
    const kinds = new Map<string, number[]>()
    for (let i = start; i < end; i++) kinds.set(events.event[i], [...(kinds.get(events.event[i]) ?? []), i])
    for (const [kind, list] of kinds) {
      const mean = (value: (i: number) => number) => list.reduce((sum, i) => sum + value(i), 0) / list.length
      add(`${kind} count`, user, list.length)
      add(`${kind} share`, user, list.length / (end - start))
      add(
        `${kind} amount`,
        user,
        mean(i => events.amount[i] || 0),
      )
      add(
        `${kind} hour`,
        user,
        mean(i => (events.time[i] / 3_600_000) % 24),
      )
      add(
        `${kind} gap before`,
        user,
        mean(i => (i > start ? events.time[i] - events.time[i - 1] : 0)),
      )
      add(
        `${kind} gap after`,
        user,
        mean(i => (i + 1 < end ? events.time[i + 1] - events.time[i] : 0)),
      )
      add(`${kind} first`, user, events.time[list[0]] - events.time[start])
      add(`${kind} last`, user, events.time[end - 1] - events.time[list[list.length - 1]])
      add(
        `${kind} app share`,
        user,
        mean(i => (events.channel[i] === 'app' ? 1 : 0)),
      )
    }
  })
  for (const stat of ['amount', 'hour', 'gap before', 'gap after', 'first', 'last']) {
    const difference = features.get(`topup ${stat}`)!.map((v, user) => v - features.get(`transfer ${stat}`)![user])
    features.set(`topup − transfer ${stat}`, difference)
  }
  return features
}

test('same options, same data; another seed, other data', () => {
  const small = generateDemo({ users: 40, seed: 3 })
  expect(generateDemo({ users: 40, seed: 3 })).toEqual(small)
  expect(generateDemo({ users: 40, seed: 4 }).events.event).not.toEqual(small.events.event)
  // A user's history does not depend on how many others there are.
  const more = generateDemo({ users: 80, seed: 3 })
  expect(more.events.event.slice(0, small.events.event.length)).toEqual(small.events.event)
})

test('histories are sorted, within a year, of uneven length', () => {
  const lengths = rows.map(([start, end]) => end - start).sort((a, b) => a - b)
  expect(lengths[0]).toBe(1)
  expect(lengths[lengths.length >> 1]).toBeGreaterThan(20)
  expect(lengths.at(-1)).toBeGreaterThan(250)
  expect(events.user_id.length).toBeGreaterThan(80_000)
  let backwards = 0
  for (const [start, end] of rows) {
    for (let i = start + 1; i < end; i++) if (!(events.time[i] >= events.time[i - 1])) backwards++
  }
  expect(backwards).toBe(0)
  expect(Math.min(...events.time)).toBeGreaterThanOrEqual(Date.UTC(2024, 0, 1))
  expect(events.time.reduce((a, b) => Math.max(a, b))).toBeLessThan(Date.UTC(2025, 6, 1))
  expect(events.amount.every(amount => Number.isNaN(amount) || amount > 0)).toBe(true)
})

test('label rates are as stated', () => {
  const users = labels.user_id.length
  const rate = labels.risk.reduce((a, b) => a + b) / users
  expect(rate).toBeGreaterThan(0.06)
  expect(rate).toBeLessThan(0.12)
  for (let type = 0; type < demoTypes.length; type++) {
    expect(labels.type.filter(value => value === type).length / users).toBeGreaterThan(0.05)
  }
  const known = labels.order.filter(value => !Number.isNaN(value))
  expect(known.length / users).toBeGreaterThan(0.6)
  expect(known.length / users).toBeLessThan(0.8)
  expect(Math.abs(known.reduce((a, b) => a + b) / known.length - 0.5)).toBeLessThan(0.06)
  for (let fold = 0; fold < 5; fold++) expect(labels.fold.filter(value => value === fold).length).toBe(users / 5)
})

test('no aggregate tells the order, the order of neighbours does', () => {
  const features = aggregates()
  expect(features.size).toBeGreaterThan(120)
  const known = labels.order.filter(value => !Number.isNaN(value)).length
  // Standard error of an AUC of 0.5 with halves of n/2 is 1/√(3n); some 150 features are looked at, hence 4 of them.
  const bound = 4 / Math.sqrt(3 * known)
  for (const [name, feature] of features) {
    expect(Math.abs(featureAuc(feature, labels.order) - 0.5), name).toBeLessThan(bound)
  }
  const neighbours = Float64Array.from(rows, ([start, end]) => {
    let balance = 0
    for (let i = start + 1; i < end; i++) {
      if (events.event[i - 1] === 'topup' && events.event[i] === 'transfer') balance++
      if (events.event[i - 1] === 'transfer' && events.event[i] === 'topup') balance--
    }
    return balance
  })
  expect(featureAuc(neighbours, labels.order)).toBeGreaterThan(0.99)
})

test('counts tell part of the risk, order and rhythm tell more', () => {
  const features = aggregates()
  const best = Math.max(...[...features.values()].map(feature => featureAuc(feature, labels.risk)))
  expect(best).toBeGreaterThan(0.6)
  const takeovers = Float64Array.from(rows, ([start, end]) => {
    let seen = 0
    for (let i = start + 3; i < end; i++) {
      const quick = events.time[i] - events.time[i - 3] < 1_800_000
      if (quick && events.event[i] === 'send_abroad' && events.event[i - 3] === 'password_change') seen++
    }
    return seen
  })
  expect(featureAuc(takeovers, labels.risk)).toBeGreaterThan(best)
})

test('one user is enough, and senseless options are errors', () => {
  expect(generateDemo({ users: 1 }).labels.user_id).toEqual(['u0'])
  expect(() => generateDemo({ users: 0 })).toThrow('[generateDemo] expected users')
  expect(() => generateDemo({ users: 10, seed: -1 })).toThrow('[philox] expected seed')
  expect(() => generateDemo({ user: 3 } as object)).toThrow("did you mean 'users'?")
})

test('the files hold what the memory holds', async () => {
  const dir = temporaryFolder()
  const files = await writeDemo(join(dir, 'deep', 'demo'), { users: 30, seed: 1 })
  expect((await readdir(join(dir, 'deep', 'demo'))).sort()).toEqual(['events.csv', 'labels.csv', 'schema.json'])
  const lines = (await readFile(files.events, 'utf8')).trimEnd().split('\n')
  expect(lines[0]).toBe('user_id,time,event,channel,category,amount,note')
  expect(lines.length - 1).toBe(files.data.events.user_id.length)
  const cells = lines[1].split(',')
  expect(cells[0]).toBe(files.data.events.user_id[0])
  expect(Date.parse(cells[1])).toBe(files.data.events.time[0])
  expect(cells[2]).toBe(files.data.events.event[0])
  const labelLines = (await readFile(files.labels, 'utf8')).trimEnd().split('\n')
  expect(labelLines[0]).toBe('user_id,risk,type,order,fold')
  expect(labelLines.length).toBe(31)
  expect(JSON.parse(await readFile(files.schema, 'utf8'))).toEqual(demoSchema)
})
