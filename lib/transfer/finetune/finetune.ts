// Fine-tuning: an encoder and a head on its vectors learn a label together.

import { join } from 'node:path'
import { encoderConfig } from '../../encoder/config.js'
import { Encoder } from '../../encoder/encoder.js'
import { readParameters } from '../../encoder/model_files.js'
import { digestOf } from '../../events/digest.js'
import type { EncodedEvents } from '../../events/encode.js'
import type { Fields, Schema } from '../../events/schema.js'
import { expectFreeFolder, giveUp, removeCheckpoint } from '../../pretrain/checkpoint.js'
import { finishedRun } from '../../pretrain/finished_run.js'
import { Device, quiet } from '../../runtime/device.js'
import { expectRange, expectType } from '../../util/errors.js'
import { inTurns } from '../../util/pace.js'
import { Philox } from '../../util/philox.js'
import { stratifiedSteps } from '../folds.js'
import { type Curve, crossValidate } from './cross.js'
import { FineTuned, loadWithLog } from './finetuned.js'
import { classWeightsOf, deviceTargets, type Goal, goalOf, outputsOf, rowsWithLabel } from './goal.js'
import { Head } from './head.js'
import type { FinetuneJob } from './job.js'
import { KeptParts } from './kept_parts.js'
import type { FinetuneLog } from './log.js'
import {
  checkOptions,
  defaultValidation,
  type FinetuneOptions,
  type Resolved,
  resolveOptions,
  streams,
} from './options.js'
import { CROSS, FOLD_RUNS, FOLDS } from './run_files.js'
import { FinetuneTrainer } from './trainer.js'

const where = 'finetune'
/**
 * Sequences that tell means and deviations of vectors within a few hundredths of a deviation. As many that have a label tell them
 * alone: those without may be another population.
 */
const SCALE_ROWS = 512
/** The vectors of an encoder that knows nothing tell no populations apart. */
const SCRATCH_SCALE_ROWS = 1024

/**
 * Fine-tunes on events that are encoded already: for folds and label budgets, without reading files again.
 *
 * First the head alone learns on the vectors of the encoder as it is, then everything, deeper layers slower. Runs off
 * the JavaScript thread; `signal` stops it within a step. Same options, same data, same bits, for any number of threads.
 * @param encoded  as the encoding of `init` makes them
 * @param targets  one label per entity; NaN = not used
 * @throws {RangeError} for labels or sizes that cannot be
 * @throws {SeqriskError} codes `ONE_CLASS`, `TOO_FEW_LABELS`; `RUN_UNFINISHED` where `out` holds a run that did not end, without
 * `resume` or `restart`; `TRAINING_DIVERGED`, which names the step and the last good checkpoint
 */
export function finetuneEncoded<F extends Fields = Fields>(
  encoded: EncodedEvents,
  targets: Float64Array,
  options: FinetuneOptions,
): Promise<FineTuned<F>> {
  return finetuneBehind<F>(encoded, targets, options, undefined)
}

/** The same. @param folds  what the call has scored before, to be kept with the model */
export async function finetuneBehind<F extends Fields>(
  encoded: EncodedEvents,
  targets: Float64Array,
  options: FinetuneOptions,
  folds: FinetuneLog['folds'],
): Promise<FineTuned<F>> {
  checkOptions(options)
  const { init, signal, out } = options
  signal?.throwIfAborted()
  await expectFreeFolder(where, options, [CROSS])
  const entities = encoded.offsets.length - 1
  expectRange(targets.length === entities, where, `${entities} labels, one for each entity`, targets.length)
  const { inputs } = init instanceof Encoder ? init.encoding : init.encoding
  const isOwn =
    encoded.inputs.length === inputs.length && inputs.every(({ name }, i) => encoded.inputs[i].name === name)
  expectType(isOwn, where, 'events of the encoding of init', 'others')
  const rows = rowsWithLabel(targets)
  const goal = goalOf(targets, rows, options, encoded.ids)
  const learnt = deviceTargets(goal, targets)
  const { training, validation, isCross } = await split(goal, learnt, rows, encoded, options)
  const job: FinetuneJob = {
    encoded,
    goal,
    targets,
    learnt,
    training,
    validation,
    judges: 'epochs',
    unlabelled: await sampleUnlabelled(targets, rows.length, options),
    classWeights: classWeightsOf(goal, learnt, training, options),
  }
  const resolved = resolveOptions(options, training.length, isCross || validation.length > 0)
  const start = await startingEncoder<F>(options, resolved)
  const { encoder } = start
  let head: Head | null = null
  let trainer: FinetuneTrainer | null = null
  try {
    head = new Head(encoder, outputsOf(goal))
    const plain = { resolved, isCross, goal, config: encoder.config, encoding: encoder.encoding, start: start.seed }
    const arrays = [
      training,
      validation,
      job.unlabelled,
      learnt,
      job.classWeights ?? new Float64Array(0),
      ...start.arrays,
    ]
    const variant = encoder.device.variant
    // Stands for all that must be the same for a resumed run to end in the same bits.
    const fingerprint = out === undefined ? '' : await digestOf({ ...plain, variant }, arrays, encoded, signal)
    const left = [CROSS, FOLDS, FOLD_RUNS]
    const finished = options.resume ? await finishedRun<FinetuneLog>(where, out!, fingerprint, left) : null
    if (finished) {
      const device = ownsDevice(options) ? undefined : encoder.device
      const model = await loadWithLog(out!, { device }, finished)
      head.dispose()
      encoder.dispose()
      await removeCheckpoint(out!, [CROSS])
      return model as FineTuned<F>
    }
    trainer = new FinetuneTrainer(encoder, head, job, resolved, fingerprint, options)
    await giveUp(options, [CROSS])
    const path = out === undefined ? null : join(out, CROSS)
    const kept = await KeptParts.open<Curve>(path, fingerprint, options.resume === true)
    const outcome = await trainer.run(async () =>
      isCross && resolved.epochs > 0 ? crossValidate(encoder, job, resolved, options, kept) : null,
    )
    const schema = options.schema as Schema<F> | undefined
    const model = new FineTuned<F>(encoder, head, goal, { schema, run: out && fingerprint, folds, ...outcome })
    if (out !== undefined) {
      await model.save(out)
      await removeCheckpoint(out)
      await kept.remove()
    }
    return model
  } catch (error) {
    if (ownsDevice(options)) await quiet(encoder.device)
    head?.dispose()
    encoder.dispose()
    throw error
  } finally {
    trainer?.dispose()
  }
}

/** Sequences without a label, as many as tell the scale of vectors beside those that have one; a function of the seed. */
async function sampleUnlabelled(
  targets: Float64Array,
  labelled: number,
  { init, seed = 0, signal }: FinetuneOptions,
): Promise<Int32Array> {
  const wanted = init instanceof Encoder ? SCALE_ROWS : SCRATCH_SCALE_ROWS
  if (labelled >= wanted) return new Int32Array(0)
  const rows = new Int32Array(targets.length - labelled)
  for (let row = 0, count = 0; row < targets.length; row++) if (Number.isNaN(targets[row])) rows[count++] = row
  const order = await inTurns(new Philox(seed, streams.scale).shuffleSteps(rows), signal)
  return order.slice(0, wanted - labelled).sort()
}

/** Rows to learn from and rows to stop on, a function of the seed; classes have their share of both. */
async function split(
  goal: Goal,
  learnt: Float64Array,
  rows: Int32Array,
  { offsets }: EncodedEvents,
  options: FinetuneOptions,
) {
  let events = 0
  for (const row of rows) events += offsets[row + 1] - offsets[row]
  const { validation = defaultValidation(rows.length, events), seed = 0, signal } = options
  let held: Int32Array
  if (validation instanceof Int32Array) {
    const known = new Set(rows)
    const other = validation.find(row => !known.has(row))
    expectRange(other === undefined, where, 'validation rows with a label', other)
    held = Int32Array.from(new Set(validation)).sort()
  } else {
    const size = validation === 'cross' ? 0 : Math.round(rows.length * validation)
    const random = new Philox(seed, streams.split)
    if (size === 0) held = new Int32Array(0)
    else if (goal.task === 'regression') {
      held = (await inTurns(random.shuffleSteps(rows.slice()), signal)).slice(0, size).sort()
    } else {
      const least = Math.max(size, goal.classes.length)
      held = await inTurns(stratifiedSteps(rows, Int32Array.from(learnt), least, random), signal)
    }
  }
  const isHeld = new Uint8Array(learnt.length)
  for (const row of held) isHeld[row] = 1
  const training = rows.filter(row => !isHeld[row])
  const parts: Record<string, Int32Array> = held.length > 0 ? { training, validation: held } : { training }
  for (const [part, own] of Object.entries(parts)) {
    const values = new Set<number>()
    for (const row of own) values.add(learnt[row])
    const least = goal.task === 'regression' || part === 'validation' ? 2 : goal.classes.length
    expectRange(values.size >= least, where, `labels of ${least} values in the ${part} rows`, values.size)
  }
  return { training, validation: held, isCross: validation === 'cross' }
}

/** Whether the encoder has a device of its own: nobody else's. */
const ownsDevice = ({ init, device }: FinetuneOptions) => device === undefined && !(init instanceof Encoder)

/** A copy of the encoder, or a new one; and what tells which: the weights that it starts with, or their seed. */
async function startingEncoder<F extends Fields>(options: FinetuneOptions, { seed }: Resolved) {
  const { init } = options
  if (init instanceof Encoder) {
    const weights = await readParameters(init.parameters)
    const encoder = new Encoder<F>(init.encoding, init.config, { device: options.device ?? init.device, weights })
    return { encoder, arrays: Array.from(weights.values(), ({ values }) => values), seed: null }
  }
  // Before a device is opened, which would stay so.
  const config = encoderConfig(init.config)
  const device = options.device ?? new Device()
  const start = init.seed ?? seed
  const own = { device, seed: start, ownsDevice: ownsDevice(options) }
  const encoder = new Encoder<F>(init.encoding, config, own)
  return { encoder, arrays: [], seed: start }
}
