// What one run of fine-tuning learns from.

import type { EncodedEvents } from '../../events/encode.js'
import type { Learnt } from './step.js'

export interface FinetuneJob extends Learnt {
  readonly encoded: EncodedEvents
  /** The labels as they were given, per sequence. */
  readonly targets: Float64Array
  /** Sequences by number. */
  readonly training: Int32Array
  readonly validation: Int32Array
  /** What the rows kept out judge: each epoch, or the end alone, by how far to go to it. */
  readonly judges: 'epochs' | 'mixes'
  /** Sequences whose vectors tell scale and bend of each column, beside those of `training`. */
  readonly unlabelled: Int32Array
}
