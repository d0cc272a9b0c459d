// Tables read for PU learning: what they hold, what is refused, and the event loop meanwhile.

import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { readPuTable } from '../../lib/pu/table.js'
import { temporaryFolder } from '../support/folder.js'
import { watchTurns } from '../support/turns.js'

const root = temporaryFolder()
const options = { id: 'who', positive: 'fraud' }
let number = 0

async function read(lines: readonly string[]) {
  const file = join(root, `${number++}.csv`)
  await writeFile(file, `who,fraud,amount\n${lines.join('\n')}\n`)
  return readPuTable('test', file, options)
}

it('reads ids, known positives and features', async () => {
  const table = await read(['a,1,2.5', 'b,0,3', 'c,,'])
  expect(table).toMatchObject({ id: 'who', ids: ['a', 'b', 'c'], layout: { names: ['amount'], levels: [null] } })
  expect(table.positives).toEqual(Uint8Array.of(1, 0, 0))
  expect(table.columns).toEqual([Float64Array.of(2.5, 3, Number.NaN)])
})

it('refuses an id that comes twice, and marks that are none', async () => {
  await expect(read(['a,1,1', 'b,0,1', 'a,0,1'])).rejects.toMatchObject({ code: 'ID_TWICE', message: /once .* 'a'/ })
  await expect(read(['a,1,1', 'b,2,1'])).rejects.toMatchObject({ code: 'CELL_INVALID', message: /of id 'b' .* 2/ })
})

it('lets the event loop run', { retry: 2 }, async () => {
  const file = join(root, 'many.csv')
  const lines = Array.from({ length: 200_000 }, (_, row) => `u${row},${Number(row < 9)},${row % 100}`)
  await writeFile(file, `who,fraud,amount\n${lines.join('\n')}\n`)
  const { longest } = await watchTurns(() => readPuTable('test', file, options))
  expect(longest).toBeLessThan(25)
})
