import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import type { Answer } from '../../lib/index.js'
import { expectRecorded, readAnswers } from '../../lib/pu/batch_file.js'
import { sessionRoom } from '../support/sessions.js'

const { root } = sessionRoom()
const at = (name: string) => join(root, name)
const recorded = new Map<string, Answer>([
  ['007', 1],
  ['u1', 'unsure'],
])

describe('answers', () => {
  it('are read as spreadsheets and data frames write them again', async () => {
    await writeFile(
      at('filled.csv'),
      '\ufeffaccount;a;label\r\n007;1;1.0\r\nu1;2;Unsure\r\nu2;3;\r\nu3;4;0.0\r\nu4;5;1\r\n',
    )
    const answers = await readAnswers(at('filled.csv'), 'account')
    expect([...answers]).toEqual([
      ['007', 1],
      ['u1', 'unsure'],
      ['u3', 0],
      ['u4', 1],
    ])
  })

  it.each(['0.5', '2', '1e0', '-0', 'yes', '1.', '01'])('are not %s', async label => {
    await writeFile(at('filled.csv'), `account,label\n007,${label}\n`)
    await expect(readAnswers(at('filled.csv'), 'account')).rejects.toMatchObject({ code: 'ANSWER_INVALID' })
  })
})

describe('labels that are in no log yet', () => {
  it.each([
    ['of rows without an answer', 'account,a,label\n007,1,1\nu2,2,0\nu3,3,\n', 1],
    ['that differ from the answer', 'account,a,label\n007,1,0\nu1,2,1\n', 2],
    ['that are no answers at all', 'account,a,label\nu2,1,maybe\n', 1],
    ['beside another id', 'user,label\n1,1\n2,0\n', 2],
    ['from a spreadsheet', 'account;a;label\n"u2";1;"1"\n', 1],
  ])('keep a file from being replaced: %s', async (_, text, count) => {
    await writeFile(at('batch.csv'), text)
    await expect(expectRecorded(at('batch.csv'), 'account', recorded)).rejects.toThrow(
      `[active] expected recorded labels in ${at('batch.csv')} but received ${count} that the session does not have; ` +
        'record them first with `active answer`, or name another file',
    )
    expect(await readFile(at('batch.csv'), 'utf8')).toBe(text)
  })

  it.each([
    ['recorded ones', 'account,a,label\n007,1,1\nu1,2, unsure \nu2,3,\n'],
    ['recorded ones that a program wrote again', 'account,a,label\n007,1,1.0\nu1,2,Unsure\nu2,3,\n'],
    ['none', 'account,a,label\n007,1,\n'],
    ['no such column', 'account,a\n007,1\n'],
    ['an empty file', ''],
  ])('are not: %s', async (_, text) => {
    await writeFile(at('batch.csv'), text)
    await expectRecorded(at('batch.csv'), 'account', recorded)
    await expectRecorded(at('none.csv'), 'account', recorded)
  })
})
