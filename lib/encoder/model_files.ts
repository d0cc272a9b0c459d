// A model as a folder: config.json (sizes, encoding, schema, version), weights.safetensors, training.json.

import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { addBytes } from '../events/digest.js'
import type { CellGroup, EventEncoding } from '../events/inputs.js'
import type { Schema } from '../events/schema.js'
import { parseSchema } from '../events/schema.js'
import { compareText } from '../events/source.js'
import { readSafetensors, type StoredTensor, writeSafetensors } from '../export/safetensors.js'
import { hasWork } from '../pretrain/checkpoint.js'
import type { Device } from '../runtime/device.js'
import type { Parameter } from '../runtime/tape.js'
import { SeqriskError, sentence } from '../util/errors.js'
import { isThere, writeFileAtomic } from '../util/files.js'
import { Pace } from '../util/pace.js'
import { type EncoderConfig, encoderConfig } from './config.js'
import { Encoder } from './encoder.js'

const VERSION = 1

/** What config.json holds. */
export interface ModelConfig {
  readonly format: 'seqrisk-encoder'
  readonly version: number
  readonly encoder: EncoderConfig
  readonly schema: Schema
  readonly encoding: EventEncoding
  /** Of a fine-tuned model: what its head predicts. */
  readonly head?: unknown
  /** Digest of the tensors that belong to it: two files cannot be replaced at once. Older models have none. */
  readonly weights?: string
}

/** What stands on an encoder: plain data for config.json, and tensors whose names begin with `head.`. */
export interface StoredHead {
  readonly config: unknown
  readonly tensors: ReadonlyMap<string, StoredTensor>
}

/**
 * Saves an encoder: each file whole or not at all, weights first, so that a config never stands without them. Where it ends
 * between the two, loading says so.
 * @returns the digest of the weights
 */
export async function saveEncoder(
  folder: string,
  encoder: Encoder,
  schema: Schema,
  head: StoredHead | null = null,
): Promise<string> {
  const tensors = await readParameters(encoder.parameters)
  for (const [name, tensor] of head?.tensors ?? []) tensors.set(name, tensor)
  await writeSafetensors(join(folder, 'weights.safetensors'), { tensors, metadata: { format: 'seqrisk-encoder' } })
  const weights = await digestOfTensors(tensors)
  const config: ModelConfig = {
    format: 'seqrisk-encoder',
    version: VERSION,
    encoder: encoder.config,
    schema,
    encoding: encoder.encoding,
    ...(head && { head: head.config }),
    weights,
  }
  await writeFileAtomic(join(folder, 'config.json'), `${JSON.stringify(config, null, 2)}\n`)
  return weights
}

/** What a model folder holds. */
export interface LoadedEncoder {
  readonly encoder: Encoder
  readonly schema: Schema
  /** Of a fine-tuned model. */
  readonly head: StoredHead | null
}

/**
 * Loads what `saveEncoder` wrote; of a fine-tuned model the encoder serves alone.
 * @throws {SeqriskError} codes `FILE_NOT_FOUND`; `RUN_UNFINISHED` for a folder whose run has not ended; `MODEL_INVALID` for a damaged,
 *   hostile or newer model
 */
export async function loadEncoder(
  folder: string,
  options: { readonly device?: Device | undefined } = {},
): Promise<LoadedEncoder> {
  const pace = new Pace()
  const config = await readConfig(folder)
  await pace.turn()
  const { tensors } = await readSafetensors(join(folder, 'weights.safetensors'))
  await pace.turn()
  const encoder = new Encoder(config.encoding, config.encoder, { device: options.device, weights: tensors })
  const names = new Set(encoder.parameters.map(parameter => parameter.name))
  const others = [...tensors].filter(([name]) => !names.has(name))
  const extra = others.find(([name]) => config.head === undefined || !name.startsWith('head.'))
  if (extra !== undefined) {
    encoder.dispose()
    throw invalid('weights of this encoder alone', `another tensor '${extra[0]}'`)
  }
  if (config.weights !== undefined && config.weights !== (await digestOfTensors(tensors))) {
    encoder.dispose()
    throw invalid('the weights that belong to config.json', 'others')
  }
  const head = config.head === undefined ? null : { config: config.head, tensors: new Map(others) }
  await pace.turn()
  return { encoder, schema: config.schema, head }
}

async function readConfig(folder: string): Promise<ModelConfig> {
  const path = join(folder, 'config.json')
  const text = await readFile(path, 'utf8').catch(async cause => {
    throw await unreadable(folder, path, cause)
  })
  let value: Partial<ModelConfig>
  try {
    value = JSON.parse(text) as Partial<ModelConfig>
  } catch (cause) {
    throw invalid(`JSON in ${path}`, String((cause as Error).message))
  }
  if (value?.format !== 'seqrisk-encoder') throw invalid(`a seqrisk encoder in ${path}`, String(value?.format))
  if (value.version !== VERSION) throw invalid(`version ${VERSION}`, `version ${value.version}`)
  try {
    return {
      ...(value as ModelConfig),
      encoder: encoderConfig(value.encoder),
      schema: parseSchema(value.schema),
      encoding: checkEncoding(value.encoding),
    }
  } catch (cause) {
    if (cause instanceof SeqriskError && cause.code === 'MODEL_INVALID') throw cause
    throw invalid(`a valid ${path}`, String((cause as Error).message))
  }
}

/** Why there is no config. */
async function unreadable(folder: string, path: string, cause: unknown): Promise<SeqriskError> {
  if (!(await isThere(folder))) {
    const message = sentence('model', 'an existing folder', folder, 'check the path')
    return new SeqriskError('FILE_NOT_FOUND', message, { cause })
  }
  if (await hasWork(folder)) {
    const message = `[model] expected a model but received an unfinished run in '${folder}'; end it by resume (--resume)`
    return new SeqriskError('RUN_UNFINISHED', message, { cause })
  }
  const message = sentence('model', 'a readable config.json', path, 'give a folder that pretrain or finetune wrote')
  return new SeqriskError('FILE_NOT_FOUND', message, { cause })
}

/** Enough of a check that no stored number can lead outside a table. */
function checkEncoding(encoding: EventEncoding | undefined): EventEncoding {
  if (encoding?.version !== 1 || !Array.isArray(encoding.inputs) || encoding.inputs.length === 0) {
    throw invalid('an encoding of version 1 with inputs', String(encoding?.version))
  }
  if (typeof encoding.newest !== 'number') throw invalid('the newest time of an encoding', String(encoding.newest))
  for (const input of encoding.inputs) {
    const isSized = Number.isInteger(input.size) && input.size >= 2 && input.size <= 1 << 24
    const isKnown = ['categorical', 'numeric', 'cells', 'text'].includes(input.kind) && typeof input.name === 'string'
    if (!isKnown || !isSized) throw invalid('inputs with a name, a kind and a size', JSON.stringify(input).slice(0, 80))
    if (input.kind === 'categorical' && (!Array.isArray(input.values) || input.values.length + 2 > input.size)) {
      throw invalid(`at most ${input.size - 2} values of '${input.name}'`, String(input.values?.length))
    }
    if (input.kind === 'cells') {
      const groups: readonly (CellGroup | null)[] = Array.isArray(input.groups) ? input.groups : []
      const isCut = groups.every(group => isRisingList(group?.starts) && group!.starts.length > 0)
      const cells = groups.reduce((sum, group) => sum + (group?.starts?.length ?? 0), 0)
      const isWhole = typeof input.by === 'string' && isCut && cells === input.size - 2
      if (!isWhole) throw invalid(`groups of '${input.name}' with ${input.size - 2} cells`, 'others')
    }
    if (input.kind === 'numeric') {
      const { edges } = input
      if (!isRisingList(edges) || edges.length !== input.size - 1)
        throw invalid(`rising edges of '${input.name}'`, 'others')
    }
  }
  return encoding
}

function isRisingList(list: unknown): list is number[] {
  return Array.isArray(list) && list.every((one, i) => typeof one === 'number' && (i === 0 || one > list[i - 1]))
}

function invalid(expected: string, received: string): SeqriskError {
  const advice = 'the model is damaged or of another version; save it again'
  return new SeqriskError('MODEL_INVALID', `[model] expected ${expected} but received ${received}; ${advice}`)
}

/** SHA-256 of names, shapes and values, in the order of the names. */
async function digestOfTensors(tensors: ReadonlyMap<string, StoredTensor>): Promise<string> {
  const hash = createHash('sha256')
  const pace = new Pace()
  for (const [name, { shape, values }] of [...tensors].sort(([a], [b]) => compareText(a, b))) {
    hash.update(JSON.stringify([name, shape]))
    await addBytes(hash, values, pace)
  }
  return hash.digest('hex')
}

/** The values of parameters, by name. */
export async function readParameters(parameters: readonly Parameter[]): Promise<Map<string, StoredTensor>> {
  const tensors = new Map<string, StoredTensor>()
  // One after the other: memory for all at once would hold the event loop.
  for (const { name, value } of parameters) tensors.set(name, { shape: value.shape, values: await value.read() })
  return tensors
}
