// Real event tables stream through as `shared/tasks/README.md` counts them. Skipped aloud where the data is not at hand.

import { describe, it } from 'vitest'
import { hasTasks, walkTask } from '../support/real_tasks.js'

if (!hasTasks) console.warn('skipped: 11 real event tables (no ../shared/tasks)')

const EXPECTED: readonly (readonly [task: string, entities: number, events: number])[] = [
  ['berka', 1583, 78_164],
  ['bpic2012', 9591, 163_166],
  ['bpic2012_first8', 6942, 55_536],
  ['cdnow', 23_570, 56_902],
  ['completejourney', 2377, 75_000],
  ['online_retail', 3360, 232_053],
  ['oulad', 26_346, 79_450],
  ['sepsis', 1050, 7624],
  ['sepsis_discharge', 782, 13_116],
  ['taiwan', 30_000, 180_000],
  ['traffic_fines', 98_989, 182_142],
]

// The data lies beside the checkout, where it is; said above.
describe.skipIf(!hasTasks)('real event tables', () => {
  it.each(EXPECTED)('%s: %i entities, %i events', walkTask)
})
