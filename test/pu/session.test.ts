// Durable sessions: what they know survives being cut, edited, filled up and used twice at once.

import { appendFile, cp, readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { beforeEach, describe, expect, it } from 'vitest'
import { ActiveSession, type Answer, type Asked, Device, type PuTable, type SessionOptions } from '../../lib/index.js'
import { mountDisk } from '../support/disk.js'
import { inSession, names, planted, ROWS, said, sessionRoom, table } from '../support/sessions.js'

const { device, root, fresh, begin, askAndAnswer, modelOf } = sessionRoom()

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

  it('asks and learns with any seed that init takes, and with another one asks about other rows', async () => {
    const asked = async (seed: number) => {
      const folder = await begin({ seed, sampler: 'random' })
      const first = await askAndAnswer(folder)
      return { first, second: await askAndAnswer(folder), model: await modelOf(folder) }
    }
    const last = await asked(Number.MAX_SAFE_INTEGER)
    expect(last.second).toHaveLength(8)
    expect(await asked(Number.MAX_SAFE_INTEGER)).toEqual(last)
    const [zero, one] = [await asked(0), await asked(1)]
    expect(new Set([zero, one, last].flatMap(({ first, second }) => [first.join(), second.join()])).size).toBe(6)
    // Nearly all of a batch would come again if a round of one seed were the next round of another.
    expect(zero.second.filter(id => one.first.includes(id)).length).toBeLessThan(4)
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
    expect(await inSession(folder, session => session.answers())).toEqual(said(asked.ids.slice(0, 3)))
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

  it('calls that overlap wait for each other, and a failing one harms none', async () => {
    const folder = await begin()
    const asked = await inSession(folder, async session => {
      const { ids } = await session.ask(device)
      const both = [session.answer(said(ids.slice(0, 3))), session.answer(said(ids.slice(3, 6)))]
      expect(await Promise.all(both)).toEqual([
        { recorded: 3, repeated: 0 },
        { recorded: 3, repeated: 0 },
      ])
      return ids
    })
    const calls = await inSession(folder, session =>
      Promise.allSettled([
        session.answer(said(['nobody'], () => 1)),
        session.undo(),
        session.answer(said(asked.slice(3))),
        session.answer(said(asked.slice(3))),
        session.ask(device),
        session.ask(device),
      ]),
    )
    const [unknown, undone, answered, again, next, same] = calls.map(call =>
      call.status === 'fulfilled' ? call.value : call.reason,
    )
    expect(unknown).toMatchObject({ code: 'UNKNOWN_ID' })
    expect(undone).toMatchObject({ undone: 3 })
    expect(answered).toEqual({ recorded: 5, repeated: 0 })
    expect(again).toEqual({ recorded: 0, repeated: 5 })
    expect(next).toMatchObject({ ids: { length: 8 } })
    expect([...(same as Asked).ids].sort()).toEqual([...(next as Asked).ids].sort())
    expect(await inSession(folder, async session => session.status())).toMatchObject({ pending: 8, entries: 6 })
  })

  it('closes after the calls before it, and writes nothing afterwards', async () => {
    const folder = await begin()
    const { ids } = await inSession(folder, session => session.ask(device))
    const session = await ActiveSession.open(folder)
    const { scores } = await session.learn(device)
    const again = session.learn(device)
    await session.close()
    expect((await again).scores).toEqual(scores)
    const late = [session.answer(said(ids)), session.undo(), session.ask(device), session.learn(device)]
    for (const call of await Promise.allSettled(late)) {
      expect(call).toMatchObject({ status: 'rejected', reason: { code: 'CLOSED' } })
    }
    await session.close()
    expect(await inSession(folder, async one => one.status())).toMatchObject({ pending: 8, entries: 1 })
  })

  it('computes on the device of each call, whatever became of those before', async () => {
    const folder = await begin()
    const [first, second] = [new Device({ threads: 1 }), new Device({ threads: 1 })]
    await inSession(folder, async session => {
      const { scores } = await session.learn(first)
      first.close()
      expect((await session.learn(second)).scores).toEqual(scores)
      expect((await session.ask(second)).ids).toHaveLength(8)
      second.close()
      await expect(session.learn(second)).rejects.toThrow(/closed/)
      expect((await session.learn(device)).scores).toEqual(scores)
    })
  })

  it('has no answer of a row that is asked about again', async () => {
    const folder = await begin({ batch: ROWS, askAgain: true })
    const ids = await inSession(folder, session => session.ask(device).then(asked => asked.ids))
    await inSession(folder, session => session.answer(said(ids, () => 0)))
    expect(await inSession(folder, session => session.answers())).toEqual(said(ids, () => 0))
    await inSession(folder, session => session.ask(device))
    expect(await inSession(folder, session => session.answers())).toEqual(new Map())
  })

  it('goes on to learn where experts confirm every row, and says that none is left', async () => {
    const folder = await begin({ batch: ROWS - 20 })
    const confirm = () =>
      inSession(folder, async session => {
        const { ids } = await session.ask(device)
        await session.answer(said(ids, () => 1))
      })
    await confirm()
    const before = await modelOf(folder)
    await confirm()
    for (let time = 0; time < 2; time++) {
      const { ids, reason } = await inSession(folder, session => session.ask(device, { anyway: true }))
      expect([ids, reason]).toEqual([[], 'no row is left to ask about'])
    }
    expect(await inSession(folder, async session => session.status())).toMatchObject({
      stopped: 'no row is left to ask about',
      entries: 5,
    })
    expect(await modelOf(folder)).toBe(before)
    expect((await inSession(folder, session => session.undo())).undone).toBe(5)
    expect(await inSession(folder, session => session.ask(device))).toMatchObject({ ids: { length: 5 }, reason: null })
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

  it('counts each answer where rows are asked about again, and keeps what each round brought', async () => {
    const folder = await begin({ askAgain: true, sampler: 'uncertain', rules: { budget: 20 } })
    const round = (answer: Answer) =>
      inSession(folder, async session => {
        const { ids } = await session.ask(device)
        await session.answer(said(ids, () => answer))
        return [...ids].sort()
      })
    // Neither changes the model: the same rows are the most uncertain.
    const first = await round('unsure')
    expect(await round(0)).toEqual(first)
    expect(await round('unsure')).toHaveLength(4)
    const { history, answers } = await inSession(folder, async session => session.status())
    expect(history.map(({ negatives, unsure }) => [negatives, unsure])).toEqual([
      [0, 8],
      [8, 0],
      [0, 4],
    ])
    // Of a row the last word counts.
    expect(answers).toEqual({ positives: 0, negatives: 4, unsure: 4 })
    const { reason } = await inSession(folder, session => session.ask(device))
    expect(reason).toBe('budget: 20 answers of 20')
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
    const busy = fresh()
    await writeFile(busy, '')
    await expect(init(busy)).rejects.toMatchObject({ code: 'WRITE_FAILED' })
    await expect(init(root)).rejects.toMatchObject({ code: 'FOLDER_NOT_EMPTY' })
    const none = { ...table, positives: new Uint8Array(ROWS) }
    await expect(init(fresh(), none)).rejects.toMatchObject({ code: 'NO_POSITIVES' })
    const label = { ...table, layout: { ...table.layout, names: ['label', ...names.slice(1)] } }
    await expect(init(fresh(), label)).rejects.toMatchObject({ code: 'COLUMN_TWICE' })
    const one = { ...table, positives: new Uint8Array(ROWS).with(7, 1) }
    await expect(init(fresh(), one)).rejects.toMatchObject({ code: 'TOO_FEW_POSITIVES' })
    const refused: [object, RegExp][] = [
      [{ batch: 0 }, /batch to be/],
      [{ bach: 8 }, /did you mean 'batch'/],
      [{ learner: 'tree' }, /learner 'gbrt' or 'forest'/],
      [{ seed: 0.5 }, /seed to be a safe integer/],
      [{ upSample: 0 }, /upSample to be/],
    ]
    for (const [options, message] of refused) {
      const where = fresh()
      await expect(init(where, table, options)).rejects.toThrow(message)
      expect(await readdir(where).catch(() => null)).toBeNull()
    }
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
    for (const name of ['session.json', 'ids.jsonl', 'positives.u8', 'unusual.f64', 'head.json']) {
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
    for (let round = 0; round < 5; round++) {
      await writeFile(join(folder, 'lock'), JSON.stringify({ pid: 2 ** 22 + 1 + round, started: '', host: hostname() }))
      const opened = await Promise.allSettled(Array.from({ length: 8 }, () => ActiveSession.open(folder)))
      const inside = opened.flatMap(one => (one.status === 'fulfilled' ? [one.value] : []))
      expect(inside).toHaveLength(1)
      await inside[0].close()
    }
  })
})

describe('a full disk', () => {
  const disk = mountDisk()

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
