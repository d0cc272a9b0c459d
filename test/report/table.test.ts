import { expect, test } from 'vitest'
import { markdownTable } from '../../lib/report/table.js'

test('numbers to the right, texts to the left, by characters', () => {
  expect(
    markdownTable(
      ['id', 'score'],
      [
        ['𝒶', '1.5'],
        ['long', '-10'],
      ],
    ),
  ).toBe('| id   | score |\n|------|------:|\n| 𝒶    |   1.5 |\n| long |   -10 |')
})

test('no id ends a cell or a line', () => {
  expect(markdownTable(['id'], [['a|b'], ['c\r\n d']])).toBe('| id   |\n|------|\n| a\\|b |\n| c d  |')
})
