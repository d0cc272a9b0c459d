import { expect, test, vi } from 'vitest'
import { TextIndex } from '../../lib/util/text_index.js'

test('numbers are found by their texts', () => {
  const index = new TextIndex()
  for (const [i, text] of ['', 'a', 'b', 'ab', 'ba', '\ud83d\ude00'].entries()) index.set(text, i)
  index.set('a', 7)
  expect(['', 'a', 'b', 'ab', 'ba', '\ud83d\ude00', 'c'].map(text => index.get(text))).toEqual([
    0,
    7,
    2,
    3,
    4,
    5,
    undefined,
  ])
})

// One large map would grow in jumps.
test.each([
  ['count up', (i: number) => `user ${i}`],
  ['end alike', (i: number) => `${i}@example.org`],
  ['begin and end alike', (i: number) => `id-${String(i).padStart(9, '0')}-x`],
])('texts that %s are spread over the small maps', (_, textOf) => {
  const set = vi.spyOn(Map.prototype, 'set')
  const sizes = new Map<unknown, number>()
  try {
    const index = new TextIndex()
    for (let i = 0; i < 25_600; i++) index.set(textOf(i), i)
    const maps = set.mock.contexts.slice()
    set.mockRestore()
    for (const map of maps) sizes.set(map, (sizes.get(map) ?? 0) + 1)
  } finally {
    set.mockRestore()
  }
  // 100 each on average.
  expect(Math.max(...sizes.values())).toBeLessThan(300)
})
