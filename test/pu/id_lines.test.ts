import { expect, it } from 'vitest'
import { IdLines } from '../../lib/pu/id_lines.js'
import { watchTurns } from '../support/turns.js'

const ids = ['a', 'ba', '', 'line\nbreak', 'quote"d', 'Zoë', '"', 'a\\n', '1']
const linesOf = async (given: readonly string[]) => new IdLines(Buffer.concat(await IdLines.parts(given)))
const lines = await linesOf(ids)

it('gives back every id, all and one by one, in the order that is asked for', async () => {
  expect(await lines.all()).toEqual(ids)
  expect(await lines.count()).toBe(ids.length)
  expect(await lines.of([3, 0, 8, 3, 5])).toEqual(['line\nbreak', 'a', '1', 'line\nbreak', 'Zoë'])
  expect(await lines.of([])).toEqual([])
})

it('finds whole ids alone', () => {
  for (const id of ids) expect(lines.has(id)).toBe(true)
  // Ends of others, parts of others, escapes of others.
  for (const id of ['b', 'break', 'Zo', 'line', 'd', '11', '\\']) expect(lines.has(id)).toBe(false)
})

it('finds ids of any length in tables of many slices', async () => {
  const many = Array.from({ length: 5000 }, (_, row) => `${'ö'.repeat(row % 40)}${row}`)
  many[1234] = 'x'.repeat(100_000)
  const own = await linesOf(many)
  expect(await own.all()).toEqual(many)
  expect(await own.count()).toBe(5000)
  const rows = [4999, 1234, 1235, 0, 1233, 2500]
  expect(await own.of(rows)).toEqual(rows.map(row => many[row]))
  expect(await (await linesOf([])).all()).toEqual([])
})

it('lets the event loop run with many ids', { retry: 2 }, async () => {
  const many = Array.from({ length: 300_000 }, (_, row) => `customer-number-${row}`)
  let parts: Buffer[] = []
  const writing = await watchTurns(async () => {
    parts = await IdLines.parts(many)
  })
  const own = new IdLines(Buffer.concat(parts))
  const reading = await watchTurns(async () => {
    expect(await own.count()).toBe(300_000)
    expect(await own.of([299_999, 5])).toEqual([many[299_999], many[5]])
    expect((await own.all())[177_777]).toBe(many[177_777])
  })
  for (const { longest } of [writing, reading]) expect(longest).toBeLessThan(25)
})
