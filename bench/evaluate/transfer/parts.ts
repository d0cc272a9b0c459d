// The parts of a task that can run one by one, or side by side in processes of their own.

import { ENCODERS, OURS } from './encoders.js'
import { FINETUNE_PARTS, finetuneFold } from './finetunes.js'
import { mapTask } from './map.js'
import { VECTOR_ROWS } from './plan.js'
import { PROBES, probeOurs, probeVectors } from './probes.js'
import type { TaskRun } from './task_run.js'

export interface Part {
  /** As `--part` takes it. */
  readonly name: string
  /** Parts that must have ended before. */
  readonly after: readonly string[]
  /** Whether it keeps a card busy: such parts run one after the other, or they would wait for each other. */
  readonly isHeavy: boolean
}

const pretrained = (encoder: string) => `pretrain:${encoder}`

/** Parts of a task with these labels, each with so many folds. */
export function partsOf(labels: readonly { readonly name: string; readonly folds: number }[]): Part[] {
  const encoders = Object.keys(ENCODERS)
  const foldsOf = (part: string) =>
    labels.flatMap(({ name, folds }) => Array.from({ length: folds }, (_, fold) => `${part}:${name}:fold${fold}`))
  const after = (encoder: string, name: string): Part => ({ name, after: [pretrained(encoder)], isHeavy: false })
  const afterOurs = (name: string) => after(OURS, name)
  return [
    ...encoders.map(name => ({ name: pretrained(name), after: [], isHeavy: true })),
    ...labels.map(({ name }) => afterOurs(`probe:${name}`)),
    ...Object.keys(FINETUNE_PARTS).flatMap(foldsOf).map(afterOurs),
    ...VECTOR_ROWS.map(name => after(name in ENCODERS ? name : OURS, `vectors:${name}`)),
    afterOurs('map'),
  ]
}

export async function runPart(run: TaskRun, part: string): Promise<void> {
  const [kind, ...rest] = part.split(':')
  const what = rest.join(':')
  if (kind === 'pretrain') await run.training(what)
  else if (kind in FINETUNE_PARTS) {
    const [, label, fold] = what.match(/^(.*):fold(\d+)$/)!
    await finetuneFold(run, label, kind as keyof typeof FINETUNE_PARTS, Number(fold))
  } else if (kind === 'probe') for (const learner of PROBES) await probeOurs(run, what, learner)
  else if (kind === 'map') await mapTask(run)
  else if (kind === 'vectors') for (const { name } of run.task.labels) await probeVectors(run, name, what)
  else throw new RangeError(`expected a part of a task but received '${part}'`)
}
