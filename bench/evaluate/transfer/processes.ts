// Parts of many tasks side by side, so many at once. A part that fails takes none of the others with it.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import type { Part } from './parts.js'

export interface TaskParts {
  readonly task: string
  readonly parts: readonly Part[]
}

export interface ProcessOptions {
  readonly jobs: number
  /** Of them, at most so many that keep a card busy. */
  readonly heavyJobs: number
  /** Runs one part and says whether it ended well; see `inProcess`. */
  readonly run: (task: string, part: string) => Promise<boolean>
  readonly onDone: (text: string) => void
}

interface Job {
  readonly task: string
  readonly part: Part
}

/** Runs all parts, each after those that it needs, and returns those that failed. */
export async function runParts(tasks: readonly TaskParts[], options: ProcessOptions): Promise<string[]> {
  let waiting: Job[] = tasks.flatMap(({ task, parts }) => parts.map(part => ({ task, part })))
  const total = waiting.length
  const ended = new Set<string>()
  const failed: string[] = []
  const running = new Set<Promise<void>>()
  let heavy = 0
  const key = (task: string, part: string) => `${task} ${part}`
  const asked = new Set(waiting.map(({ task, part }) => key(task, part.name)))
  while (waiting.length > 0 || running.size > 0) {
    const next = waiting.find(({ task, part }) => {
      // What is not asked for now has run before, or is made by the part that needs it.
      const isReady = part.after.every(before => !asked.has(key(task, before)) || ended.has(key(task, before)))
      return isReady && (!part.isHeavy || heavy < options.heavyJobs)
    })
    if (next && running.size < options.jobs) {
      if (next.part.isHeavy) heavy++
      waiting = waiting.filter(job => job !== next)
      const name = key(next.task, next.part.name)
      const begun = performance.now()
      const job = options.run(next.task, next.part.name).then(isDone => {
        // What comes after a failure runs as well: it says itself what it lacks.
        ended.add(name)
        if (!isDone) failed.push(name)
        const seconds = ((performance.now() - begun) / 1000).toFixed(0)
        options.onDone(`${ended.size}/${total} ${name}: ${isDone ? `${seconds} s` : 'failed'}`)
        running.delete(job)
        if (next.part.isHeavy) heavy--
      })
      running.add(job)
    } else await Promise.race(running)
  }
  return failed
}

/** A part in a process of its own, with these flags. */
export function inProcess(flags: readonly string[]) {
  return async (task: string, part: string): Promise<boolean> => {
    const [program, script] = [process.execPath, process.argv[1]]
    const child = spawn(program, [...process.execArgv, script, task, '--part', part, ...flags], {
      stdio: ['ignore', 'ignore', 'inherit'],
    })
    const [code] = (await once(child, 'exit')) as [number | null]
    return code === 0
  }
}
