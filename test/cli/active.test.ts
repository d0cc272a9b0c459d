import { readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { seqrisk } from '../support/child.js'
import { planted, ROWS, sessionRoom, table } from '../support/sessions.js'

const { root } = sessionRoom()

describe('seqrisk active', () => {
  it('init, ask, answer, status, undo, export on files', { timeout: 120_000 }, async () => {
    const at = (name: string) => join(root, name)
    const jobs = ['clerk', 'nurse, retired', 'pilot']
    const rows = table.ids.map((id, row) => [
      id,
      planted.columns[0][row],
      planted.columns[1][row],
      `"${jobs[row % 3]}"`,
      table.positives[row] || '',
    ])
    await writeFile(
      at('table.csv'),
      [['account', 'a', 'b', 'job', 'fraud'], ...rows].map(row => row.join(',')).join('\n'),
    )
    const session = ['--session', at('cli')]
    const begun = await seqrisk(
      'active',
      'init',
      ...session,
      '--table',
      at('table.csv'),
      '--id',
      'account',
      '--positive',
      'fraud',
      '--categorical',
      'job',
      '--batch',
      '5',
      '--json',
    )
    expect(begun).toMatchObject({ code: 0, stderr: '' })
    expect(JSON.parse(begun.stdout)).toMatchObject({ rows: ROWS, positives: 15, features: 3 })
    // Before a table is read: there is none.
    const again = ['active', 'init', '--table', 'none.csv', '--id', 'account', '--positive', 'fraud', '--session']
    expect((await seqrisk(...again, at('cli'))).stderr).toMatch(
      /a folder without a session but received '.*cli'; go on/,
    )
    expect((await seqrisk(...again, at('table.csv'))).stderr).toMatch(/a folder at .*table.csv but received 'a file'/)
    expect((await seqrisk('active', 'ask', ...session, '--out', at('batch.csv'), '--json')).code).toBe(0)
    const [head, ...lines] = (await readFile(at('batch.csv'), 'utf8')).trimEnd().split('\n')
    expect(head).toBe('account,a,b,job,label')
    expect(lines).toHaveLength(5)
    for (const line of lines) expect(line).toMatch(/^u\d+,-?\d.*,(clerk|"nurse, retired"|pilot),$/)
    const labels = ['1', '0', 'unsure', '', '0']
    await writeFile(at('labelled.csv'), [head, ...lines.map((line, i) => line + labels[i])].join('\n'))
    const over = ['active', 'ask', ...session, '--out', at('labelled.csv')]
    const lost = await seqrisk(...over)
    expect(lost).toMatchObject({ code: 1, stdout: '' })
    expect(lost.stderr).toMatch(
      /in \S+labelled\.csv but received 4 that the session does not have; record them first with `active answer`/,
    )
    expect((await readFile(at('labelled.csv'), 'utf8')).split('\n')[1]).toBe(`${lines[0]}1`)
    const answered = await seqrisk('active', 'answer', ...session, '--in', at('labelled.csv'), '--json')
    expect(JSON.parse(answered.stdout)).toEqual({ recorded: 4, repeated: 0, pending: 1 })
    expect(await seqrisk(...over)).toMatchObject({ code: 0, stdout: `1 rows to label: ${at('labelled.csv')}\n` })
    await writeFile(at('wrong.csv'), [head, `${lines[3]}maybe`].join('\n'))
    const wrong = await seqrisk('active', 'answer', ...session, '--in', at('wrong.csv'))
    expect(wrong).toMatchObject({ code: 1, stdout: '' })
    expect(wrong.stderr).toMatch(
      /^seqrisk: \[active\] expected 1, 0 or unsure for id 'u\d+' but received 'maybe'; no answer .*\n$/,
    )
    const status = JSON.parse((await seqrisk('active', 'status', ...session, '--json')).stdout)
    expect(status).toMatchObject({ answers: { positives: 1, negatives: 2, unsure: 1 }, pending: 1 })
    expect((await seqrisk('active', 'undo', ...session)).stdout).toBe(
      '4 answers taken back; their rows wait for one again\n',
    )
    const exported = await seqrisk('active', 'export', ...session, '--out', at('out'), '--json')
    expect(JSON.parse(exported.stdout)).toMatchObject({ rows: ROWS, positives: 0 })
    expect((await readdir(at('out'))).sort()).toEqual(['model.txt', 'scores.csv'])
    expect((await readFile(at('out/scores.csv'), 'utf8')).split('\n')[0]).toBe('account,score')
    expect((await seqrisk('active')).code).toBe(2)
    expect((await seqrisk('active', 'ask', ...session)).code).toBe(2)
  })
})
