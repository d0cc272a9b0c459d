// The tutorial and the recipes, run as they stand by a package that is installed, on a small data set; only training is told to
// end soon. Their programs must also suit the types of the package.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { cp, mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import ts from 'typescript'
import { beforeAll, describe, expect, it } from 'vitest'
import { commands } from '../../lib/cli/commands/index.js'
import { demoSchema } from '../../lib/demo/generator.js'
import { writeDemo } from '../../lib/demo/write.js'
import { temporaryFolder } from '../support/folder.js'
import { execute, root, unpackPackage } from '../support/package.js'
import { type Block, blocksOf } from './blocks.js'

const folder = temporaryFolder()
const at = (name: string) => join(folder, name)

const SMALL: Readonly<Record<string, readonly string[]>> = {
  pretrain: ['--width', '16', '--blocks', '1', '--heads', '2', '--epochs', '2', '--batch-events', '1024'],
  finetune: ['--epochs', '1', '--validation', '0.2'],
}

beforeAll(async () => {
  await writeDemo(folder, { users: 150 })
  await unpackPackage(folder, ['@duckdb/node-api', '@types/node'])
  await writeFile(at('package.json'), JSON.stringify({ type: 'module' }))
  await cp(at('events.csv'), at('today.csv'))
  await rm(at('schema.json'))
  // Accounts with a known positive here and there.
  const accounts = Array.from({ length: 300 }, (_, i) => `a${i},${Number(i % 25 === 0)},${(i * 37) % 101},${i % 25}`)
  await writeFile(at('accounts.csv'), `${['user_id,known,transfers,age', ...accounts].join('\n')}\n`)
  const loans = Array.from({ length: 300 }, (_, i) => `l${i},${['car', 'house', ''][i % 3]},${(i * 37) % 101},${i % 2}`)
  for (const name of ['loans.csv', 'new-loans.csv']) {
    await writeFile(at(name), `${['id,purpose,amount,default', ...loans].join('\n')}\n`)
  }
  await mkdir(at('events'))
  const { DuckDBInstance } = createRequire(import.meta.url)('@duckdb/node-api') as typeof import('@duckdb/node-api')
  const connection = await (await DuckDBInstance.create(':memory:')).connect()
  await connection.run(`COPY (FROM '${at('events.csv')}') TO '${at('events/part.parquet')}' (FORMAT parquet)`)
  connection.closeSync()
}, 120_000)

/** What a reader does by hand: experts answer, every second with a yes. */
async function fillIn(): Promise<void> {
  const [head, ...rows] = (await readFile(at('questions.csv'), 'utf8')).trim().split('\n')
  const label = head.split(',').indexOf('label')
  const filled = rows.map((row, i) =>
    row
      .split(',')
      .with(label, String(i % 2))
      .join(','),
  )
  await writeFile(at('questions.csv'), `${[head, ...filled].join('\n')}\n`)
}

/** Node 20 knows no types. */
const compiled = (file: string) => file.replace(/ts$/, 'js')

async function run(words: readonly string[]): Promise<void> {
  const [name, ...rest] = words
  const main = join('node_modules', 'seqrisk', 'dist', 'lib', 'cli', 'main.js')
  const args = name === 'seqrisk' ? [main, ...rest, ...(SMALL[rest[0]] ?? [])] : rest.map(compiled)
  await execute(process.execPath, args, { cwd: folder })
}

async function runBlock({ language, file, text }: Block): Promise<void> {
  if (file !== null) await writeFile(at(file), text)
  if (language === 'ts') {
    const compilerOptions = { module: ts.ModuleKind.ESNext, target: ts.ScriptTarget.ES2022 }
    await writeFile(at(compiled(file!)), ts.transpileModule(text, { compilerOptions }).outputText)
    if (file !== 'server.ts' && file !== 'daily.ts') await run(['node', file!])
  }
  if (language === 'js') await run(['node', file!])
  if (language !== 'sh') return
  for (const line of text.trim().split('\n')) {
    const words = line
      .replace(/^npx /, '')
      .split(/\s+/)
      .map(word => word.replace(/^'(.*)'$/, '$1'))
    if (words[2] === 'answer') await fillIn()
    await run(words)
  }
}

const tutorial = blocksOf('tutorial.md')
const recipes = blocksOf('recipes.md')
const title = ({ language, file, text }: Block) =>
  file ?? (language === 'sh' ? text.split('\n')[0].slice(0, 60) : language)
const runs = (blocks: readonly Block[]) => blocks.map(block => [title(block), block] as const)

describe('the tutorial', () => {
  it('has the schema of the data that it runs on', () => {
    expect(JSON.parse(tutorial.find(({ file }) => file === 'schema.json')!.text)).toEqual(demoSchema)
  })

  it.each(runs(tutorial))('%s', async (_, block) => {
    await runBlock(block)
  })

  it('ends in a score of every user', async () => {
    const scores = (await readFile(at('scores-2024-07-01.csv'), 'utf8')).trim().split('\n')
    expect(scores[0]).toBe('user_id,score')
    expect(scores).toHaveLength(151)
    for (const line of scores.slice(1)) expect(Number(line.split(',')[1])).toBeGreaterThan(0)
  })
})

describe('the recipes', () => {
  it.each(runs(recipes))('%s', async (_, block) => {
    await runBlock(block)
  })

  it('the web server: together and alone the same vectors', async () => {
    const port = 20_000 + (process.pid % 20_000)
    const server = spawn(process.execPath, ['server.js'], {
      cwd: folder,
      env: { ...process.env, PORT: String(port) },
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    try {
      expect(String((await once(server.stdout!, 'data'))[0])).toContain('ready')
      const events = (user: number) =>
        Array.from({ length: 1 + user }, (_, i) => ({
          time: `2024-05-0${1 + i}T12:00:00Z`,
          event: i % 2 ? 'login' : 'payment',
        }))
      const ask = async (body: unknown) => {
        const response = await fetch(`http://127.0.0.1:${port}`, { method: 'POST', body: JSON.stringify(body) })
        return { status: response.status, text: await response.text() }
      }
      const together = await Promise.all([0, 1, 2, 3, 4].map(user => ask(events(user))))
      for (const [user, { status, text }] of together.entries()) {
        expect(status, text).toBe(200)
        expect(JSON.parse(text)).toHaveLength(96)
        // Ages count back from the present, which moves on: but all are beyond what the encoder was trained on, hence alike.
        expect((await ask(events(user))).text).toBe(text)
      }
      expect(new Set(together.map(({ text }) => text)).size).toBe(5)
      expect((await ask([])).status).toBe(400)
    } finally {
      server.kill('SIGTERM')
      expect(await once(server, 'exit')).toEqual([0, null])
    }
  })
})

describe('their programs', () => {
  it('suit the types of the package', async () => {
    const programs = [...tutorial, ...recipes].filter(({ language }) => language === 'ts').map(({ file }) => file!)
    expect(programs.length).toBeGreaterThan(5)
    const tsc = join(root, 'node_modules', 'typescript', 'bin', 'tsc')
    const options = [
      '--noEmit',
      '--strict',
      '--exactOptionalPropertyTypes',
      '--noUncheckedIndexedAccess',
      '--module',
      'nodenext',
      '--target',
      'es2022',
      '--types',
      'node',
      '--skipLibCheck',
    ]
    await execute(process.execPath, [tsc, ...options, ...programs], { cwd: folder })
  })
})

describe('the README', () => {
  it('names commands that there are', async () => {
    const text = await readFile(new URL('../../README.md', import.meta.url), 'utf8')
    const named = [...text.matchAll(/^seqrisk ((?:[a-z]+ ?)+?) +--/gm)].map(([, name]) => name.trim())
    expect(named.length).toBeGreaterThan(8)
    for (const name of named) expect(commands.map(command => command.name)).toContain(name)
  })
})
