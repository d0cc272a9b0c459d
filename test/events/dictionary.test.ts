import { afterAll, describe, expect, it } from 'vitest'
import { Dictionary } from '../../lib/events/dictionary.js'
import { Database } from '../../lib/events/duckdb.js'

const database = await Database.open('test')
const connection = await database.connect()
await connection.run("CREATE TABLE words AS SELECT 'w' || range AS value FROM range(1000)")
afterAll(() => {
  database.release(connection)
  database.close()
})

describe('a dictionary', () => {
  it('is the same for all chunks while they have frequent values alone', async () => {
    const dictionary = new Dictionary(connection, 'words', { values: 100, characters: 1e6 })
    const first = await dictionary.resolve(Int32Array.of(5, -1, 99, 5))
    const second = await dictionary.resolve(Int32Array.of(0))
    expect(first.dictionary).toBe(second.dictionary)
    expect(first.dictionary).toHaveLength(100)
    expect([...first.codes]).toEqual([5, -1, 99, 5])
  })

  it('has what a chunk uses where some of it is rare', async () => {
    const dictionary = new Dictionary(connection, 'words', { values: 100, characters: 1e6 })
    const { dictionary: own, codes } = await dictionary.resolve(Int32Array.of(999, 3, -1, 100, 3, 999))
    expect(own).toEqual(['w3', 'w100', 'w999'])
    expect([...codes]).toEqual([2, 0, -1, 1, 0, 2])
  })

  it('stops keeping where values are long', async () => {
    await connection.run("CREATE TABLE texts AS SELECT repeat('x', 100) || range AS value FROM range(10000)")
    const dictionary = new Dictionary(connection, 'texts', { values: 10_000, characters: 1000 })
    const { dictionary: first } = await dictionary.resolve(Int32Array.of(0))
    // One chunk of the database holds more already.
    expect(first.length).toBeLessThan(3000)
    const { dictionary: own, codes } = await dictionary.resolve(Int32Array.of(9999, 0))
    expect(own[codes[0]]).toBe(`${'x'.repeat(100)}9999`)
    expect(own[codes[1]]).toBe(`${'x'.repeat(100)}0`)
  })

  it('gives every event its value, however few are kept', async () => {
    const codes = Int32Array.from({ length: 3000 }, (_, i) => ((i * 7919) % 1001) - 1)
    for (const most of [1, 500, 1000, 5000]) {
      const found = await new Dictionary(connection, 'words', { values: most, characters: 1e6 }).resolve(codes)
      const wrong = codes.findIndex((code, i) => {
        const own = found.codes[i]
        return code < 0 ? own !== -1 : found.dictionary[own] !== `w${code}`
      })
      expect(wrong).toBe(-1)
    }
  })
})
