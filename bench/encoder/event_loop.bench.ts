// How long pretrain and encode hold the event loop, on data of real size, in a process of its own for each.

import { existsSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { writeDemo } from '../../lib/demo/write.js'
import { reportOf } from '../support/program.js'
import type { PhaseReport } from './event_loop_job.js'

const LIMIT_MS = 20
const TASKS = ['bpic2012', 'physionet']
const USERS = 50_000

export default async function* eventLoopBench(): AsyncGenerator<string> {
  const tasks = fileURLToPath(new URL('../../../shared/tasks', import.meta.url))
  for (const task of TASKS) {
    const folder = join(tasks, task)
    if (existsSync(folder)) yield* job(task, join(folder, 'events.csv.gz'), join(folder, 'schema.json'))
    else yield `encoder/event_loop  ${task}  SKIPPED: no ${folder}`
  }
  const folder = await mkdtemp(join(tmpdir(), 'seqrisk-event-loop-'))
  try {
    const { events, schema } = await writeDemo(folder, { users: USERS })
    yield* job(`demo, ${USERS} users`, events, schema)
  } finally {
    await rm(folder, { recursive: true })
  }
}

async function* job(name: string, events: string, schema: string): AsyncGenerator<string> {
  for (const one of await reportOf<PhaseReport[]>(import.meta.url, 'event_loop_job', [events, schema])) {
    const { phase, seconds, turns, longest, longestWall, total, delay } = one
    const verdict = longest <= LIMIT_MS ? `below ${LIMIT_MS} ms` : `MISSED: ${LIMIT_MS} ms`
    yield `encoder/event_loop  ${name.padEnd(18)}  ${phase.padEnd(18)}  ${seconds.toFixed(1).padStart(4)} s, ` +
      `${String(turns).padStart(5)} turns, JavaScript ${((100 * total) / (1000 * seconds)).toFixed(0).padStart(2)} %  ` +
      `longest ${longest.toFixed(1).padStart(4)} ms of processor time, ${longestWall.toFixed(1).padStart(4)} ms by the clock ` +
      `(delay p99 ${delay.p99.toFixed(1)}, max ${delay.max.toFixed(1)})  ${verdict}`
  }
}
