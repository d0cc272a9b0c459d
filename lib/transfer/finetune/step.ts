// One step of fine-tuning, enqueued and later read: the device never waits for JavaScript.

import { Tape } from '../../runtime/tape.js'
import { scope, Tensor } from '../../runtime/tensor.js'
import { unlessAborted } from '../../util/abort.js'
import { SeqriskError } from '../../util/errors.js'
import type { Goal } from './goal.js'
import type { StepSums } from './log.js'
import { batchLoss, lossOf } from './loss.js'
import type { GroupedAdamW } from './rates.js'

/** What is learnt: labels per sequence as the device takes them, and the weights of the classes. */
export interface Learnt {
  readonly goal: Goal
  readonly learnt: Float64Array
  readonly classWeights: Float64Array | null
}

export interface Step {
  readonly rows: number
  readonly events: number
  /** What the loss is made from, then the norm of each group's gradient. */
  readonly values: Promise<Float32Array>
  readonly groups: number
}

/**
 * Enqueues forward, backward and update.
 * @param outputs    (rows, outputs) out of the weights; called while the tape records
 * @param sequences  of the rows, by number
 * @param share      of the peak learning rates
 */
export function enqueueStep(
  { goal, learnt, classWeights }: Learnt,
  optimizer: GroupedAdamW,
  outputs: () => Tensor<'float32'>,
  sequences: Int32Array,
  share: number,
  events = 0,
): Step {
  const values = scope(() => {
    const tape = new Tape()
    const z = tape.record(outputs)
    const targets = Float64Array.from(sequences, sequence => learnt[sequence])
    const { start, report } = batchLoss(tape, goal, z, targets, classWeights)
    tape.backward([start])
    const norms = optimizer.step(share)
    const all = Tensor.empty(z.device, 'float32', [report.size + norms.length])
    all.view(0, report.shape).copyFrom(report)
    norms.forEach((norm, i) => {
      all.view(report.size + i, [1]).copyFrom(norm)
    })
    return all.read()
  })
  // A run that was aborted never looks at it again.
  values.catch(() => {})
  return { rows: sequences.length, events, values, groups: optimizer.size }
}

/**
 * Waits for a step and adds it to the sums.
 * @param where  which step it is, and what to go back to, for the error
 * @returns its loss
 * @throws {SeqriskError} code `TRAINING_DIVERGED` when loss or gradient is not finite
 */
export async function finishStep(
  step: Step,
  goal: Goal,
  sums: StepSums,
  where: () => string,
  signal?: AbortSignal,
): Promise<number> {
  const values = await unlessAborted(step.values, signal)
  const end = values.length - step.groups
  const loss = lossOf(goal, values.subarray(0, end))
  const norm = Math.hypot(...values.subarray(end))
  if (!Number.isFinite(loss) || !Number.isFinite(norm)) {
    throw new SeqriskError(
      'TRAINING_DIVERGED',
      `[finetune] expected a finite loss and gradient but received loss ${loss} and gradient norm ${norm} in ${where()}; ` +
        'lower learningRate and headLearningRate, or look for extreme values in events and labels',
    )
  }
  sums.steps++
  sums.rows += step.rows
  sums.events += step.events
  sums.loss += loss * step.rows
  sums.gradientNorm += norm
  return loss
}
