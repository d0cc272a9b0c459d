// The encoders that are pre-trained and compared: ours, the article's baselines, and ours with one part changed.

import { gruConfig, transformerConfig } from '../../../lib/encoder/config.js'
import type { PretrainOptions } from '../../../lib/pretrain/options.js'

export const OURS = 'ours'
export const UNTRAINED = 'untrained'

/** By name; what is not said is the default. */
export const ENCODERS: Readonly<Record<string, PretrainOptions>> = {
  [OURS]: {},
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
