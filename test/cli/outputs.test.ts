import { mkdir, realpath, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { UsageError } from '../../lib/cli/command.js'
import { commands } from '../../lib/cli/commands/index.js'
import { checkOutputs } from '../../lib/cli/outputs.js'
import { temporaryFolder } from '../support/folder.js'

const folder = await realpath(temporaryFolder())
const at = (name: string) => join(folder, name)
await writeFile(at('file'), '')
await mkdir(at('folder'))
await mkdir(at('folder.csv'))
await symlink(at('file'), at('link'))
const check = (name: string, values: object) =>
  checkOutputs(commands.find(command => command.name === name)!, values as Record<string, unknown>)

describe('what a command writes', () => {
  it('is known of every option that names it', () => {
    const named = commands.flatMap(({ name, options }) =>
      Object.entries(options).flatMap(([option, { writes }]) => {
        const isOutput =
          ['out', 'onnx', 'plot', 'shap', 'save-plan'].includes(option) ||
          ['gbrt fit --model', 'active init --session'].includes(`${name} --${option}`)
        expect({ name, option, isOutput }).toEqual({ name, option, isOutput: writes !== undefined })
        return isOutput ? [`${name} --${option}`] : []
      }),
    )
    expect(named).toHaveLength(17)
  })

  it.each([
    ['score', 'out', '/dev/shm/s.txt', 'one of .csv, .csv.gz, .parquet, .pq'],
    ['score', 'out', 's.txt', 'one of .csv, .csv.gz, .parquet, .pq'],
    ['aggregate', 'out', 'csv', 'one of .csv, .csv.gz, .parquet, .pq'],
    ['map', 'out', 'x.png', 'one of .csv, .csv.gz, .parquet, .pq, .svg'],
    ['bands', 'plot', 'x.csv', '.svg'],
    ['gbrt predict', 'shap', 'x.jsonl', 'one of .csv, .csv.gz, .parquet, .pq'],
    ['active ask', 'out', 'x.csv.gz', '.csv'],
  ])('has an ending that says its format: %s --%s %s', async (name, option, path, endings) => {
    const refused = check(name, { [option]: path })
    await expect(refused).rejects.toThrow(UsageError)
    await expect(refused).rejects.toThrow(`expected --${option} to end in ${endings} but received '${path}'`)
  })

  it.each([
    ['score', 'folder.csv', `a file at ${at('folder.csv')} but received 'a folder'`],
    ['score', 'file/s.csv', `a folder at ${at('file')} but received 'a file'`],
    ['score', 'file/deep/er/s.csv', `a folder at ${at('file')} but received 'a file'`],
    ['pretrain', 'file', `a folder at ${at('file')} but received 'a file'`],
    ['pretrain', 'link', `a folder at ${at('file')} but received 'a file'`],
  ])('has a place that can be: %s --out %s', async (name, path, message) => {
    const refused = check(name, { out: at(path) })
    await expect(refused).rejects.toMatchObject({ code: 'WRITE_FAILED' })
    await expect(refused).rejects.toThrow(`[files] expected ${message}; name another place`)
  })

  it.each([
    ['score', '/dev/stdout'],
    ['score', '/tmp/../dev/stdout'],
    ['score', at('a/b/s.CSV')],
    ['map', at('x.svg')],
    ['pretrain', at('folder')],
    ['pretrain', at('new/model')],
    ['pretrain', 'relative'],
  ])('may be new, or what the system has open: %s --out %s', async (name, out) => {
    await check(name, { out })
  })

  // Root may write everywhere.
  it.skipIf(process.getuid?.() === 0)('has a folder with the right to write', async () => {
    await mkdir(at('locked'), { mode: 0o500 })
    await expect(check('score', { out: at('locked/s.csv') })).rejects.toThrow(/received no right to; check the folder/)
  })
})
