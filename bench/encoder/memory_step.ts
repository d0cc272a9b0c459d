// Run in a process of its own: pre-training steps with both tasks, and the memory that they took.

import { benchDevice } from '../support/device.js'
import { benchEncoder, evenEvents, THREADS } from './contenders.js'
import { TrainingStep } from './training_step.js'

export interface MemoryReport {
  /** Most bytes that tensors and scratch took together. */
  readonly deviceBytes: number
  /** Most bytes that the process had in memory, and had before the first step. */
  readonly residentBytes: number
  readonly residentBefore: number
  readonly loss: number
}

const device = benchDevice(THREADS)
const encoder = benchEncoder(device, { width: 256 })
const step = new TrainingStep(encoder, evenEvents(8, 4000), ['masked', 'quick'])
const residentBefore = process.memoryUsage().rss
const loss = await step.run(3)
const report: MemoryReport = {
  deviceBytes: device.info().peakBytes,
  residentBytes: process.resourceUsage().maxRSS * 1024,
  residentBefore,
  loss,
}
step.dispose()
encoder.dispose()
device.close()
process.send?.(report)
