import { readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { beforeAll, describe, expect, it } from 'vitest'
import { BinnedMatrix, loadLightgbm, readPuTable, twoStepPu } from '../../lib/index.js'
import { auc } from '../../lib/report/metrics.js'
import { seqrisk } from '../support/child.js'
import { openDevice } from '../support/devices.js'
import { temporaryFolder } from '../support/folder.js'
import { knownOf, plantedTable } from '../support/pu_table.js'

const folder = temporaryFolder()
const at = (name: string) => join(folder, name)

const ROWS = 2000
const planted = plantedTable(ROWS, 3)
const { columns, truth } = planted
const known = knownOf(planted, 80)
const JOBS = ['clerk', 'nurse', 'pilot']
const HEAD = ['account', ...columns.map((_, f) => `x${f}`), 'job', 'comment', 'fraud']
const csv = (mark: (row: number) => string) =>
  [HEAD, ...Array.from(truth, (_, row) => [`u${row}`, ...columns.map(c => c[row]), JOBS[row % 3], 'text', mark(row)])]
    .map(row => row.join(','))
    .join('\n')
const common = ['--id', 'account', '--positive', 'fraud', '--drop', 'comment', '--categorical', 'job']
const pu = (file: string, ...more: string[]) =>
  seqrisk('pu', '--table', at(file), ...common, '--out', at('out'), ...more)

describe('seqrisk pu and bands', () => {
  beforeAll(async () => {
    await writeFile(
      at('table.csv'),
      csv(row => (known[row] ? '1' : row % 2 ? '0' : '')),
    )
    await writeFile(
      at('none.csv'),
      csv(() => '0'),
    )
    await writeFile(
      at('odd.csv'),
      csv(row => (row === 5 ? '2' : '1')),
    )
    const lines = Array.from(truth, (label, row) => `u${row},${known[row] ? '' : label}`)
    await writeFile(at('truth.csv'), ['account,fraud', ...lines].join('\n'))
  })

  it('writes the model, the scores and a report, the same as the API', async () => {
    const run = await pu('table.csv', '--rounds', '2,3', '--seed', '4', '--json')
    expect(run).toMatchObject({ code: 0, stderr: '' })
    const result = JSON.parse(run.stdout)
    expect(result).toMatchObject({ method: 'two-step', rows: ROWS, positives: 80, features: 17 })
    expect((await readdir(at('out'))).sort()).toEqual(['model.txt', 'report.json', 'scores.csv'])
    const { out, ...report } = result
    expect(JSON.parse(await readFile(at('out/report.json'), 'utf8'))).toEqual(report)
    expect(report.rounds[0]).toMatchObject({ step: 1, round: 1, change: null, sizes: { spies: 12, positives: 68 } })

    const table = await readPuTable('test', at('table.csv'), {
      id: 'account',
      positive: 'fraud',
      drop: ['comment'],
      categorical: ['job'],
    })
    const { names } = table.layout
    const matrix = await BinnedMatrix.from(
      openDevice(),
      { columns: table.columns },
      { names, categorical: ['job'], seed: 4 },
    )
    const problem = { matrix, positives: table.positives, data: { columns: table.columns } }
    const { scores } = await twoStepPu(problem, { rounds: [2, 3], seed: 4 })
    const [head, ...lines] = (await readFile(at('out/scores.csv'), 'utf8')).trimEnd().split('\n')
    expect(head).toBe('account,score')
    expect(lines.map(line => Number(line.split(',')[1]))).toEqual([...scores])
    const hidden = [...truth.keys()].filter(row => !known[row])
    const quality = auc(
      hidden.map(row => scores[row]),
      hidden.map(row => truth[row]),
    )
    expect(quality).toBeGreaterThan(0.9)
    const model = await loadLightgbm(at('out/model.txt'))
    expect(model.info.levels?.at(-1)).toEqual(JOBS)
    expect(model.info.names).toContain('job')
  })

  it.each(['one-step', 'supervised', 'isolation'])('%s runs through the same command', async method => {
    const run = await pu('table.csv', '--method', method, '--json')
    expect(run).toMatchObject({ code: 0, stderr: '' })
    expect(JSON.parse(run.stdout)).toMatchObject({ method, rows: ROWS, positives: 80 })
    expect((await readdir(at('out'))).includes('model.txt')).toBe(method !== 'isolation')
  })

  it('bands: precision, volume of two scorers, a plan and a plot', async () => {
    await pu('table.csv', '--method', 'isolation')
    await writeFile(at('isolation.csv'), await readFile(at('out/scores.csv')))
    await pu('table.csv')
    const scores = ['--scores', at('out/scores.csv'), at('isolation.csv')]
    const labels = ['--labels', at('truth.csv'), '--id', 'account', '--label', 'fraud']
    const run = await seqrisk('bands', ...scores, ...labels, '--plan', '50', '--plot', at('bands.svg'), '--json')
    expect(run).toMatchObject({ code: 0, stderr: '' })
    const { scorers, volumes, plan } = JSON.parse(run.stdout)
    expect(scorers.map((one: { name: string }) => one.name)).toEqual(['scores', 'isolation'])
    expect(scorers[0]).toMatchObject({ rows: ROWS, labelled: ROWS - 80 })
    expect(scorers[0].bands).toHaveLength(7)
    expect(scorers[0].bands[6]).toMatchObject({ from: 99, to: 100, rows: 20 })
    expect(scorers[0].averagePrecision).toBeGreaterThan(scorers[1].averagePrecision)
    expect(volumes[0]).toMatchObject({ first: 'scores', second: 'isolation', rows: ROWS - 80 })
    expect(volumes[0].ratio).toBeGreaterThan(1)
    expect(plan.reduce((sum: number, band: { label: number }) => sum + band.label, 0)).toBe(50)
    expect(await readFile(at('bands.svg'), 'utf8')).toMatch(/^<svg/)
    const shown = await seqrisk('bands', ...scores, ...labels)
    expect(shown.stdout).toMatch(/\| scores +\| 99–100 \| +20 \|/)
    expect(shown.stdout).toMatch(/scores and isolation at precision/)
  })

  it.each([
    ['isolation', ['--spies', '0.4'], /option of --method isolation but received --spies; it takes --trees\n$/],
    ['isolation', ['--learner', 'gbrt'], /received --learner/],
    ['isolation', ['--num-leaves', '7'], /received --num-leaves/],
    ['isolation', ['--positive-weight', '1'], /received --positive-weight/],
    [
      'supervised',
      ['--rounds', '5,5'],
      /of --method supervised but received --rounds; it takes --positive-weight, --l/,
    ],
    ['supervised', ['--convergence', '0'], /received --convergence/],
    ['one-step', ['--quantile', '0.1'], /of --method one-step but received --quantile; it takes --rounds, --conv/],
    ['one-step', ['--rounds', '5,5'], /expected --rounds N with --method one-step but received '5,5'/],
  ])('%s refuses what it has no use for: %j', async (method, options, message) => {
    const run = await pu('table.csv', '--method', method, ...options)
    expect(run).toMatchObject({ code: 2, stdout: '', stderr: expect.stringMatching(message) })
  })

  it('a warning of a success says that it is one', async () => {
    await writeFile(
      at('few.csv'),
      csv(row => (known.subarray(0, row).reduce((sum, one) => sum + one, 0) < 20 && known[row] ? '1' : '')),
    )
    const run = await pu('few.csv', '--json')
    expect(run.code).toBe(0)
    expect(run.stderr).toMatch(/^seqrisk: warning: \[twoStepPu\] expected 10 spies or more but received 3; .*\n$/)
    expect(JSON.parse(run.stdout).warnings[0].code).toBe('FEW_SPIES')
  })

  it('one-step takes its number of rounds', async () => {
    const run = await pu('table.csv', '--method', 'one-step', '--rounds', '2', '--convergence', '0', '--json')
    expect(JSON.parse(run.stdout).rounds).toHaveLength(2)
  })

  it('ends in one clear line where it cannot', async () => {
    const ended = (code: number, message: RegExp) => ({ code, stdout: '', stderr: expect.stringMatching(message) })
    expect(await pu('none.csv')).toMatchObject(
      ended(1, /^seqrisk: \[twoStepPu\] expected known positives but received none; .*\n$/),
    )
    expect(await pu('odd.csv')).toMatchObject(ended(1, /1, 0 or nothing in 'fraud' of id 'u5' but received 2/))
    expect(await pu('table.csv', '--rounds', '3')).toMatchObject(ended(2, /expected --rounds N,N/))
    expect(await pu('table.csv', '--spies', '2')).toMatchObject(ended(2, /--spies to be a number in \(0, 1\)/))
    expect(await pu('table.csv', '--method', 'magic')).toMatchObject(ended(2, /one of two-step/))
    const labels = ['--labels', at('truth.csv'), '--id', 'account', '--label', 'fraud']
    await writeFile(at('other.csv'), 'account,score\nnobody,1\n')
    expect(await seqrisk('bands', '--scores', at('other.csv'), ...labels)).toMatchObject(
      ended(1, /compare the id columns/),
    )
    const scored = Array.from(truth, (_, row) => `u${row},${row}`)
    await writeFile(at('scored.csv'), ['account,score', ...scored].join('\n'))
    await writeFile(at('twice.csv'), ['account,score', ...scored, 'u3,0'].join('\n'))
    await writeFile(at('labels.csv'), 'account,fraud\nu1,1\nu2,0\nu1,0\n')
    const twice = (id: string, file: string) =>
      ended(1, new RegExp(`every id of 'account' once in .*${file} but received '${id}'`))
    const both = ['--scores', at('scored.csv'), at('twice.csv')]
    expect(await seqrisk('bands', ...both, ...labels)).toMatchObject(twice('u3', 'twice.csv'))
    const two = ['--labels', at('labels.csv'), ...labels.slice(2)]
    expect(await seqrisk('bands', '--scores', at('scored.csv'), ...two)).toMatchObject(twice('u1', 'labels.csv'))
    await writeFile(at('hole.csv'), 'account,score\nu1,\n')
    expect(await seqrisk('bands', '--scores', at('hole.csv'), ...labels)).toMatchObject(ended(1, /a score of id 'u1'/))
  })
})
