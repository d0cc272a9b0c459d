// Memory of pre-training steps at N = 4000, D = 256, 3 blocks, batch 8, in a process of its own.

import { reportOf } from '../support/program.js'
import type { MemoryReport } from './memory_step.js'

const LIMIT_BYTES = 3e9

export default async function* memoryBench(): AsyncGenerator<string> {
  const { deviceBytes, residentBytes, residentBefore } = await reportOf<MemoryReport>(import.meta.url, 'memory_step')
  const [device, resident, before] = [deviceBytes, residentBytes, residentBefore].map(n => (n / 1e9).toFixed(2))
  const verdict = residentBytes < LIMIT_BYTES ? 'below 3 GB' : 'MISSED: 3 GB'
  yield `encoder/memory  (8, 4000) D=256  device ${device} GB, process ${resident} GB (${before} before)  ${verdict}`
}
