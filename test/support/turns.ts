// How long JavaScript holds the event loop, whatever else the machine does: processor time of the JavaScript thread
// between two turns of the loop. Wall time would count the moments when another process had the processor.

import { readFileSync } from 'node:fs'

/** Milliseconds on the processor so far of the thread that runs JavaScript (Linux), or wall time elsewhere. */
function threadTime(): number {
  if (process.platform !== 'linux') return performance.now()
  return Number(readFileSync(`/proc/self/task/${process.pid}/schedstat`, 'utf8').split(' ')[0]) / 1e6
}

/** Runs `work` and returns the longest stretch of processor time between two turns, in milliseconds. */
export async function longestTurn(work: () => Promise<unknown>): Promise<{ longest: number; turns: number }> {
  let last = threadTime()
  let longest = 0
  let turns = 0
  let isOver = false
  const turn = () => {
    const now = threadTime()
    longest = Math.max(longest, now - last)
    last = now
    turns++
    if (!isOver) setTimeout(turn, 1)
  }
  setTimeout(turn, 1)
  try {
    await work()
  } finally {
    isOver = true
  }
  return { longest, turns }
}
