import { expect, it } from 'vitest'
import { IdLines } from '../../lib/pu/id_lines.js'

const ids = ['a', 'ba', '', 'line\nbreak', 'quote"d', 'Zoë', '"', 'a\\n', '1']
const lines = new IdLines(IdLines.text(ids))

it('gives back every id, all and one by one, in the order that is asked for', () => {
  expect(lines.all()).toEqual(ids)
  expect(lines.count).toBe(ids.length)
  expect(lines.of([3, 0, 8, 3, 5])).toEqual(['line\nbreak', 'a', '1', 'line\nbreak', 'Zoë'])
  expect(lines.of([])).toEqual([])
})

it('finds whole ids alone', () => {
  for (const id of ids) expect(lines.has(id)).toBe(true)
  // Ends of others, parts of others, escapes of others.
  for (const id of ['b', 'break', 'Zo', 'line', 'd', '11', '\\']) expect(lines.has(id)).toBe(false)
})
