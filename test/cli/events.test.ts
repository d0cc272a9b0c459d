// --memory-limit and --threads: every command that reads events hands them to the reader.

import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeEach, expect, it, vi } from 'vitest'
import { parseCommand } from '../../lib/cli/command.js'
import { commands } from '../../lib/cli/commands/index.js'
import { writeDemo } from '../../lib/demo/write.js'
import { Database } from '../../lib/events/duckdb.js'

const folder = await mkdtemp(join(tmpdir(), 'seqrisk-events-'))
const at = (name: string) => join(folder, name)
afterAll(() => rm(folder, { recursive: true }))

const files = await writeDemo(folder, { users: 60 })
const opened = vi.spyOn(Database, 'open')
beforeEach(() => opened.mockClear())

async function run(name: string, ...args: string[]): Promise<void> {
  const command = commands.find(one => one.name === name)!
  const own = ['--events', files.events, '--out', at(`${name}.out.csv`), '--memory-limit', '321MB', '--threads', '2']
  const { values, help, ...context } = parseCommand(command, [...own, ...args, '--json'])
  await command.run(values, { ...context, signal: new AbortController().signal })
}

const labels = ['--labels', files.labels, '--id', 'user_id', '--label', 'type']

/** Some read what an earlier one wrote. */
const reading: [string, string[]][] = [
  ['pretrain', ['--schema', files.schema, '--width', '4', '--heads', '1', '--blocks', '1', '--epochs', '1']],
  ['encode', ['--model', at('pretrain.out.csv')]],
  ['aggregate', ['--schema', files.schema]],
  ['finetune', ['--model', at('pretrain.out.csv'), ...labels, '--epochs', '1', '--validation', '0']],
  ['score', ['--model', at('finetune.out.csv')]],
]

it.each(reading)('%s reads events with so much memory', async (name, args) => {
  await run(name, ...args)
  const readers = opened.mock.calls.filter(([where]) => where === 'readEvents')
  expect(readers.map(([, options]) => options)).toEqual([{ memoryLimit: '321MB', threads: 2 }])
})

it('knows all commands that read events', () => {
  const found = commands.filter(({ options }) => 'events' in options).map(({ name }) => name)
  expect(found.sort()).toEqual(reading.map(([name]) => name).sort())
})
