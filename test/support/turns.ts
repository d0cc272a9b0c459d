// How long JavaScript holds the event loop, whatever else the machine does: processor time of the JavaScript thread
// between two turns of the loop, without garbage collections, which no code can put off and which take 3 or 30 ms by the
// machine. Wall time counts these as well, and the moments when others had the processor.

import { readFileSync } from 'node:fs'
import { type PerformanceEntry, PerformanceObserver } from 'node:perf_hooks'

export interface Turns {
  readonly turns: number
  /** The longest stretch of processor time between two turns, in milliseconds, less what was collected in it; known to 4 ms, the tick of Linux. */
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

interface Stretch {
  readonly begin: number
  readonly end: number
  readonly processor: number
}

/** Milliseconds of the stretch in which garbage was collected. */
function collected({ begin, end }: Stretch, collections: readonly PerformanceEntry[]): number {
  return collections.reduce((sum, { startTime, duration }) => {
    return sum + Math.max(0, Math.min(end, startTime + duration) - Math.max(begin, startTime))
  }, 0)
}

/**
 * Runs `work` and watches the event loop meanwhile. What the kernel does for the thread counts as well, and outside Linux
 * other processes do: tests have further tries, since what holds the loop itself does so in each.
 */
export async function watchTurns(work: () => Promise<unknown>): Promise<Turns> {
  const collections: PerformanceEntry[] = []
  const observer = new PerformanceObserver(list => void collections.push(...list.getEntries()))
  observer.observe({ entryTypes: ['gc'] })
  const stretches: Stretch[] = []
  const begun = threadTime()
  let last = begun
  let lastWall = performance.now()
  let isOver = false
  const look = () => {
    const now = threadTime()
    const wall = performance.now()
    stretches.push({ begin: lastWall, end: wall, processor: now - last })
    last = now
    lastWall = wall
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
    // What came after the last turn belongs to the work as well.
    look()
    // Entries reach the observer a turn later.
    await new Promise(resolve => setTimeout(resolve, 10))
    collections.push(...observer.takeRecords())
    observer.disconnect()
  }
  return {
    turns: stretches.length - 1,
    longest: Math.max(...stretches.map(one => one.processor - collected(one, collections))),
    longestWall: Math.max(...stretches.map(({ begin, end }) => end - begin)),
    total: last - begun,
  }
}
