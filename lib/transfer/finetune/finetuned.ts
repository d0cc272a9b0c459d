// A fine-tuned model: an encoder with a head, that scores events.

import { join } from 'node:path'
import type { Encoder } from '../../encoder/encoder.js'
import { type LoadedEncoder, loadEncoder, saveEncoder } from '../../encoder/model_files.js'
import { withPresent } from '../../events/as_of.js'
import type { EncodedEvents } from '../../events/encode.js'
import { encodedChunks } from '../../events/encode_source.js'
import { expectSource } from '../../events/expect_source.js'
import type { EventEncoding } from '../../events/inputs.js'
import type { Fields, Schema } from '../../events/schema.js'
import type { EventSource, LongCall } from '../../events/source.js'
import type { VectorTable } from '../../events/table.js'
import { type Ended, LOG, readJson } from '../../pretrain/finished_run.js'
import type { Device } from '../../runtime/device.js'
import { expectOptions, expectType, SeqriskError, sentence } from '../../util/errors.js'
import { writeFileAtomic } from '../../util/files.js'
import { Pace } from '../../util/pace.js'
import { finishScores, type Goal, outputsOf, scoresOf } from './goal.js'
import { Head } from './head.js'
import type { Best, FinetuneLog, FinetuneRow } from './log.js'
import { encodeRows } from './rows.js'

const where = 'FineTuned'
const MOST_CLASSES = 1000

export interface ScoreOptions extends LongCall {
  /** Events encoded together. Default: as of `encode`. */
  readonly batchEvents?: number | undefined
  /** The present, as of `encode`. */
  readonly asOf?: number | Date | undefined
}

/** One score, or one per class, for each entity. */
export interface ScoreTable {
  readonly ids: readonly string[]
  /** Scores per entity. */
  readonly width: number
  /** (ids.length, width) */
  readonly scores: Float64Array
}

/** Made by `finetune`, `finetuneEncoded` or `loadFinetuned`. */
export class FineTuned<F extends Fields = Fields> {
  readonly encoder: Encoder<F>
  readonly goal: Goal
  readonly schema: Schema<F> | null
  /** One row per epoch, as in training.json. */
  readonly log: readonly FinetuneRow[]
  /** The validation that chose the weights; null where training ran to its end. */
  readonly best: Best | null
  /** How far the weights are from those before training to those after it: 0 … 1. */
  readonly mixing: number
  readonly #head: Head
  readonly #run: string | undefined
  readonly #folds: FinetuneLog['folds']

  constructor(
    encoder: Encoder<F>,
    head: Head,
    goal: Goal,
    options: {
      readonly schema?: Schema<F> | undefined
      readonly log?: readonly FinetuneRow[] | undefined
      readonly best?: Best | null | undefined
      readonly mixing?: number | undefined
      /** The fingerprint of the run that it comes from. */
      readonly run?: string | undefined
      /** What that run scored first. @hidden */
      readonly folds?: FinetuneLog['folds']
    } = {},
  ) {
    this.encoder = encoder
    this.goal = goal
    this.schema = options.schema ?? null
    this.log = options.log ?? []
    this.best = options.best ?? null
    this.#head = head
    this.mixing = options.mixing ?? this.best?.mixing ?? 1
    this.#run = options.run
    this.#folds = options.folds
  }

  /** What its labels are. */
  get task(): Goal['task'] {
    return this.goal.task
  }

  /** The labels of the classes, ascending; empty for regression. */
  get classes(): readonly number[] {
    return this.goal.classes
  }

  /** Scores per entity: one, or as many as there are classes if those are more than two. */
  get width(): number {
    return scoresOf(this.goal)
  }

  /** Names of the scores: `score`, or `score_` and the label of each class. */
  get scoreNames(): string[] {
    return this.width === 1 ? ['score'] : this.classes.map(label => `score_${label}`)
  }

  /**
   * Scores of encoded events: the probability of the larger of two labels; one probability per class, in ascending order
   * of labels, of more; the value itself for regression. A score depends on its own entity's events alone, bit for bit.
   * @param rows  entities by number. Default: all
   * @returns     (rows, width)
   */
  async scoreEncoded(encoded: EncodedEvents, rows?: Int32Array, options: ScoreOptions = {}): Promise<Float64Array> {
    const { batchEvents, signal } = options
    const outputs = await encodeRows(this.encoder, this.#head, encoded, { rows, batchEvents, signal })
    return finishScores(this.goal, outputs, new Pace(signal))
  }

  /** Vectors of the fine-tuned encoder, before the head. */
  async encodeEncoded(encoded: EncodedEvents, rows?: Int32Array, options: ScoreOptions = {}): Promise<VectorTable> {
    const { batchEvents, signal } = options
    const vectors = await encodeRows(this.encoder, null, encoded, { rows, batchEvents, signal })
    const ids = rows ? Array.from(rows, row => encoded.ids[row]) : encoded.ids
    return { ids, width: this.encoder.width, vectors }
  }

  /** Scores of all entities of a source, streamed: memory does not grow with their number. */
  async *scoreStream(source: EventSource<F>, options: ScoreOptions = {}): AsyncGenerator<ScoreTable> {
    expectSource(where, source)
    expectOptions(where, options, ['batchEvents', 'asOf', 'signal', 'onProgress'])
    expectSchema(where, source.schema, this.encoder.encoding)
    const encoding = withPresent(where, this.encoder.encoding, options.asOf)
    const { events: total } = await source.summary({ signal: options.signal })
    let done = 0
    for await (const encoded of encodedChunks(source, encoding, { signal: options.signal })) {
      yield { ids: encoded.ids, width: this.width, scores: await this.scoreEncoded(encoded, undefined, options) }
      done += encoded.time.length
      options.onProgress?.({ phase: 'score', done, total })
    }
  }

  /** Scores of all entities of a source, in memory. */
  async score(source: EventSource<F>, options: ScoreOptions = {}): Promise<ScoreTable> {
    const ids: string[] = []
    const blocks: Float64Array[] = []
    for await (const block of this.scoreStream(source, options)) {
      for (const id of block.ids) ids.push(id)
      blocks.push(block.scores)
    }
    const scores = new Float64Array(ids.length * this.width)
    let at = 0
    for (const block of blocks) {
      scores.set(block, at)
      at += block.length
    }
    return { ids, width: this.width, scores }
  }

  /**
   * The head's tensors by name: `head.weight`, `head.bias`, `head.scale`, `head.shift`; where columns are bent `head.knots`,
   * `head.slopes` and `head.offset` too.
   */
  readHead(): ReturnType<Head['read']> {
    return this.#head.read()
  }

  /** Saves the model as a folder: config.json, weights.safetensors, training.json. `encode` reads it too. */
  async save(folder: string, schema: Schema<F> | null = this.schema): Promise<void> {
    expectType(schema !== null, where, 'the schema of the events', 'none', 'pass it to save')
    const head = { config: this.goal, tensors: await this.#head.read() }
    const weights = await saveEncoder(folder, this.encoder, schema!, head)
    const { best, mixing, log: epochs } = this
    const log: FinetuneLog = { version: 1, run: this.#run, weights, best, mixing, epochs, folds: this.#folds }
    await writeFileAtomic(join(folder, LOG), `${JSON.stringify(log, null, 2)}\n`)
  }

  /** Frees head and encoder. */
  dispose(): void {
    this.#head.dispose()
    this.encoder.dispose()
  }
}

/**
 * Loads what `FineTuned.save` wrote.
 * @throws {SeqriskError} code `FILE_NOT_FOUND`, `RUN_UNFINISHED` where a run has left no model yet, or `MODEL_INVALID` for a damaged
 * model or one without a head
 */
export async function loadFinetuned(
  folder: string,
  options: { readonly device?: Device | undefined } = {},
): Promise<FineTuned> {
  return loadWithLog(folder, options, await logOf(folder))
}

/** The log in a model's folder, where it is of the weights there. */
async function logOf(folder: string): Promise<FinetuneLog | undefined> {
  const log = await readJson<FinetuneLog>(join(folder, LOG))
  const config = await readJson<Ended>(join(folder, 'config.json'))
  const isOfModel = log?.weights !== undefined && log.weights === config?.weights && Array.isArray(log.epochs)
  return isOfModel ? log : undefined
}

/** The same, with what the log of its run says. */
export async function loadWithLog(
  folder: string,
  options: { readonly device?: Device | undefined },
  log?: FinetuneLog,
): Promise<FineTuned> {
  const loaded = await loadEncoder(folder, options)
  try {
    return finetunedOf(loaded, log)
  } catch (error) {
    loaded.encoder.dispose()
    throw error
  }
}

/** A loaded encoder with its head. @throws {SeqriskError} code `MODEL_INVALID` when there is none, or a damaged one */
export function finetunedOf({ encoder, schema, head }: LoadedEncoder, log?: FinetuneLog): FineTuned {
  if (!head) {
    const advice = 'give a folder that finetune wrote'
    throw new SeqriskError(
      'MODEL_INVALID',
      sentence('model', 'a fine-tuned model', 'an encoder without a head', advice),
    )
  }
  const goal = checkGoal(head.config)
  return new FineTuned(encoder, new Head(encoder, outputsOf(goal), head.tensors), goal, {
    ...{ schema, log: log?.epochs, best: log?.best, mixing: log?.mixing, run: log?.run, folds: log?.folds },
  })
}

function checkGoal(value: unknown): Goal {
  const goal = value as Partial<Goal> | null
  const { task, classes, mean, deviation } = goal ?? {}
  const isTask = task === 'regression' || task === 'classification'
  const areClasses =
    Array.isArray(classes) &&
    (task === 'regression' ? classes.length === 0 : classes.length >= 2 && classes.length <= MOST_CLASSES) &&
    classes.every((label, i) => Number.isFinite(label) && (i === 0 || label > classes[i - 1]))
  const isScale = Number.isFinite(mean) && Number.isFinite(deviation) && deviation! > 0
  if (isTask && areClasses && isScale) return goal as Goal
  const advice = 'the model is damaged or of another version; save it again'
  const received = JSON.stringify(value)?.slice(0, 80)
  throw new SeqriskError('MODEL_INVALID', sentence('model', 'a head with a task and classes', received, advice))
}

/** @throws {SeqriskError} code `SCHEMA_MISMATCH` unless a schema has the fields that an encoding reads, of their kinds */
export function expectSchema(where: string, schema: Schema, encoding: EventEncoding): void {
  const expectField = (field: string, kind: string) => {
    const own = Object.hasOwn(schema.fields, field) ? schema.fields[field].kind : 'none'
    if (own === kind) return
    const advice = 'give events of the schema that the model was trained on'
    throw new SeqriskError('SCHEMA_MISMATCH', sentence(where, `a ${kind} field '${field}'`, own, advice))
  }
  for (const input of encoding.inputs) {
    if (input.part !== 'field') continue
    if (input.kind === 'cells') expectField(input.by, 'categorical')
    expectField(input.field, input.kind === 'cells' ? 'numeric' : input.kind)
  }
}
