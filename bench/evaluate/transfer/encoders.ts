// The encoders that are pre-trained and compared: ours, the article's baselines, and ours with one part changed. What pre-training
// learns shows in the last layer: there they are compared, without the embeddings' mean and the sketch that ours has beside it.

import { gruConfig, transformerConfig } from '../../../lib/encoder/config.js'
import type { PretrainOptions } from '../../../lib/pretrain/options.js'

export const OURS = 'ours'
export const UNTRAINED = 'untrained'

/** The parts of our vectors. */
export const LAST_LAYER = 'last layer alone'
export const EMBEDDINGS = 'embeddings alone'
export const SKETCH = 'sketch alone'

/** Compared with the last layer of ours; what is not said is the default. */
const OTHERS: Readonly<Record<string, PretrainOptions>> = {
  Transformer: transformerConfig(),
  GRU: gruConfig(),
  'dense convolution': { convolution: 'dense' },
  'no convolution': { convolution: 'none' },
  'no attention': { attention: 'none' },
  'fixed attention': { attention: 'fixed' },
  'full attention': { attention: 'full' },
  'pointwise gate': { gate: 'pointwise' },
  'masked events alone': { tasks: ['masked'] },
  'Quick Thought alone': { tasks: ['quick'] },
  'calendar hidden from a piece': { quick: { hideCalendar: true } },
  'calendar neither predicted nor seen by both': { quick: { hideCalendar: true }, masked: { predict: 'fields' } },
}

/** By name. */
export const ENCODERS: Readonly<Record<string, PretrainOptions>> = {
  [OURS]: {},
  ...Object.fromEntries(
    Object.entries(OTHERS).map(([name, options]) => [name, { ...options, skip: false, sketch: 0 }]),
  ),
}
