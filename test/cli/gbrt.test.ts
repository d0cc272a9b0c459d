import { existsSync } from 'node:fs'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { beforeAll, describe, expect, it } from 'vitest'
import { readTable } from '../../lib/events/table.js'
import { writeTable } from '../../lib/events/write.js'
import { loadLightgbm } from '../../lib/export/lightgbm.js'
import { auc } from '../../lib/report/metrics.js'
import { columnsOfLayout, layoutOfModel } from '../../lib/trees/table_input.js'
import { seqrisk } from '../support/child.js'
import { openDevice } from '../support/devices.js'
import { temporaryFolder } from '../support/folder.js'
import { TestRandom } from '../support/random.js'

const folder = temporaryFolder()
const at = (name: string) => join(folder, name)

const JOBS = ['clerk', 'old = retired', 'nurse', 'pilot']
/** How much a job moves the target; unknown ones do not. */
const PULL = [1.5, -1.5, 0.5, -0.5]

/** Lines of a table: id, amount with holes, a job, noise, a weight, whether it is bad, a grade of 0, 1, 2. */
function lines(rows: number, seed: number): string[][] {
  const random = new TestRandom(seed)
  return Array.from({ length: rows }, (_, r) => {
    const job = random.integer(0, 3)
    const amount = random.normal()
    const score = amount + PULL[job] + 0.5 * random.normal()
    const bad = random.next() < 0.05 ? '' : score > 0 ? '1' : '0'
    const grade = score > 1 ? '2' : score > -1 ? '1' : '0'
    const shown = random.next() < 0.1 ? '' : amount.toFixed(4)
    return [`u${r}`, shown, JOBS[job], String(random.integer(0, 9)), String(random.integer(1, 3)), bad, grade]
  })
}

const HEAD = ['id', 'the amount', 'job', 'noise', 'weight', 'bad', 'grade']
const csv = (rows: string[][]) => [HEAD, ...rows].map(row => row.join(',')).join('\n')
const train = lines(3000, 1)
const test = lines(1000, 2)
const truth = Float32Array.from(test, row => Number(row[6] !== '0'))

describe('seqrisk gbrt', () => {
  beforeAll(async () => {
    await writeFile(at('train.csv'), csv(train))
    await writeFile(at('test.csv'), csv(test))
    await writeFile(at('grades.csv'), 'x,grade,points\n1,low,3\n2,mid,2\n3,high,n/a\n4,,1\n5,low,2\n')
    await writeFile(at('sure.csv'), 'x,y\n1,1\n2,1\n3,\n4,1\n')
  })

  it('trains on a CSV, scores another one, and says what mattered', async () => {
    const model = at('model.txt')
    const fitted = await seqrisk(
      ...['gbrt', 'fit', '--table', at('train.csv'), '--target', 'bad', '--model', model, '--drop', 'id,grade'],
      ...['--categorical', 'job', '--weight', 'weight', '--valid', at('test.csv'), '--early-stopping-round', '5'],
      ...['--num-leaves', '8', '--learning-rate', '0.2', '--threads', '2', '--json'],
    )
    expect(fitted).toMatchObject({ code: 0, stderr: '' })
    const result = JSON.parse(fitted.stdout)
    const unlabelled = train.filter(row => row[5] === '').length
    expect(result).toMatchObject({ objective: 'binary', features: 3, rows: 3000 - unlabelled, unlabelled })
    expect(result.rounds).toBeLessThan(100)
    expect(result.loss).toBeLessThan(0.45)

    const predicted = await seqrisk(
      ...['gbrt', 'predict', '--table', at('test.csv'), '--model', model, '--out', at('scores.csv'), '--id', 'id'],
    )
    expect(predicted.code).toBe(0)
    const scores = await readTable(at('scores.csv'), { id: 'id' })
    expect(scores.ids).toEqual(test.map(row => row[0]))
    expect(auc(scores.columns.score, truth)).toBeGreaterThan(0.9)
    // The same as by the API, bit for bit: the file holds all digits.
    const loaded = await loadLightgbm(model)
    expect(loaded.info.names).toEqual(['the amount', 'noise', 'job'])
    expect(loaded.info.levels).toEqual([null, null, [...JOBS].sort()])
    const table = await readTable(at('test.csv'), { columns: [...loaded.info.names] })
    const columns = columnsOfLayout(layoutOfModel(loaded), table)
    expect(scores.columns.score).toEqual(await loaded.predict(openDevice(), { columns }))

    // What features add makes up the raw score.
    const explained = await seqrisk(
      ...['gbrt', 'predict', '--table', at('test.csv'), '--model', model, '--out', at('raw.csv'), '--id', 'id'],
      ...['--raw', '--shap', at('shap.csv'), '--json'],
    )
    expect(explained).toMatchObject({ code: 0, stderr: '' })
    expect(JSON.parse(explained.stdout)).toMatchObject({ shap: at('shap.csv'), rows: 1000 })
    const raw = (await readTable(at('raw.csv'), { id: 'id' })).columns.score
    const shap = await readTable(at('shap.csv'), { id: 'id' })
    expect(shap.ids).toEqual(scores.ids)
    const parts = Object.values(shap.columns)
    expect(Object.keys(shap.columns)).toEqual(['shap_the amount', 'shap_noise', 'shap_job', 'base'])
    for (const [row, score] of raw.entries()) {
      expect(parts.reduce((sum, part) => sum + part[row], 0)).toBeCloseTo(score, 9)
    }

    const shown = await seqrisk('gbrt', 'importance', '--model', model, '--json')
    const { features } = JSON.parse(shown.stdout) as { features: { name: string; gain: number; split: number }[] }
    expect(features.map(({ name }) => name)).toEqual(['job', 'the amount', 'noise'])
    expect(features[0].gain).toBeGreaterThan(10 * features[2].gain)
    expect((await seqrisk('gbrt', 'importance', '--model', model)).stdout).toMatch(/\| job +\|/)
  })

  it('reads Parquet, predicts classes, and counts rows where there is no id', async () => {
    const column = (c: number) => Float64Array.from(train, row => Number(row[c] === '' ? Number.NaN : row[c]))
    const columns = { 'the amount': column(1), noise: column(3), grade: column(6) }
    await writeTable(at('train.parquet'), 'id', { ids: train.map(row => row[0]), columns })
    const model = at('classes.txt')
    const fitted = await seqrisk(
      ...['gbrt', 'fit', '--table', at('train.parquet'), '--target', 'grade', '--model', model, '--drop', 'id'],
      ...['--objective', 'multiclass', '--num-iterations', '5', '--json'],
    )
    expect(fitted).toMatchObject({ code: 0, stderr: '' })
    const out = at('classes.csv')
    const predict = ['gbrt', 'predict', '--table', at('test.csv'), '--model', model, '--out', out]
    expect((await seqrisk(...predict, '--shap', at('classes_shap.parquet'))).code).toBe(0)
    const titles = [0, 1, 2].flatMap(k => [`shap_the amount_${k}`, `shap_noise_${k}`, `base_${k}`])
    const shap = await readTable(at('classes_shap.parquet'), { id: 'id', columns: titles })
    expect(Object.keys(shap.columns)).toEqual(titles)
    const [head, ...rows] = (await readFile(out, 'utf8')).trim().split('\n')
    expect(head).toBe('id,score_0,score_1,score_2')
    expect(rows.map(row => row.split(',')[0])).toEqual(test.map((_, r) => String(r + 1)))
    for (const row of rows) {
      const shares = row.split(',').slice(1).map(Number)
      expect(shares.reduce((sum, one) => sum + one)).toBeCloseTo(1, 12)
    }
  })

  it('holds predictions to the order of a column, whatever the order of the model', async () => {
    // Text before numbers: the model has it behind them. The target rises with both numbers.
    const rows = Array.from({ length: 600 }, (_, r) => {
      const [down, up] = [r % 30, (r * 7) % 20]
      return [JOBS[r % 2], down, up, Number(down + up > 24)]
    })
    await writeFile(at('signs.csv'), ['job,down,up,y', ...rows.map(row => row.join(','))].join('\n'))
    const model = at('signs.txt')
    const fit = ['gbrt', 'fit', '--table', at('signs.csv'), '--target', 'y', '--categorical', 'job', '--model', model]
    const steps = async (...more: string[]) => {
      expect(await seqrisk(...fit, '--json', ...more)).toMatchObject({ code: 0, stderr: '' })
      const loaded = await loadLightgbm(model)
      expect(loaded.info.names).toEqual(['down', 'up', 'job'])
      const at = (down: number, up: number) => loaded.predictRow([down, up, 0])[0]
      return [at(25, 10) - at(5, 10), at(10, 18) - at(10, 2)].map(Math.sign)
    }
    expect(await steps()).toEqual([1, 1])
    const [down, up] = await steps('--monotone-constraints', '0,-1,1')
    expect(down).toBeLessThanOrEqual(0)
    expect(up).toBe(1)
    const few = await seqrisk(...fit, '--monotone-constraints', '-1,1')
    expect(few).toMatchObject({ code: 2, stdout: '' })
    expect(few.stderr).toMatch(/expected 3 --monotone-constraints, for job, down, up, but received 2/)
  })

  it('gives the same file for any number of threads', async () => {
    const files = ['1', '2'].map(threads => at(`threads${threads}.txt`))
    for (const [i, file] of files.entries()) {
      await seqrisk(
        ...['gbrt', 'fit', '--table', at('train.csv'), '--target', 'bad', '--model', file, '--drop', 'id,grade,job'],
        ...['--bagging-fraction', '0.5', '--bagging-freq', '1', '--seed', '7', '--threads', String(i + 1)],
      )
    }
    expect(await readFile(files[0], 'utf8')).toBe(await readFile(files[1], 'utf8'))
  })

  it('scores how unusual rows are', async () => {
    const rows = [...train, ['odd', '9', 'pilot', '40', '3', '', '0']]
    await writeFile(at('odd.csv'), csv(rows))
    const flags = ['--table', at('odd.csv'), '--out', at('odd_scores.csv'), '--id', 'id', '--drop', 'bad,grade,weight']
    const refused = await seqrisk('iforest', ...flags)
    expect(refused).toMatchObject({ code: 1, stdout: '' })
    expect(refused.stderr).toMatch(/numbers in 'job'/)
    const { code, stdout } = await seqrisk('iforest', ...flags, '--categorical', 'job', '--seed', '3', '--json')
    expect(code).toBe(0)
    expect(JSON.parse(stdout)).toMatchObject({ rows: 3001, features: 3, trees: 100, samples: 256 })
    const scores = await readTable(at('odd_scores.csv'), { id: 'id' })
    expect(scores.ids.at(-1)).toBe('odd')
    expect(Math.max(...scores.columns.score)).toBe(scores.columns.score[3000])
    expect(Math.min(...scores.columns.score)).toBeGreaterThan(0)
  })

  it('leaves the column out that names the rows, and says which one looks like it', async () => {
    const rows = train.map((row, r) => [String(1000 + 3 * r), row[1], row[3], row[6] === '0' ? '0' : '1'])
    await writeFile(at('numbered.csv'), ['id,amount,noise,y', ...rows.map(row => row.join(','))].join('\n'))
    const model = at('numbered.txt')
    const fit = ['gbrt', 'fit', '--table', at('numbered.csv'), '--target', 'y', '--model', model, '--json']
    expect(await seqrisk(...fit, '--id', 'id')).toMatchObject({ code: 0, stderr: '' })
    expect((await loadLightgbm(model)).info.names).toEqual(['amount', 'noise'])
    const blind = await seqrisk(...fit)
    expect(blind).toMatchObject({ code: 0, stderr: expect.stringMatching(/^seqrisk: warning: 'id' .*--id id\n$/) })
    expect(JSON.parse(blind.stdout)).toMatchObject({ features: 3, warnings: [expect.stringMatching(/^'id' has /)] })
  })

  it.each([
    ['x,y\n1,0\n2,1\n3,1\n4,0\n5,1\n', [], /5 rows are no two leaves of 20; lower --min-data-in-leaf/],
    ['x,y\n1,0\n1,1\n1,1\n', ['--min-data-in-leaf', '1'], /values of each feature are the same/],
    ['x,y\n1,4\n2,4\n3,4\n', ['--min-data-in-leaf', '1'], /'y' is 4 in all rows/],
    [
      'x,y\n1,0\n2,1\n3,1\n',
      ['--min-data-in-leaf', '1', '--min-data-in-bin', '1', '--min-gain-to-split', '99'],
      /gains more than 99 \(/,
    ],
  ])('says why a model of one score has no split: %j', async (text, options, reason) => {
    await writeFile(at('plain.csv'), text)
    const args = ['gbrt', 'fit', '--table', at('plain.csv'), '--target', 'y', '--model', at('plain.txt'), ...options]
    const { code, stderr } = await seqrisk(...args, '--json')
    expect({ code, lines: stderr.trim().split('\n').length }).toEqual({ code: 0, lines: 1 })
    expect(stderr).toMatch(/^seqrisk: warning: no tree has a split, so that all rows get one score: /)
    expect(stderr).toMatch(reason)
    expect(await seqrisk(...args, '--json', '--num-iterations', '0')).toMatchObject({ code: 0, stderr: '' })
  })

  it('learns true and false as 1 and 0, from text as well', async () => {
    const fit = async (file: string, rows: string[][]) => {
      await writeFile(at(file), ['amount,noise,y', ...rows.map(row => row.join(','))].join('\n'))
      const model = at(`${file}.txt`)
      const args = ['gbrt', 'fit', '--table', at(file), '--valid', at(file), '--target', 'y', '--model', model]
      const { code, stdout } = await seqrisk(...args, '--num-iterations', '5', '--json')
      expect(code).toBe(0)
      expect(JSON.parse(stdout)).toMatchObject({ objective: 'binary', features: 2 })
      return readFile(model, 'utf8')
    }
    const names = ['True', 'false', 'TRUE', 'False']
    const rows = (y: (bad: string, r: number) => string) => train.map((row, r) => [row[1], row[3], y(row[5], r)])
    const flags = rows((bad, r) => (bad === '' ? '' : names[2 * (r % 2) + Number(bad === '0')]))
    expect(await fit('flags.csv', flags)).toBe(
      await fit(
        'ones.csv',
        rows(bad => bad),
      ),
    )
  })

  const fit = ['gbrt', 'fit', '--model', at('none.txt')]
  const onTrain = [...fit, '--table', at('train.csv')]
  const wrong: [string, string[], number, RegExp][] = [
    ['no part', ['gbrt', 'train'], 2, /expected a command but received 'gbrt train'/],
    ['a misspelling', [...onTrain, '--target', 'bad', '--num-leafs', '3'], 2, /did you mean '--num-leaves'/],
    ['patience without rows to watch', [...onTrain, '--target', 'bad', '--early-stopping-round', '3'], 2, /--valid/],
    ['a target that is dropped', [...onTrain, '--target', 'bad', '--drop', 'bad'], 2, /'bad' in one option/],
    ['an id that is dropped', [...onTrain, '--target', 'bad', '--id', 'id', '--drop', 'id'], 2, /'id' in one option/],
    ['a target that is the id', [...onTrain, '--target', 'bad', '--id', 'bad'], 2, /'bad' in one option/],
    ['no such id', [...onTrain, '--target', 'bad', '--id', 'ids'], 1, /'ids'/],
    [
      'one class',
      [...fit, '--table', at('sure.csv'), '--target', 'y'],
      1,
      /two classes or more in 'y' but received 1;/,
    ],
    [
      'classes of text',
      [...fit, '--table', at('grades.csv'), '--target', 'grade'],
      1,
      /\[gbrt\] expected numbers, or true and false, in 'grade' of '.*' but received \[low, mid, high\]; number the classes/,
    ],
    [
      'numbers with a cell of text',
      [...fit, '--table', at('grades.csv'), '--target', 'points'],
      1,
      /a number in column 'points', row 3 of '.*' but received 'n\/a'; mend the cell/,
    ],
    ['no such target', [...onTrain, '--target', 'worse'], 1, /worse/],
    ['no such column', [...onTrain, '--target', 'bad', '--drop', 'ids'], 1, /expected a column 'ids'/],
    ['text', [...onTrain, '--target', 'bad', '--drop', 'id'], 1, /numbers in 'job'.*name 'job' as categorical/],
    ['targets outside', [...onTrain, '--target', 'grade', '--drop', 'id,job', '--objective', 'binary'], 1, /\[0, 1\]/],
    [
      'no model',
      ['gbrt', 'importance', '--model', at('none.txt')],
      1,
      /expected a readable file but received '.*none.txt'/,
    ],
    [
      'an option outside',
      [...onTrain, '--target', 'bad', '--drop', 'id,job', '--num-leaves', '1'],
      2,
      /--num-leaves to/,
    ],
  ]
  it.each(wrong)('refuses %s in one line, and writes nothing', async (_, args, code, message) => {
    const result = await seqrisk(...args)
    expect(result).toMatchObject({ code, stdout: '' })
    expect(result.stderr.trim().split('\n').length).toBe(1)
    expect(result.stderr).toMatch(message)
    expect(existsSync(at('none.txt'))).toBe(false)
  })

  it('explains itself', async () => {
    expect((await seqrisk('gbrt', '--help')).stdout).toMatch(/gbrt fit[\s\S]*gbrt predict[\s\S]*gbrt importance/)
    expect((await seqrisk('gbrt', 'fit', '--help')).stdout).toMatch(/--num-leaves/)
    expect((await seqrisk('gbrt')).code).toBe(2)
  })
})
