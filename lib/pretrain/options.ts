// What pre-training can be told, with defaults.

import { DEFAULT_ENCODER, type EncoderConfig, encoderConfig } from '../encoder/config.js'
import type { FitEncodingOptions } from '../events/encoding.js'
import type { Progress, ProgressPhase } from '../events/source.js'
import type { Device } from '../runtime/device.js'
import { expectOptions, expectRange, expectType } from '../util/errors.js'
import { given, type Optional } from '../util/options.js'
import type { MaskedEventsOptions } from './masked_events.js'
import type { QuickThoughtOptions } from './quick_thought.js'

/**
 * Philox streams of one seed: so many for the steps of each epoch; behind those of all epochs, the batches of the held-out loss.
 */
export const streams = { perEpoch: 2 ** 20, heldOut: 2 ** 31 } as const
const MOST_EPOCHS = streams.heldOut / streams.perEpoch

/** What is learnt without labels: hidden events, and which halves belong together. */
export type ProxyTask = 'masked' | 'quick'

/** After a step: `done` of `total` events, those of all epochs. */
export interface TrainProgress extends Progress<'train'> {
  readonly epoch: number
  readonly epochs: number
  /** Loss of the last step that is known. */
  readonly loss: number
  readonly eventsPerSecond: number
  readonly secondsLeft: number
}

/** What `pretrain` can be told; sizes of the encoder are options as well. */
export interface PretrainOptions extends Optional<EncoderConfig> {
  readonly tasks?: readonly ProxyTask[] | undefined
  readonly masked?: MaskedEventsOptions | undefined
  readonly quick?: QuickThoughtOptions | undefined
  readonly encoding?: Omit<FitEncodingOptions, 'signal' | 'onProgress'> | undefined
  /** Passes over the events. Default: as many as make about 4 million events, 2 … 60; at most 2048. */
  readonly epochs?: number | undefined
  /** Events per step. Default 4096, fewer for small data so that an epoch has some steps. */
  readonly batchEvents?: number | undefined
  /** Longest sequence of a step; of a longer one a random window is taken. Default: `batchEvents`. */
  readonly window?: number | undefined
  /** Peak learning rate. Default 0.002. */
  readonly learningRate?: number | undefined
  /** Share of the steps in which the learning rate rises. Default 0.05. */
  readonly warmup?: number | undefined
  readonly weightDecay?: number | undefined
  /** Largest norm of the whole gradient. Default 1. */
  readonly clip?: number | undefined
  /** Share of entities kept out of training for the held-out loss. Default 0.05, of which at most 2000 are used. */
  readonly heldOut?: number | undefined
  /** Epochs without a better held-out loss before training stops; 0 = never stop early. Default 0. */
  readonly patience?: number | undefined
  readonly seed?: number | undefined
  readonly device?: Device | undefined
  /** Folder for the model, its log and its checkpoints. Without it nothing is written. */
  readonly out?: string | undefined
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
  /** Called after each step, and while events are read. */
  readonly onProgress?: ((progress: Progress<ProgressPhase> | TrainProgress) => void) | undefined
}

/** Options with every default filled in that does not depend on the data. */
export interface Resolved {
  readonly encoder: Optional<EncoderConfig>
  readonly tasks: readonly ProxyTask[]
  readonly masked: MaskedEventsOptions
  readonly quick: QuickThoughtOptions
  readonly epochs: number
  readonly batchEvents: number
  readonly window: number
  readonly learningRate: number
  readonly warmup: number
  readonly weightDecay: number
  readonly clip: number
  readonly heldOut: number
  readonly patience: number
  readonly seed: number
}

const OWN = [
  'tasks',
  'masked',
  'quick',
  'encoding',
  'epochs',
  'batchEvents',
  'window',
  'learningRate',
  'warmup',
  'weightDecay',
  'clip',
  'heldOut',
  'patience',
  'seed',
  'device',
  'out',
  'resume',
  'restart',
  'checkpointSeconds',
  'signal',
  'onProgress',
] as const

/** Refuses options that do not exist or cannot be, before any data is read. */
export function checkOptions(options: PretrainOptions): void {
  const where = 'pretrain'
  expectOptions(where, options, [...OWN, ...Object.keys(DEFAULT_ENCODER)])
  encoderConfig(encoderOptions(options))
  const { tasks = ['masked', 'quick'] } = options
  const areTasks =
    Array.isArray(tasks) && tasks.length > 0 && tasks.every(task => task === 'masked' || task === 'quick')
  expectType(areTasks, where, "tasks out of 'masked' and 'quick'", tasks)
  expectOptions(`${where}: masked`, options.masked ?? {}, ['rate', 'predict'])
  expectOptions(`${where}: quick`, options.quick ?? {}, ['pieces', 'mode', 'temperature', 'hideCalendar'])
  const { rate = 0.15, predict = 'all' } = options.masked ?? {}
  expectRange(rate > 0 && rate <= 1, where, 'masked.rate in (0, 1]', rate)
  expectRange(predict === 'all' || predict === 'fields', where, "masked.predict 'all' or 'fields'", predict)
  const within = (name: keyof PretrainOptions, low: number, high: number, isWhole: boolean) => {
    const value = options[name]
    if (value === undefined) return
    const isNumber = typeof value === 'number' && value >= low && value <= high && (!isWhole || Number.isInteger(value))
    expectRange(isNumber, where, `${name} to be ${isWhole ? 'a whole number ' : ''}in [${low}, ${high}]`, value)
  }
  within('epochs', 1, MOST_EPOCHS, true)
  within('batchEvents', 1, 1 << 24, true)
  within('window', 1, 1 << 24, true)
  within('learningRate', 0, 10, false)
  within('warmup', 0, 1, false)
  within('weightDecay', 0, 10, false)
  within('clip', 1e-6, 1e9, false)
  within('heldOut', 0, 0.5, false)
  within('patience', 0, 1e6, true)
  within('seed', 0, Number.MAX_SAFE_INTEGER, true)
  within('checkpointSeconds', 0, 1e9, false)
  expectType(!options.resume || options.out !== undefined, where, 'out with resume', 'no folder', 'name the folder')
  expectType(!options.restart || options.out !== undefined, where, 'out with restart', 'no folder', 'name the folder')
  expectType(!(options.resume && options.restart), where, 'resume or restart', 'both')
  const isHeld = options.heldOut !== 0 || !options.patience
  expectRange(isHeld, where, 'a share of heldOut with patience', 0, 'nothing would tell when to stop')
}

/** The sizes of the encoder that were given. */
function encoderOptions(options: PretrainOptions): Optional<EncoderConfig> {
  const names = Object.keys(DEFAULT_ENCODER) as (keyof EncoderConfig)[]
  return given(Object.fromEntries(names.map(name => [name, options[name]])))
}

/** Events that a default run sees over all its epochs. */
const DEFAULT_RUN = 4_000_000
/** Steps that an epoch has at least, where the data allow. */
const STEPS_PER_EPOCH = 24

/** Fills in defaults, for so many events to train on. */
export function resolveOptions(options: PretrainOptions, events: number): Resolved {
  const batchEvents = options.batchEvents ?? clamp(Math.ceil(events / STEPS_PER_EPOCH / 256) * 256, 512, 4096)
  return {
    encoder: encoderOptions(options),
    tasks: options.tasks ?? ['masked', 'quick'],
    masked: options.masked ?? {},
    quick: options.quick ?? {},
    epochs: options.epochs ?? clamp(Math.round(DEFAULT_RUN / Math.max(1, events)), 2, 60),
    batchEvents,
    window: options.window ?? batchEvents,
    learningRate: options.learningRate ?? 0.002,
    warmup: options.warmup ?? 0.05,
    weightDecay: options.weightDecay ?? 0.01,
    clip: options.clip ?? 1,
    heldOut: options.heldOut ?? 0.05,
    patience: options.patience ?? 0,
    seed: options.seed ?? 0,
  }
}

function clamp(value: number, low: number, high: number): number {
  return Math.min(high, Math.max(low, value))
}

/** Linear warm-up, then a half cosine down to zero. */
export function learningRateAt(step: number, steps: number, { learningRate, warmup }: Resolved): number {
  const rising = Math.max(1, Math.round(steps * warmup))
  if (step < rising) return (learningRate * (step + 1)) / rising
  const progress = (step - rising) / Math.max(1, steps - rising)
  return learningRate * 0.5 * (1 + Math.cos(Math.PI * progress))
}
