// How long JavaScript holds the event loop, whatever else the machine does: processor time of the JavaScript thread
// between two turns of the loop. Wall time counts as well the moments when others had the processor.

import { readFileSync } from 'node:fs'

export interface Turns {
  readonly turns: number
  /** The longest stretch of processor time between two turns, in milliseconds; known to 4 ms, the tick of Linux. */
  readonly longest: number
  /** The longest stretch of wall time. */
  readonly longestWall: number
  /** Processor time of the JavaScript thread in all. */
  readonly total: number
}

/** Milliseconds on the processor so far of the thread that runs JavaScript (Linux), or wall time elsewhere. */
function threadTime(): number {
  if (process.platform !== 'linux') return performance.now()
  return Number(readFileSync(`/proc/self/task/${process.pid}/schedstat`, 'utf8').split(' ')[0]) / 1e6
}

/** Runs `work` and watches the event loop meanwhile. */
export async function watchTurns(work: () => Promise<unknown>): Promise<Turns> {
  const begun = threadTime()
  let last = begun
  let lastWall = performance.now()
  let longest = 0
  let longestWall = 0
  let turns = 0
  let isOver = false
  const look = () => {
    const now = threadTime()
    const wall = performance.now()
    longest = Math.max(longest, now - last)
    longestWall = Math.max(longestWall, wall - lastWall)
    last = now
    lastWall = wall
    turns++
  }
  const turn = () => {
    if (isOver) return
    look()
    setTimeout(turn, 1)
  }
  setTimeout(turn, 1)
  try {
    await work()
  } finally {
    isOver = true
  }
  // What came after the last turn belongs to the work as well.
  look()
  return { turns, longest, longestWall, total: last - begun }
}
