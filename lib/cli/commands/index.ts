// The commands, in the order of the help.

import type { Command } from '../command.js'
import { activeCommands } from './active.js'
import { aggregateCommand } from './aggregate.js'
import { analogyCommand } from './analogy.js'
import { bandsCommand } from './bands.js'
import { benchCommand } from './bench.js'
import { encodeCommand } from './encode.js'
import { exportCommand } from './export.js'
import { finetuneCommand } from './finetune.js'
import { gbrtFitCommand } from './gbrt_fit.js'
import { gbrtImportanceCommand } from './gbrt_importance.js'
import { gbrtPredictCommand } from './gbrt_predict.js'
import { iforestCommand } from './iforest.js'
import { mapCommand } from './map.js'
import { pretrainCommand } from './pretrain.js'
import { probeCommand } from './probe.js'
import { puCommand } from './pu.js'
import { scoreCommand } from './score.js'

export const commands: readonly Command[] = [
  pretrainCommand,
  encodeCommand,
  probeCommand,
  finetuneCommand,
  scoreCommand,
  exportCommand,
  aggregateCommand,
  analogyCommand,
  mapCommand,
  benchCommand,
  gbrtFitCommand,
  gbrtPredictCommand,
  gbrtImportanceCommand,
  iforestCommand,
  puCommand,
  ...activeCommands,
  bandsCommand,
]
