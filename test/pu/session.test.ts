// Durable sessions: what they know survives being killed, cut, filled up and used twice at once.

import { execFile, execFileSync, spawn } from 'node:child_process'
import { mkdtempSync } from 'node:fs'
import { appendFile, cp, mkdtemp, readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises'
import { hostname, tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeEach, describe, expect, it } from 'vitest'
import { ActiveSession, type Answer, type PuTable, type SessionOptions, toLightgbm } from '../../lib/index.js'
import { openDevice } from '../support/devices.js'
import { knownOf, plantedTable } from '../support/pu_table.js'
import { TestRandom } from '../support/random.js'

const device = openDevice()
const ROWS = 600
const planted = plantedTable(ROWS, 9)
const names = planted.columns.map((_, f) => `x${f}`)
const table: PuTable = {
  id: 'account',
  ids: Array.from({ length: ROWS }, (_, row) => `u${row}`),
  layout: { names, levels: names.map(() => null) },
  columns: planted.columns,
  positives: knownOf(planted, 15),
}
const root = await mkdtemp(join(tmpdir(), 'seqrisk-session-'))
afterAll(() => rm(root, { recursive: true }))
let number = 0

async function begin(options: SessionOptions = {}): Promise<string> {
  const folder = join(root, `s${number++}`)
  await ActiveSession.init(folder, table, device, { batch: 8, ...options })
  return folder
}

async function inSession<T>(folder: string, work: (session: ActiveSession) => Promise<T>): Promise<T> {
  const session = await ActiveSession.open(folder)
  try {
    return await work(session)
  } finally {
    await session.close()
  }
}

const truthOf = (id: string): Answer => (planted.truth[Number(id.slice(1))] ? 1 : 0)
const said = (ids: readonly string[], of = truthOf) => new Map(ids.map(id => [id, of(id)]))
const askAndAnswer = (folder: string) =>
  inSession(folder, async session => {
    const { ids } = await session.ask(device)
    await session.answer(said(ids))
    return ids
  })
const modelOf = (folder: string) => inSession(folder, async session => toLightgbm((await session.learn(device)).model))

describe('a session', () => {
  it('asks, records, and gives the same model from the same log', async () => {
    const folder = await begin()
    const first = await askAndAnswer(folder)
    const second = await askAndAnswer(folder)
    expect(new Set([...first, ...second]).size).toBe(16)
    const status = await inSession(folder, async session => session.status())
    expect(status).toMatchObject({ rows: ROWS, known: 15, rounds: 2, pending: 0, stopped: null, entries: 4 })
    expect(status.history[0].drift).toBeGreaterThan(0)
    const model = await modelOf(folder)
    // A copy without what is kept for speed alone learns the same.
    const copy = join(root, 'copy')
    await cp(folder, copy, { recursive: true })
    await rm(join(copy, 'scores.f64'))
    expect(await modelOf(copy)).toBe(model)
    const [here, there] = [await askAndAnswer(folder), await askAndAnswer(copy)]
    expect(there).toEqual(here)
    expect(await readFile(join(copy, 'log.jsonl'), 'utf8')).toBe(await readFile(join(folder, 'log.jsonl'), 'utf8'))
  })

  it('asks for the same rows until they are answered', async () => {
    const folder = await begin()
    const asked = await inSession(folder, session => session.ask(device))
    expect(asked.values).toHaveLength(8 * names.length)
    const rowOf = (id: string) => Number(id.slice(1))
    asked.ids.forEach((id, i) => {
      expect(asked.values[i * names.length + 3]).toBe(planted.columns[3][rowOf(id)])
    })
    await inSession(folder, session => session.answer(said(asked.ids.slice(0, 3))))
    const left = await inSession(folder, session => session.ask(device))
    expect([...left.ids].sort()).toEqual(asked.ids.slice(3).sort())
  })

  it('takes answers back, as many as came at once', async () => {
    const folder = await begin()
    await askAndAnswer(folder)
    const before = await modelOf(folder)
    const ids = await askAndAnswer(folder)
    expect(await modelOf(folder)).not.toBe(before)
    const { undone, ids: back } = await inSession(folder, session => session.undo())
    expect([undone, [...back].sort()]).toEqual([8, [...ids].sort()])
    expect(await modelOf(folder)).toBe(before)
    const again = await inSession(folder, session => session.ask(device))
    expect([...again.ids].sort()).toEqual([...ids].sort())
    await inSession(folder, session => session.answer(said(again.ids, () => 'unsure')))
    await inSession(folder, session => session.undo())
    await inSession(folder, session => session.undo())
    await expect(inSession(folder, session => session.undo())).rejects.toMatchObject({ code: 'NOTHING_TO_UNDO' })
  })

  it('refuses what cannot be, and records nothing of it', async () => {
    const folder = await begin()
    const { ids } = await inSession(folder, session => session.ask(device))
    const answer = (entries: [string, unknown][]) =>
      inSession(folder, session => session.answer(new Map(entries) as Map<string, Answer>))
    await expect(
      answer([
        [ids[0], 1],
        ['nobody', 1],
      ]),
    ).rejects.toMatchObject({ code: 'UNKNOWN_ID' })
    await expect(
      answer([
        [ids[0], 1],
        [ids[1], 2],
      ]),
    ).rejects.toMatchObject({ code: 'ANSWER_INVALID' })
    const other = table.ids.find(id => !ids.includes(id))!
    await expect(
      answer([
        [ids[0], 1],
        [other, 1],
      ]),
    ).rejects.toMatchObject({ code: 'NOT_ASKED' })
    expect((await inSession(folder, async session => session.status())).pending).toBe(8)
    expect(await answer([[ids[0], 1]])).toEqual({ recorded: 1, repeated: 0 })
    expect(await answer([[ids[0], 1]])).toEqual({ recorded: 0, repeated: 1 })
    await expect(answer([[ids[0], 0]])).rejects.toMatchObject({ code: 'ANSWERED', message: /undo that first/ })
  })

  it('stops by a rule, says why, and goes on when told to', async () => {
    const folder = await begin({ rules: { budget: 12 } })
    expect((await askAndAnswer(folder)).length).toBe(8)
    expect((await askAndAnswer(folder)).length).toBe(4)
    const asked = await inSession(folder, session => session.ask(device))
    expect(asked).toMatchObject({ ids: [], reason: 'budget: 12 answers of 12' })
    await inSession(folder, session => session.ask(device))
    const { stopped, entries } = await inSession(folder, async session => session.status())
    expect([stopped, entries]).toEqual(['budget: 12 answers of 12', 5])
    expect((await inSession(folder, session => session.ask(device, { anyway: true }))).ids).toHaveLength(8)
  })

  it('learns by forests, and believes answers of 0 where asked to', async () => {
    const forest = await begin({ learner: 'forest' })
    await askAndAnswer(forest)
    expect(await modelOf(forest)).toContain('average_output')
    const [lu, pu] = [await begin({ setting: 'lu' }), await begin()]
    expect(await askAndAnswer(lu)).toEqual(await askAndAnswer(pu))
    expect(await modelOf(lu)).not.toBe(await modelOf(pu))
  })

  it('begins once, in a folder of its own, with what a session needs', async () => {
    const folder = await begin()
    const init = (where: string, own: PuTable = table, options: SessionOptions = {}) =>
      ActiveSession.init(where, own, device, options)
    await expect(init(folder)).rejects.toMatchObject({ code: 'SESSION_EXISTS' })
    const busy = join(root, `s${number++}`)
    await writeFile(busy, '')
    await expect(init(busy)).rejects.toMatchObject({ code: 'WRITE_FAILED' })
    await expect(init(root)).rejects.toMatchObject({ code: 'FOLDER_NOT_EMPTY' })
    const none = { ...table, positives: new Uint8Array(ROWS) }
    await expect(init(join(root, `s${number++}`), none)).rejects.toMatchObject({ code: 'NO_POSITIVES' })
    const label = { ...table, layout: { ...table.layout, names: ['label', ...names.slice(1)] } }
    await expect(init(join(root, `s${number++}`), label)).rejects.toMatchObject({ code: 'COLUMN_TWICE' })
    await expect(init(join(root, `s${number++}`), table, { batch: 0 })).rejects.toThrow(/batch to be/)
    await expect(ActiveSession.open(join(root, 'nowhere'))).rejects.toMatchObject({ code: 'NO_SESSION' })
  })
})

describe('a log that was changed', () => {
  let folder = ''
  const log = () => join(folder, 'log.jsonl')
  beforeEach(async () => {
    folder = await begin()
    await askAndAnswer(folder)
    await askAndAnswer(folder)
  })
  const open = () => inSession(folder, async session => session.status())
  const damaged = { code: 'LOG_DAMAGED', message: expect.stringMatching(/restore the folder from a copy/) }

  it('half a line at its end was never acknowledged: it is cut off', async () => {
    const before = await readFile(log(), 'utf8')
    for (const rest of ['{"kind":"undo"', '{"kind":"undo","entry":1}\tno checksum\n', '\u0000\u0000']) {
      await appendFile(log(), rest)
      expect((await open()).entries).toBe(4)
      expect(await readFile(log(), 'utf8')).toBe(before)
    }
  })

  it('an answer that was edited is found out, in every line', async () => {
    const text = await readFile(log(), 'utf8')
    const lines = text.split('\n')
    for (let i = 0; i < 4; i++) {
      const edited = lines.with(
        i,
        lines[i].replace(/\d/, digit => String((Number(digit) + 1) % 10)),
      )
      await writeFile(log(), edited.join('\n'))
      await expect(open()).rejects.toMatchObject(damaged)
    }
    await writeFile(log(), text)
    expect((await open()).entries).toBe(4)
  })

  it('a log that was cut or lost lines is found out, at every byte', async () => {
    const text = await readFile(log())
    for (let bytes = 0; bytes < text.length; bytes += 37) {
      await writeFile(log(), text)
      await truncate(log(), bytes)
      await expect(open()).rejects.toMatchObject(damaged)
    }
    const lines = text.toString().split('\n')
    await writeFile(log(), [...lines.slice(0, 1), ...lines.slice(2)].join('\n'))
    await expect(open()).rejects.toMatchObject(damaged)
    await rm(log())
    await expect(open()).rejects.toMatchObject(damaged)
  })

  it('so are settings, ids and positives of other bytes', async () => {
    for (const name of ['session.json', 'ids.json', 'positives.u8', 'unusual.f64', 'head.json']) {
      const path = join(folder, name)
      const bytes = await readFile(path)
      const changed = Buffer.from(bytes)
      const at = name === 'session.json' ? bytes.indexOf('"seed": 0') + 8 : name === 'head.json' ? 11 : 5
      changed[at] ^= 1
      await writeFile(path, changed)
      await expect(
        inSession(folder, async session => {
          await session.ids()
          await session.learn(device)
        }),
      ).rejects.toMatchObject({ code: expect.stringMatching(/^(LOG|SESSION)_DAMAGED$/) })
      await writeFile(path, bytes)
    }
    expect((await open()).entries).toBe(4)
  })
})

describe('two processes', () => {
  it('the second gets a clear error; a lock of the dead is taken over', async () => {
    const folder = await begin()
    const first = await ActiveSession.open(folder)
    await expect(ActiveSession.open(folder)).rejects.toMatchObject({
      code: 'SESSION_BUSY',
      message: expect.stringMatching(/in use by process \d+ on .*; wait for it/),
    })
    await first.close()
    await inSession(folder, async () => {})
    // Process numbers come back: the start of the process decides.
    const own = JSON.parse(await heldBy(folder)) as object
    await writeFile(join(folder, 'lock'), JSON.stringify({ ...own, started: '1' }))
    await inSession(folder, async () => {})
    await writeFile(join(folder, 'lock'), 'half a lo')
    await inSession(folder, async () => {})
    await writeFile(join(folder, 'lock'), JSON.stringify({ ...own, host: 'elsewhere' }))
    await expect(ActiveSession.open(folder)).rejects.toMatchObject({ code: 'SESSION_BUSY' })
    await rm(join(folder, 'lock'))
    expect((await readdir(folder)).filter(name => name.includes('lock'))).toEqual([])
  })

  const heldBy = (folder: string) => inSession(folder, () => readFile(join(folder, 'lock'), 'utf8'))

  it('of many that open a session at once one gets in', async () => {
    const folder = await begin()
    await writeFile(join(folder, 'lock'), JSON.stringify({ pid: 2 ** 22 + 1, started: '', host: hostname() }))
    const opened = await Promise.allSettled(Array.from({ length: 8 }, () => ActiveSession.open(folder)))
    const inside = opened.flatMap(one => (one.status === 'fulfilled' ? [one.value] : []))
    expect(inside).toHaveLength(1)
    await inside[0].close()
  })
})

describe('killed', () => {
  const child = fileURLToPath(new URL('./session_child.ts', import.meta.url))
  const ROUNDS = 30
  /** Twenty in a normal run; KILLS=200 for the long one. */
  const kills = Number(process.env.KILLS ?? 20)

  /** Runs the script until it is done or killed, some milliseconds after it began. */
  function run(
    folder: string,
    killAfter: number | null,
  ): Promise<{ isDone: boolean; acknowledged: string[]; errors: string }> {
    const process_ = spawn(process.execPath, ['--import', 'tsx', child, folder, String(ROUNDS)], {
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    const acknowledged: string[] = []
    let [isDone, errors] = [false, '']
    process_.stderr.on('data', chunk => {
      errors += chunk
    })
    createInterface({ input: process_.stdout }).on('line', line => {
      if (line === 'ready' && killAfter !== null) setTimeout(() => process_.kill('SIGKILL'), killAfter)
      if (line === 'done') isDone = true
      if (line.startsWith('ack ')) acknowledged.push(...line.slice(4).split(' '))
    })
    return new Promise(resolve => process_.on('close', () => resolve({ isDone, acknowledged, errors })))
  }

  it(`at ${kills} random moments: no answer lost, none doubled, the same model`, { timeout: 30 * 60_000 }, async () => {
    const options = { batch: 6, rules: {} }
    const whole = await begin(options)
    const begun = performance.now()
    expect(await run(whole, null)).toMatchObject({ isDone: true, errors: '' })
    const took = performance.now() - begun
    const random = new TestRandom(kills)
    let done = 0
    let sessions = 0
    while (done < kills) {
      const folder = await begin(options)
      sessions++
      const acknowledged = new Set<string>()
      for (;;) {
        const isLast = done >= kills
        const outcome = await run(folder, isLast ? null : random.next() * took * 0.2)
        expect(outcome.errors).toBe('')
        for (const id of outcome.acknowledged) {
          expect(acknowledged.has(id), `${id} twice`).toBe(false)
          acknowledged.add(id)
        }
        if (outcome.isDone) break
        done++
      }
      const entries = (await readFile(join(folder, 'log.jsonl'), 'utf8')).trimEnd().split('\n')
      const answered = entries.flatMap(line => {
        const entry = JSON.parse(line.split('\t')[0]) as { kind: string; rows: number[] }
        return entry.kind === 'answer' ? entry.rows.map(row => `u${row}`) : []
      })
      expect(new Set(answered).size).toBe(answered.length)
      expect(answered).toHaveLength(6 * ROUNDS)
      for (const id of acknowledged) expect(answered).toContain(id)
      expect(await modelOf(folder)).toBe(await modelOf(whole))
    }
    if (kills > 20)
      console.log(`${done} kills over ${sessions} sessions of ${6 * ROUNDS} answers: all there, once, same model`)
  })
})

describe('a full disk', () => {
  const disk = mountDisk()
  afterAll(() => {
    if (disk) execFileSync('umount', [disk])
  })

  /** An empty disk of a megabyte; null without the right to mount one. */
  function mountDisk(): string | null {
    const folder = mkdtempSync(join(tmpdir(), 'seqrisk-disk-'))
    try {
      execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', folder], { stdio: 'ignore' })
      return folder
    } catch {
      return null
    }
  }

  it.skipIf(disk === null)(
    '(skipped without the right to mount one): a clear error, and the session goes on later',
    async () => {
      const folder = join(disk!, 'session')
      await ActiveSession.init(folder, table, device, { batch: 8 })
      await askAndAnswer(folder)
      const { ids } = await inSession(folder, session => session.ask(device))
      const full = { code: 'WRITE_FAILED', message: expect.stringMatching(/a full disk; free some space/) }
      const session = await ActiveSession.open(folder)
      const filler = join(disk!, 'filler')
      await writeFile(filler, Buffer.alloc(1 << 20)).catch(() => {})
      await appendFile(filler, Buffer.alloc(4096)).catch(() => {})
      const before = await readFile(join(folder, 'log.jsonl'), 'utf8')
      await expect(session.answer(said(ids))).rejects.toMatchObject(full)
      await session.close()
      expect(await readFile(join(folder, 'log.jsonl'), 'utf8')).toBe(before)
      // The lock that was released left room for another one: opening may work, answering does not.
      await expect(inSession(folder, one => one.answer(said(ids)))).rejects.toMatchObject(full)
      expect(await readFile(join(folder, 'log.jsonl'), 'utf8')).toBe(before)
      await rm(filler)
      await inSession(folder, session => session.answer(said(ids)))
      expect((await inSession(folder, async session => session.status())).answers.positives).toBeGreaterThanOrEqual(0)
      const big = { ...table, columns: table.columns.map(() => new Float64Array(ROWS)) }
      await writeFile(filler, Buffer.alloc(1 << 20)).catch(() => {})
      await expect(ActiveSession.init(join(disk!, 'other'), big, device)).rejects.toMatchObject(full)
    },
  )
})

describe('seqrisk active', () => {
  const main = fileURLToPath(new URL('../../lib/cli/main.ts', import.meta.url))
  const seqrisk = (...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> =>
    new Promise(resolve => {
      execFile(process.execPath, ['--import', 'tsx', main, ...args], (error, stdout, stderr) => {
        resolve({ code: error ? Number(error.code) : 0, stdout, stderr })
      })
    })

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
    expect((await seqrisk('active', 'ask', ...session, '--out', at('batch.csv'), '--json')).code).toBe(0)
    const [head, ...lines] = (await readFile(at('batch.csv'), 'utf8')).trimEnd().split('\n')
    expect(head).toBe('account,a,b,job,label')
    expect(lines).toHaveLength(5)
    for (const line of lines) expect(line).toMatch(/^u\d+,-?\d.*,(clerk|"nurse, retired"|pilot),$/)
    const labels = ['1', '0', 'unsure', '', '0']
    await writeFile(at('labelled.csv'), [head, ...lines.map((line, i) => line + labels[i])].join('\n'))
    const answered = await seqrisk('active', 'answer', ...session, '--in', at('labelled.csv'), '--json')
    expect(JSON.parse(answered.stdout)).toEqual({ recorded: 4, repeated: 0, pending: 1 })
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
