import { existsSync } from 'node:fs'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { beforeAll, describe, expect, it } from 'vitest'
import { writeDemo } from '../../lib/demo/write.js'
import { readTable } from '../../lib/events/table.js'
import { seqrisk } from '../support/child.js'
import { temporaryFolder } from '../support/folder.js'

const folder = temporaryFolder()
const files = await writeDemo(folder, { users: 120 })
const at = (name: string) => join(folder, name)
const events = ['--events', files.events]
const labels = ['--labels', files.labels, '--id', 'user_id']
const short = ['--epochs', '1', '--validation', '0']

function finetune(...args: string[]) {
  return seqrisk('finetune', '--model', at('model'), ...events, ...labels, ...args)
}

describe('seqrisk finetune, score and export', () => {
  beforeAll(async () => {
    const small = ['--width', '16', '--blocks', '1', '--heads', '2', '--epochs', '2', '--batch-events', '1024']
    await seqrisk('pretrain', ...events, '--schema', files.schema, '--out', at('model'), ...small)
  })

  it('takes labels of true and false, and says what other text wants', async () => {
    const { ids, columns } = await readTable(files.labels, { id: 'user_id', columns: ['order'] })
    const rows = ids.map(
      (id, row) => `${id},${columns.order[row] === 1 ? 'True' : 'False'},${row % 2 ? 'low' : 'high'}`,
    )
    await writeFile(at('words.csv'), ['user_id,order,grade', ...rows].join('\n'))
    const own = ['--labels', at('words.csv'), '--id', 'user_id']
    const tune = ['finetune', '--model', at('model'), ...events, ...own, '--out', at('words'), ...short]
    const tuned = await seqrisk(...tune, '--label', 'order', '--json')
    expect(JSON.parse(tuned.stdout)).toMatchObject({ classes: [0, 1], rows: 120 })
    const refused =
      /\[labels\] expected numbers, or true and false, in 'grade' of .* received \[high, low\]; number the classes/
    const vectors = ['--vectors', at('vectors.csv')]
    await seqrisk('encode', '--model', at('model'), ...events, '--out', at('vectors.csv'))
    for (const command of [tune, ['probe', ...vectors, ...own]]) {
      const { code, stderr } = await seqrisk(...command, '--label', 'grade')
      expect({ code, stderr }).toEqual({ code: 1, stderr: expect.stringMatching(refused) })
    }
    expect((await seqrisk('probe', ...vectors, ...own, '--label', 'order')).code).toBe(0)
  })

  it('go from a model and labels to scores of events, in JSON on stdout alone', async () => {
    const out = ['--out', at('order')]
    const tuned = await finetune('--label', 'order', '--fold-column', 'fold', ...out, ...short, '--json')
    expect({ code: tuned.code, stderr: tuned.stderr }).toEqual({ code: 0, stderr: '' })
    const result = JSON.parse(tuned.stdout)
    expect(result).toMatchObject({ label: 'order', task: 'classification', classes: [0, 1], epochs: 1, absent: 0 })
    expect(result.folds.metric).toBe('auc')
    expect(result.folds.folds.length).toBe(5)
    expect(result.folds.score.mean).toBeGreaterThan(0)
    const scored = await seqrisk('score', '--model', at('order'), ...events, '--out', at('scores.csv'), '--json')
    expect(JSON.parse(scored.stdout)).toMatchObject({ entities: 120, columns: ['score'] })
    const { ids, columns } = await readTable(at('scores.csv'), { id: 'user_id' })
    expect(ids.length).toBe(120)
    expect(columns.score.every(score => score > 0 && score < 1)).toBe(true)
    const seconds = await seqrisk(
      'score',
      '--model',
      at('order'),
      ...events,
      '--out',
      at('none.csv'),
      '--as-of',
      '1719792000',
    )
    expect(seconds).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/did you give seconds\? a day is 2024-07-01/),
    })
    const encoded = await seqrisk('encode', '--model', at('order'), ...events, '--out', at('vectors.csv'), '--json')
    expect(JSON.parse(encoded.stdout)).toMatchObject({ entities: 120, width: 96 })
    for (const [model, outputs] of Object.entries({ model: ['vectors'], order: ['vectors', 'scores'] })) {
      const onnx = at(`${model}.onnx`)
      const exported = await seqrisk('export', '--model', at(model), '--onnx', onnx, '--json')
      const { bytes, ...rest } = JSON.parse(exported.stdout)
      expect(rest).toEqual({ onnx, outputs })
      expect((await readFile(onnx)).length).toBe(bytes)
    }
  })

  it('take more classes, weights for them, and start from scratch', async () => {
    const options = ['--class-weights', 'balanced', '--from-scratch', ...short, '--out', at('type')]
    const tuned = await finetune('--label', 'type', ...options)
    expect(tuned.code).toBe(0)
    expect(tuned.stdout).toMatch(/^type: classification on 120 entities, 1 epochs in \d+ s\nmodel in /)
    const scored = await seqrisk('score', '--model', at('type'), ...events, '--out', at('types.parquet'), '--json')
    const names = ['score_0', 'score_1', 'score_2', 'score_3', 'score_4', 'score_5']
    expect(JSON.parse(scored.stdout).columns).toEqual(names)
  })

  it('end with 2 on wrong usage, and with 1 on a failure, with one clear line', async () => {
    const wrong: [string[], number, RegExp][] = [
      [['--label', 'order'], 2, /expected --out/],
      [['--label', 'order', '--out', at('model')], 2, /another folder than --model/],
      [['--label', 'order', '--out', at('none'), '--class-weights', 'heavy'], 2, /--class-weights to be balanced/],
      [['--label', 'order', '--out', at('none'), '--validation', 'all'], 2, /--validation to be cross or a number/],
      [['--label', 'order', '--out', at('none'), '--task', 'rank'], 2, /--task to be one of auto/],
      [['--label', 'order', '--out', at('none'), '--dropout', '1'], 2, /dropout to be in \[0, 0.95\] but received 1/],
      [['--label', 'nothing', '--out', at('none')], 1, /nothing/],
      [['--label', 'order', '--out', at('none'), '--class-weights', '1,2,3'], 1, /2 numbers/],
    ]
    for (const [args, code, message] of wrong) {
      // Without --json there would be lines of progress as well.
      const ended = await finetune(...args, '--json')
      expect({ args, code: ended.code, lines: ended.stderr.trim().split('\n').length }).toEqual({
        args,
        code,
        lines: 1,
      })
      expect(ended.stderr).toMatch(message)
    }
    expect(existsSync(at('none'))).toBe(false)
    const encoder = await seqrisk('score', '--model', at('model'), ...events, '--out', at('none.csv'))
    expect(encoder.code).toBe(1)
    expect(encoder.stderr).toMatch(/give a folder that finetune wrote/)
  })

  it('explain themselves', async () => {
    for (const name of ['finetune', 'score', 'export']) {
      const { code, stdout } = await seqrisk(name, '--help')
      expect(code).toBe(0)
      expect(stdout).toMatch(/--model DIR/)
    }
  })
})
