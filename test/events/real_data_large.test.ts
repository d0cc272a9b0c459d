// The largest real event table. Skipped aloud where the data is not at hand.

import { describe, it } from 'vitest'
import { hasTasks, walkTask } from '../support/real_tasks.js'

if (!hasTasks) console.warn('skipped: physionet (no ../shared/tasks)')

// The data lies beside the checkout, where it is; said above.
describe.skipIf(!hasTasks)('a real event table of 3.5 million events', () => {
  it('physionet: 7990 entities', () => walkTask('physionet', 7990, 3_472_514))
})
