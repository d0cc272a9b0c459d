// What fine-tuning can be told, with defaults.

import { type EncoderConfig, encoderConfig } from '../../encoder/config.js'
import { Encoder } from '../../encoder/encoder.js'
import type { EventEncoding } from '../../events/inputs.js'
import type { Schema } from '../../events/schema.js'
import type { Progress, ProgressPhase } from '../../events/source.js'
import type { Device } from '../../runtime/device.js'
import { expectOptions, expectRange, expectType } from '../../util/errors.js'
import type { Optional } from '../../util/options.js'

/** What labels are: classes, or numbers. */
export type FinetuneTask = 'classification' | 'regression'

/** An encoder with random weights: with labels alone it is the supervised baseline. */
export interface ScratchInit {
  readonly encoding: EventEncoding
  readonly config?: Optional<EncoderConfig> | undefined
  /** Seed of the initial weights. Default: the seed of the call. */
  readonly seed?: number | undefined
}

/** After a step. `train`: `done` of `total` labelled sequences, those of all epochs; `validate`: parts of a cross-validation. */
export interface FinetuneProgress extends Progress<'train' | 'validate'> {
  readonly epoch: number
  readonly epochs: number
  /** Loss of the last step that is known. */
  readonly loss: number
  readonly eventsPerSecond: number
  /** To the end of the call, the trainings that are still to come included. */
  readonly secondsLeft: number
  /** The fold that is learnt for, from 1, and their number; absent where the model itself learns. */
  readonly fold?: number
  readonly folds?: number
}

/** What fine-tuning can be told. */
export interface FinetuneOptions {
  /** A pre-trained encoder, whose weights are copied and never changed, or what to start from at random. */
  readonly init: Encoder | ScratchInit
  /** Default `auto`: classes where all labels are whole numbers and at most 20 different ones, else regression. */
  readonly task?: FinetuneTask | 'auto' | undefined
  /**
   * Whether the head is fitted to the vectors before the encoder learns, its strength cross-validated. Default: of a
   * pre-trained encoder.
   */
  readonly warmHead?: boolean | undefined
  /**
   * Epochs in which everything learns. Default 6, and 12 from 10 000 labels on that are learnt from; from scratch 30, and 20 from
   * 1500 on. 0: the head alone.
   */
  readonly epochs?: number | undefined
  /** Labelled sequences of a step. Default 16; 32 from 2000 labels on that are learnt from, 64 from 10 000 on. */
  readonly batchSize?: number | undefined
  /** Most events of a step; a longer sequence is a step of its own. Default 16 384. */
  readonly batchEvents?: number | undefined
  /** Newest events of a sequence that training sees. Default 4096. Scores see all. */
  readonly window?: number | undefined
  /** Peak learning rate of the encoder's last block. Default 0.0005; 0.001 from scratch. */
  readonly learningRate?: number | undefined
  /** Peak learning rate of the head. Default 0.0002, of a head that was fitted; else as the encoder's last block. */
  readonly headLearningRate?: number | undefined
  /** Each block below the last one learns so many times as fast as the one above it, embeddings slowest. Default 0.8; 1 from scratch. */
  readonly layerDecay?: number | undefined
  /** Share of the steps in which the learning rate rises. Default 0.1. */
  readonly warmup?: number | undefined
  readonly weightDecay?: number | undefined
  /** Largest norm of the gradient of a group of weights that share a learning rate; so many times the largest class weight. Default 1. */
  readonly clip?: number | undefined
  /** Share of the vectors' elements that the head does not see while it learns. Default 0.5. */
  readonly dropout?: number | undefined
  /** The same inside the encoder. Default 0.3. */
  readonly encoderDropout?: number | undefined
  /** Share of events that are hidden while everything learns, as in pre-training. Default 0.2. */
  readonly mask?: number | undefined
  /** `balanced`: classes count alike, however rare; or one weight per class, in ascending order of labels: their ratios count. Default `none`. */
  readonly classWeights?: 'balanced' | 'none' | readonly number[] | undefined
  /**
   * When to stop. A share of the labelled rows, or the rows themselves, are kept out, and the weights that serve them best
   * are the result. `cross`: five parts are kept out in turn, and what serves them best is done with all rows: how far to go from a
   * fitted head (`mixing`), or how many epochs from scratch. 0: after `epochs`. Default: `cross` below 10 000 labels, unless they have more
   * than a million events, where six runs take long; else a share of 0.15, of 10 000 rows at most.
   */
  readonly validation?: number | 'cross' | Int32Array | undefined
  /**
   * How far to go from the weights before (the fitted head, the pre-trained encoder) to those after training: 0 … 1 of the way, or
   * `validated`: of 0, ¼, ½, ¾ and 1 what serves the rows kept out best (Wortsman et al. 2022, "Robust fine-tuning of zero-shot
   * models", eq. 1). With `cross` that is what the parts choose, in place of epochs. Default `validated` where a head was fitted and
   * rows are kept out, else 1.
   */
  readonly mixing?: number | 'validated' | undefined
  /** Epochs without a better validation before training stops. Default 5. 0: never. */
  readonly patience?: number | undefined
  /** What is better: a higher score (AUC, macro AUC, R²), or a lower loss. Default `score`. */
  readonly stopOn?: 'score' | 'loss' | undefined
  readonly seed?: number | undefined
  /** Default: the device of a pre-trained encoder, which must outlive the result; else a device of its own. */
  readonly device?: Device | undefined
  /** Folder for the model, its log and its checkpoints. Without it nothing is written. Needs `schema`. */
  readonly out?: string | undefined
  /** Schema of the events, which a saved model needs. */
  readonly schema?: Schema | undefined
  /**
   * Continue from the checkpoint in `out`, if there is one, to the same bits as an uninterrupted run. Where the same run has ended there,
   * on the same kind of device and variant, its model comes back; the model of any other run is refused, not written over.
   */
  readonly resume?: boolean | undefined
  /** Begin anew although `out` holds an unfinished run, which is lost then. Without this and `resume` that is an error. */
  readonly restart?: boolean | undefined
  /** Seconds between checkpoints inside an epoch; each epoch ends with one. Default 60. */
  readonly checkpointSeconds?: number | undefined
  readonly signal?: AbortSignal | undefined
  /** Called between pieces of the work. */
  readonly onProgress?: ((progress: Progress<ProgressPhase> | FinetuneProgress) => void) | undefined
}

/** Options with every default filled in: what decides the result, as plain data. */
export interface Resolved {
  readonly warmHead: boolean
  /** Whether heavy-tailed columns of the vectors are bent before the head: where it is fitted to a pre-trained encoder. */
  readonly bends: boolean
  readonly epochs: number
  readonly batchSize: number
  readonly batchEvents: number
  readonly window: number
  readonly learningRate: number
  readonly headLearningRate: number
  readonly layerDecay: number
  readonly warmup: number
  readonly weightDecay: number
  readonly clip: number
  readonly dropout: number
  readonly encoderDropout: number
  readonly mask: number
  readonly mixing: number | 'validated'
  readonly patience: number
  readonly stopOn: 'score' | 'loss'
  readonly seed: number
}

const OPTIONS = [
  'init',
  'task',
  'warmHead',
  'epochs',
  'batchSize',
  'batchEvents',
  'window',
  'learningRate',
  'headLearningRate',
  'layerDecay',
  'warmup',
  'weightDecay',
  'clip',
  'dropout',
  'encoderDropout',
  'mask',
  'classWeights',
  'validation',
  'mixing',
  'patience',
  'stopOn',
  'seed',
  'device',
  'out',
  'schema',
  'resume',
  'restart',
  'checkpointSeconds',
  'signal',
  'onProgress',
] as const

const where = 'finetune'

/** Fewer labels are all learnt from: parts of them are kept out in turn. */
const FEW_LABELS = 10_000
/** Of those labels: with more, training once is long enough. */
const FEW_EVENTS = 1_000_000
/** From scratch, fewer labels want more epochs. */
const FEW_FROM_SCRATCH = 1500
const MOST_VALIDATION = 10_000

/**
 * Philox streams of one seed: the order of each epoch; what each step drops; events that each step hides;
 * inner parts of the head and of all that is cross-validated; rows kept out; sequences whose scale counts.
 */
export const streams = {
  order: 0,
  step: 1 << 21,
  mask: 1 << 30,
  inner: 0xfffffffd,
  parts: 0xfffffffc,
  split: 0xfffffffe,
  scale: 0xfffffffb,
}

const INIT = 'init to be an encoder, or { encoding, config, seed }'

/** Refuses options that do not exist or cannot be, before any data is read. */
export function checkOptions(options: FinetuneOptions): void {
  checkUnfitted(options)
  const { init } = options
  expectType(init instanceof Encoder || init.encoding !== undefined, where, INIT, 'no encoding')
}

/** The same where the encoding of `init` is still to be fitted. */
export function checkUnfitted(
  options: Omit<FinetuneOptions, 'init'> & { readonly init: Encoder | Optional<ScratchInit> },
): void {
  expectOptions(where, options, OPTIONS)
  const { init } = options
  expectType(init !== null && typeof init === 'object', where, INIT, init)
  if (!(init instanceof Encoder)) {
    expectOptions(`${where}: init`, init, ['encoding', 'config', 'seed'])
    encoderConfig(init.config)
  }
  checkValues(options)
  const hasSchema = options.out === undefined || options.schema !== undefined
  expectType(hasSchema, where, 'schema with out', 'none', 'a saved model holds the schema of its events')
}

/** What can be told of options without a model and its schema. */
export function checkValues(options: Omit<FinetuneOptions, 'init' | 'schema'>): void {
  const { task = 'auto', stopOn = 'score', validation, mixing } = options
  const isTask = ['auto', 'classification', 'regression'].includes(task)
  expectRange(isTask, where, "task 'auto', 'classification' or 'regression'", task)
  expectRange(['score', 'loss'].includes(stopOn), where, "stopOn 'score' or 'loss'", stopOn)
  const within = (name: keyof typeof options, low: number, high: number, isWhole: boolean) => {
    const value = options[name]
    if (value === undefined) return
    const isNumber = typeof value === 'number' && value >= low && value <= high && (!isWhole || Number.isInteger(value))
    expectRange(isNumber, where, `${name} to be ${isWhole ? 'a whole number ' : ''}in [${low}, ${high}]`, value)
  }
  expectType(
    ['boolean', 'undefined'].includes(typeof options.warmHead),
    where,
    'warmHead true or false',
    options.warmHead,
  )
  within('epochs', 0, 1e6, true)
  within('batchSize', 1, 1 << 24, true)
  within('batchEvents', 1, 1 << 24, true)
  within('window', 1, 1 << 24, true)
  within('learningRate', 0, 10, false)
  within('headLearningRate', 0, 10, false)
  within('layerDecay', 0, 1, false)
  within('warmup', 0, 1, false)
  within('weightDecay', 0, 10, false)
  within('clip', 1e-6, 1e9, false)
  within('dropout', 0, 0.95, false)
  within('encoderDropout', 0, 0.95, false)
  within('mask', 0, 0.95, false)
  if (mixing !== 'validated') within('mixing', 0, 1, false)
  const isJudged = mixing !== 'validated' || validation !== 0
  expectRange(
    isJudged,
    where,
    'rows to validate mixing on',
    validation,
    "say validation: 'cross' or a share, or a number",
  )
  within('patience', 0, 1e6, true)
  within('seed', 0, Number.MAX_SAFE_INTEGER, true)
  within('checkpointSeconds', 0, 1e9, false)
  if (!(validation instanceof Int32Array) && validation !== 'cross') within('validation', 0, 0.5, false)
  expectType(!options.resume || options.out !== undefined, where, 'out with resume', 'no folder', 'name the folder')
  expectType(!options.restart || options.out !== undefined, where, 'out with restart', 'no folder', 'name the folder')
  expectType(!(options.resume && options.restart), where, 'resume or restart', 'both')
}

/** Fills in defaults. @param labels  sequences to learn from @param isValidated  whether others with a label are kept out */
export function resolveOptions(options: FinetuneOptions, labels: number, isValidated: boolean): Resolved {
  const isPretrained = options.init instanceof Encoder
  const warmHead = options.warmHead ?? isPretrained
  const learningRate = options.learningRate ?? (isPretrained ? 0.0005 : 0.001)
  const epochs = isPretrained ? (labels < FEW_LABELS ? 6 : 12) : labels < FEW_FROM_SCRATCH ? 30 : 20
  return {
    warmHead,
    bends: warmHead && isPretrained,
    epochs: options.epochs ?? epochs,
    batchSize: options.batchSize ?? (labels < 2000 ? 16 : labels < 10_000 ? 32 : 64),
    batchEvents: options.batchEvents ?? 16_384,
    window: options.window ?? 4096,
    learningRate,
    headLearningRate: options.headLearningRate ?? (warmHead ? 0.0002 : learningRate),
    layerDecay: options.layerDecay ?? (isPretrained ? 0.8 : 1),
    warmup: options.warmup ?? 0.1,
    weightDecay: options.weightDecay ?? 0.01,
    clip: options.clip ?? 1,
    dropout: options.dropout ?? 0.5,
    encoderDropout: options.encoderDropout ?? 0.3,
    mask: options.mask ?? 0.2,
    mixing: options.mixing ?? (warmHead && isValidated ? 'validated' : 1),
    patience: options.patience ?? 5,
    stopOn: options.stopOn ?? 'score',
    seed: options.seed ?? 0,
  }
}

/** How to stop where nothing is said, with so many labels, of sequences with so many events. */
export function defaultValidation(labels: number, events: number): number | 'cross' {
  return labels < FEW_LABELS && events <= FEW_EVENTS ? 'cross' : Math.min(0.15, MOST_VALIDATION / labels)
}

/** Linear warm-up, then a half cosine down to zero; `done` is the share of the steps. */
export function scheduleAt(done: number, warmup: number): number {
  if (done < warmup) return done / warmup
  return 0.5 * (1 + Math.cos((Math.PI * (done - warmup)) / Math.max(1e-9, 1 - warmup)))
}
