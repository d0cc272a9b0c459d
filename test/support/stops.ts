// Training that is stopped on its way.

import { expect } from 'vitest'
import type { Device } from '../../lib/runtime/device.js'
import { queueLongWork } from './long_work.js'

/** Starts a training, with these options among others. */
type Train = (control: {
  readonly signal: AbortSignal
  readonly checkpointSeconds?: number
  readonly onProgress: (now: { readonly phase: string }) => void
}) => Promise<unknown>

/** Stops a training when so many steps are done, behind a checkpoint. */
export async function stopAfter(steps: number, train: Train): Promise<void> {
  const controller = new AbortController()
  let done = 0
  const onProgress = ({ phase }: { readonly phase: string }) => {
    if (phase === 'train' && ++done === steps) controller.abort(new Error('stop'))
  }
  const { signal } = controller
  await expect(train({ signal, onProgress, checkpointSeconds: 0 })).rejects.toThrow('stop')
}

/**
 * Expects a training to end within 100 ms when it is aborted in the midst of a step. Other processes may keep this one
 * from the cores for as long: such a test needs further tries.
 * @param train  starts one that would not end by itself
 * @param onFirst  called when the first step is done, 20 ms before the abort
 */
export async function expectStopAtOnce(train: Train, onFirst = () => {}): Promise<void> {
  const controller = new AbortController()
  let isFirst = true
  let abortedAt = 0
  const onProgress = ({ phase }: { readonly phase: string }) => {
    if (phase !== 'train' || !isFirst) return
    isFirst = false
    onFirst()
    setTimeout(() => {
      abortedAt = performance.now()
      controller.abort(new Error('cancelled'))
    }, 20)
  }
  await expect(train({ signal: controller.signal, onProgress })).rejects.toThrow('cancelled')
  expect(performance.now() - abortedAt).toBeLessThan(100)
}

/** The same behind the long work of others on the device, which ends as if nothing had been. */
export async function expectStopBehindOthers(device: Device, train: Train): Promise<void> {
  let others: Promise<unknown> | undefined
  // By the time of the abort the next step waits behind that work.
  await expectStopAtOnce(train, () => {
    others = queueLongWork(device, 10).read()
  })
  await others
}
