// --threads and --memory-limit: every command hands them to whatever reads a file.

import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { beforeAll, beforeEach, expect, it, vi } from 'vitest'
import { parseCommand } from '../../lib/cli/command.js'
import { commands } from '../../lib/cli/commands/index.js'
import { writeDemo } from '../../lib/demo/write.js'
import { Database } from '../../lib/events/duckdb.js'
import { temporaryFolder } from '../support/folder.js'

const folder = temporaryFolder()
const at = (name: string) => join(folder, name)

const files = await writeDemo(folder, { users: 60 })
const opened = vi.spyOn(Database, 'open')
beforeEach(() => opened.mockClear())

async function run(name: string, ...args: string[]): Promise<void> {
  const command = commands.find(one => one.name === name)!
  const limit = 'memory-limit' in command.options ? ['--memory-limit', '321MB'] : []
  const { values, help, ...context } = parseCommand(command, [...args, ...limit, '--threads', '2', '--json'])
  await command.run(values, { ...context, signal: new AbortController().signal })
}

const onEvents = ['--events', files.events]
const ofUsers = ['--id', 'user_id', '--label', 'type']
const table = ['--table', at('table.csv')]
const known = ['--id', 'row', '--positive', 'known']

beforeAll(async () => {
  const rows = Array.from({ length: 60 }, (_, row) => [`r${row}`, row % 7, row / 60, Number(row % 3 === 0), row % 2])
  const lines = [['row', 'x', 'score', 'known', 'target'], ...rows].map(cells => cells.join(','))
  await writeFile(at('table.csv'), lines.join('\n'))
  await writeFile(at('answers.csv'), 'row,label\n')
  await writeFile(at('asked.csv'), 'row,label\n')
})

/** Commands with the number of files that they read; some read what an earlier one wrote. */
const reading: [string, number, string[]][] = [
  [
    'pretrain',
    1,
    [
      ...[...onEvents, '--schema', files.schema, '--out', at('model'), '--width', '4', '--heads', '1'],
      ...['--blocks', '1', '--epochs', '1'],
    ],
  ],
  ['encode', 1, ['--model', at('model'), ...onEvents, '--out', at('vectors.csv')]],
  ['aggregate', 1, [...onEvents, '--schema', files.schema, '--out', at('features.csv')]],
  [
    'probe',
    3,
    ['--vectors', at('vectors.csv'), '--features', at('features.csv'), '--labels', files.labels, ...ofUsers],
  ],
  [
    'finetune',
    2,
    [
      ...['--model', at('model'), ...onEvents, '--labels', files.labels, ...ofUsers, '--out', at('tuned')],
      ...['--epochs', '1', '--validation', '0'],
    ],
  ],
  ['score', 1, ['--model', at('tuned'), ...onEvents, '--out', at('scores.csv')]],
  ['map', 2, ['--vectors', at('vectors.csv'), '--labels', files.labels, '--label', 'type', '--out', at('map.svg')]],
  ['analogy', 2, ['--vectors', at('vectors.csv'), '--a', 'u00', '--b', 'u01', '--c', 'u02']],
  [
    'gbrt fit',
    2,
    [
      ...[...table, '--valid', at('table.csv'), '--target', 'target', '--drop', 'row', '--num-iterations', '2'],
      ...['--model', at('trees.txt')],
    ],
  ],
  ['gbrt predict', 1, [...table, '--model', at('trees.txt'), '--out', at('predicted.csv')]],
  ['iforest', 1, [...table, '--drop', 'row', '--trees', '2', '--out', at('unusual.csv')]],
  ['pu', 1, [...table, ...known, '--trees', '2', '--rounds', '1,1', '--out', at('pu')]],
  ['active init', 1, [...table, ...known, '--session', at('session')]],
  ['active ask', 1, ['--session', at('session'), '--out', at('asked.csv')]],
  ['active answer', 1, ['--session', at('session'), '--in', at('answers.csv')]],
  ['bands', 2, ['--scores', at('table.csv'), '--labels', at('table.csv'), '--id', 'row', '--label', 'target']],
]

it.each(reading)('%s reads with so many threads, and events with so much memory', async (name, count, args) => {
  await run(name, ...args)
  const calls = opened.mock.calls.map(([where, options]) => ({ where, ...options }))
  expect(calls.map(({ threads }) => threads)).toEqual(new Array(count).fill(2))
  const readers = calls.filter(({ where }) => where === 'readEvents')
  const readsEvents = 'events' in commands.find(one => one.name === name)!.options
  expect(readers.map(({ memoryLimit }) => memoryLimit)).toEqual(readsEvents ? ['321MB'] : [])
})

it('knows all commands that read files of rows', () => {
  const others = commands.map(({ name }) => name).filter(name => !reading.some(([one]) => one === name))
  expect(others).toEqual([...['export', 'bench', 'gbrt importance', 'active status', 'active undo', 'active export']])
})
