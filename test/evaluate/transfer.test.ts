import { readdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test, vi } from 'vitest'
import { StageCache } from '../../bench/evaluate/transfer/cache.js'
import type { LabelResult, TaskResult } from '../../bench/evaluate/transfer/collect.js'
import { continuePretraining } from '../../bench/evaluate/transfer/continue_pretraining.js'
import { finetuneFold, keptFinetunes } from '../../bench/evaluate/transfer/finetunes.js'
import { reportPage } from '../../bench/evaluate/transfer/page.js'
import { partsOf } from '../../bench/evaluate/transfer/parts.js'
import { budgetSizes, MAIN_ROWS } from '../../bench/evaluate/transfer/plan.js'
import { runParts } from '../../bench/evaluate/transfer/processes.js'
import { budgetTable, mainTable } from '../../bench/evaluate/transfer/tables.js'
import type { TaskRun } from '../../bench/evaluate/transfer/task_run.js'
import { ablations, compareRows, verdicts } from '../../bench/evaluate/transfer/verdicts.js'
import { Encoder } from '../../lib/encoder/encoder.js'
import { encodeSource, fitEncoding } from '../../lib/events/index.js'
import { pretrain } from '../../lib/pretrain/pretrain.js'
import { openDevice } from '../support/devices.js'
import { temporaryFolder } from '../support/folder.js'
import { smallSource } from '../support/small_source.js'

/** A label whose every row has the score that is said, and less with few labels. */
function label(name: string, scores: Readonly<Record<string, number>>): LabelResult {
  const spread = (mean: number) => ({ mean, sd: 0.01 })
  const figures = Object.entries(scores).map(([row, mean]) => {
    const budgets = [50, 80, 200].map((labels, b) => ({ labels, score: spread(mean - 0.1 + 0.02 * b) }))
    return [row, { all: spread(mean), budgets }]
  })
  return {
    task: 't',
    label: name,
    metric: 'auc',
    rows: 1000,
    tenth: 80,
    figures: Object.fromEntries(figures),
    bands: {},
  }
}

const rows = (values: readonly number[]) => Object.fromEntries(MAIN_ROWS.map((row, i) => [row, values[i]]))
const labels = [
  label('a', {
    ...rows([0.7, 0.72, 0.68, 0.66, 0.75, 0.74, 0.6, 0.71]),
    untrained: 0.65,
    'last layer alone': 0.7,
    'no attention': 0.69,
  }),
  label('b', {
    ...rows([0.8, 0.78, 0.79, 0.7, 0.82, 0.79, 0.7, 0.79]),
    untrained: 0.8,
    'last layer alone': 0.7,
    'no attention': 0.75,
  }),
]

test('a stage is computed once; other options are another stage', async () => {
  const cache = new StageCache(temporaryFolder())
  let computed = 0
  const compute = async () => ({ value: ++computed })
  expect(cache.peek('a b:c', { x: 1 })).toBeUndefined()
  expect(await cache.get('a b:c', { x: 1 }, compute)).toEqual({ value: 1 })
  expect(await cache.get('a b:c', { x: 1 }, compute)).toEqual({ value: 1 })
  expect(await cache.get('a b:c', { x: 2 }, compute)).toEqual({ value: 2 })
  expect(cache.peek('a b:c', { x: 1 })).toEqual({ value: 1 })
  expect(await readdir(cache.folder)).toHaveLength(2)
  await expect(cache.get('d', {}, () => Promise.reject(new Error('no')))).rejects.toThrow('no')
  expect(cache.peek('d', {})).toBeUndefined()
})

/** A task of one label, 1 for the first `positives` entities, with two folds. */
async function smallRun(label: string, positives: number): Promise<{ run: TaskRun; cache: StageCache }> {
  const source = smallSource()
  const encoding = await fitEncoding(source)
  const encoded = await encodeSource(source, encoding)
  const cache = new StageCache(temporaryFolder())
  const device = openDevice()
  const values = Float64Array.from(encoded.ids, (_, i) => Number(i < positives))
  const fold = Int32Array.from(encoded.ids, (_, i) => i % 2)
  const run = {
    cache,
    device,
    task: { name: 't' },
    label: () => ({ name: label, ids: encoded.ids, values, fold }),
    encoded: async () => encoded,
    encoder: async () => new Encoder(encoding, { width: 8, blocks: 1, heads: 1 }, { device }),
  }
  return { run: run as unknown as TaskRun, cache }
}

test('labels of which a fold has too few to learn from leave a row out, and keep that', async () => {
  const { run, cache } = await smallRun('rare', 2)
  const said = vi.spyOn(console, 'error').mockImplementation(() => {})
  try {
    for (let i = 0; i < 2; i++) await finetuneFold(run, 'rare', 'supervised', 0)
    expect(said.mock.calls).toEqual([
      [expect.stringMatching(/^t rare, supervised encoder, all labels, fold 0: left out\. .*two/)],
    ])
  } finally {
    said.mockRestore()
  }
  expect(await readdir(cache.folder)).toHaveLength(1)
  expect(keptFinetunes(cache, run.label('rare'), [])).toEqual({})
})

test('folds are fine-tuned one by one, and a row is there when all of them are', async () => {
  const { run, cache } = await smallRun('half', 20)
  await finetuneFold(run, 'half', 'finetune', 1)
  expect(keptFinetunes(cache, run.label('half'), [])).toEqual({})
  const [first, ...others] = await readdir(cache.folder)
  expect(others).toEqual([])
  await writeFile(join(cache.folder, first), JSON.stringify({ score: 10 }))
  for (const fold of [0, 1]) await finetuneFold(run, 'half', 'finetune', fold)
  const { mean } = keptFinetunes(cache, run.label('half'), [])['fine-tuned encoder'].all!
  expect(mean).toBeGreaterThanOrEqual(5)
  expect(mean).toBeLessThanOrEqual(5.5)
})

test('pre-training that another version began is given up, aloud', async () => {
  const source = smallSource()
  const device = openDevice()
  const out = temporaryFolder()
  const options = { width: 8, blocks: 1, heads: 1, epochs: 2, device, out }
  const controller = new AbortController()
  const cutOff = pretrain(source, {
    ...options,
    seed: 2,
    checkpointSeconds: 0,
    signal: controller.signal,
    onProgress: progress => {
      if (progress.phase === 'train' && progress.epoch === 1) controller.abort(new Error('cut off'))
    },
  })
  await expect(cutOff).rejects.toThrow('cut off')
  expect(await readdir(out)).toContain('checkpoint.safetensors')
  const said = vi.spyOn(console, 'error').mockImplementation(() => {})
  try {
    const { encoder, log } = await continuePretraining(source, options)
    encoder.dispose()
    expect(log.map(({ epoch }) => epoch)).toEqual([0, 1])
    expect(said.mock.calls).toEqual([[expect.stringContaining('begins anew')]])
  } finally {
    said.mockRestore()
  }
})

test('budgets: a tenth among them, none that is all, none with less than two labels of a class', () => {
  expect(budgetSizes(840, 2)).toEqual([50, 84, 200])
  expect(budgetSizes(24_000, 2)).toEqual([50, 200, 1000, 2400])
  expect(budgetSizes(50, 2)).toEqual([5])
  expect(budgetSizes(300, 40)).toEqual([200])
})

test('every part of a task but pre-training comes after what it needs', () => {
  const parts = partsOf([
    { name: 'x', folds: 2 },
    { name: 'y', folds: 3 },
  ])
  const names = parts.map(part => part.name)
  for (const { name, after } of parts) {
    expect(after.length > 0).toBe(!name.startsWith('pretrain:'))
    for (const before of after) expect(names.indexOf(before)).toBeLessThan(names.indexOf(name))
  }
  expect(names).toEqual(
    expect.arrayContaining([
      'tenth:x:fold0',
      'finetune:x:fold1',
      'supervised:y:fold2',
      'curve:x:fold0',
      'probe:y',
      'vectors:GRU',
      'vectors:untrained',
      'map',
    ]),
  )
  expect(names.filter(name => name.startsWith('curve:'))).toHaveLength(5)
})

test('parts run side by side, after what they need; a failure stops none of the others', async () => {
  const part = (name: string, isHeavy: boolean, after: readonly string[] = []) => ({ name, after, isHeavy })
  const parts = [part('later', false, ['heavy 1']), part('heavy 1', true), part('heavy 2', true), part('light', false)]
  const events: string[] = []
  const running = new Set<string>()
  let most = 0
  const failed = await runParts(
    ['a', 'b'].map(task => ({ task, parts })),
    {
      jobs: 3,
      heavyJobs: 1,
      onDone: text => events.push(text.replace(/: [\d.]+ s/, '')),
      run: async (task, name) => {
        if (name === 'later') expect(events.some(text => text.endsWith(`${task} heavy 1: failed`))).toBe(true)
        running.add(`${task} ${name}`)
        most = Math.max(most, running.size)
        expect([...running].filter(one => one.includes('heavy')).length).toBeLessThanOrEqual(1)
        await new Promise(resolve => setTimeout(resolve, 5))
        running.delete(`${task} ${name}`)
        return name !== 'heavy 1'
      },
    },
  )
  expect(failed.sort()).toEqual(['a heavy 1', 'b heavy 1'])
  expect(most).toBe(3)
  expect(events).toHaveLength(8)
  expect(events.at(-1)).toMatch(/^8\/8 /)
})

test('a part whose predecessor was not asked for runs', async () => {
  const ran: string[] = []
  const run = async (_: string, name: string) => ran.push(name) > 0
  const parts = [{ name: 'probe:x', after: ['pretrain:ours'], isHeavy: false }]
  expect(await runParts([{ task: 'a', parts }], { jobs: 2, heavyJobs: 1, run, onDone: () => {} })).toEqual([])
  expect(ran).toEqual(['probe:x'])
})

test('verdicts count labels and average differences, by hand', () => {
  const { better, of, mean, error } = compareRows(labels, ['vectors, linear'], ['untrained'])
  expect([better, of]).toEqual([1, 2])
  expect(mean).toBeCloseTo((0.03 - 0.01) / 2, 12)
  // Differences .03 and −.01: deviation .0283, over √2.
  expect(error).toBeCloseTo(0.02, 12)
  const tenth = compareRows(labels, ['fine-tuned encoder'], ['supervised encoder'], one => one.tenth)
  expect(tenth.mean).toBeCloseTo(0.1, 12)
  expect(compareRows(labels, ['vectors, linear'], ['nobody']).of).toBe(0)
  expect(verdicts(labels)).toContain(
    'Vectors beat those of an untrained encoder, both linear: on 1 of 2 labels, +1.0 ± 2.0 points on average.',
  )
  expect(verdicts(labels.slice(0, 1)).join()).not.toContain('NaN')
  expect(ablations(labels)).toMatchObject([{ name: 'no attention', comparison: { better: 1, of: 2 } }])
})

test('tables mark the best, and say what is not there yet', () => {
  const [first] = mainTable(labels, true).rows
  expect(first.filter(cell => cell.startsWith('*'))).toEqual(['*0.750 ± 0.010'])
  const { 'fine-tuned encoder': _, ...figures } = labels[0].figures
  expect(mainTable([{ ...labels[0], figures }]).rows[0].at(-1)).toBe('–')
  expect(budgetTable(labels).rows.map(row => row[2])).toEqual([
    '50',
    '80 (a tenth)',
    '200',
    '50',
    '80 (a tenth)',
    '200',
  ])
})

test('the page has a section for what was found and for each task', async () => {
  const log = [1, 2].map(epoch => ({
    epoch,
    heldOutLoss: 3 / epoch,
  })) as unknown as TaskResult['trainings'][string]['log']
  const result: TaskResult = {
    task: 'some task',
    labels,
    trainings: { ours: { log, seconds: 1 } },
    map: { label: 'a', points: [0, 1].map(value => ({ x: value, y: 1, value })) },
  }
  const html = await reportPage([result], 'here')
  for (const heading of ['What was found', 'All labels', 'Parts of the encoder', 'some task']) {
    expect(html).toContain(`>${heading}</h2>`)
  }
  // Few labels over all tasks; bars, a curve for each label, training, the map.
  expect(html.match(/<figure>/g)).toHaveLength(6)
  expect(html).not.toContain('NaN')
})
