// kill −9 at random moments of a scripted session: no answer lost, none doubled, the same model.

import { spawn } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { expect, it } from 'vitest'
import { TestRandom } from '../support/random.js'
import { sessionRoom } from '../support/sessions.js'

const { begin, modelOf } = sessionRoom()
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
