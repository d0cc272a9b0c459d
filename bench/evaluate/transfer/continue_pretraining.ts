// Pre-training of a stage that may have been cut off, perhaps of an older version of the package or of another machine.

import type { EventSource } from '../../../lib/events/index.js'
import type { PretrainOptions } from '../../../lib/pretrain/options.js'
import { type Pretrained, pretrain } from '../../../lib/pretrain/pretrain.js'
import { SeqriskError } from '../../../lib/util/errors.js'

/**
 * Goes on where the run in `out` was ended. A stage's options name its folder: if the run there cannot be gone on with, it was begun by
 * another version, or by the kernels of another device. It is given up, aloud.
 */
export async function continuePretraining(source: EventSource, options: PretrainOptions): Promise<Pretrained> {
  try {
    return await pretrain(source, { ...options, resume: true })
  } catch (error) {
    if (!(error instanceof SeqriskError && error.code === 'CHECKPOINT_MISMATCH')) throw error
    console.error(`${options.out}: was begun by another version or on another device; begins anew`)
    return pretrain(source, { ...options, restart: true })
  }
}
