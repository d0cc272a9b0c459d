// Rejections that nobody takes: each of them ends a process.

import { setTimeout as sleep } from 'node:timers/promises'

/** Runs `work`, and returns the reasons of the rejections that had no handler meanwhile. */
export async function unhandledRejections(work: () => Promise<unknown>): Promise<unknown[]> {
  const reasons: unknown[] = []
  const note = (reason: unknown) => void reasons.push(reason)
  process.on('unhandledRejection', note)
  try {
    await work()
    // What was on its way when the work ended is told a few turns later.
    await sleep(20)
  } finally {
    process.off('unhandledRejection', note)
  }
  return reasons
}
