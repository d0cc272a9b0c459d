// safetensors: an 8-byte length, a JSON header (name → dtype, shape, byte range), then the bytes. Little-endian.
// Reading trusts nothing: lengths, ranges, overlaps, gaps and sizes are checked before a value is looked at.

import { open, readFile, stat } from 'node:fs/promises'
import { SeqriskError, sentence } from '../util/errors.js'
import { writeFileAtomic } from '../util/files.js'

/** A tensor of a file. */
export interface StoredTensor {
  readonly shape: readonly number[]
  readonly values: Float32Array
}

export interface SafetensorsFile {
  readonly tensors: ReadonlyMap<string, StoredTensor>
  /** Free text beside the tensors. */
  readonly metadata: Readonly<Record<string, string>>
}

const MAX_HEADER = 100_000_000

/** Writes float32 tensors, whole or not at all. */
export async function writeSafetensors(path: string, file: SafetensorsFile): Promise<void> {
  const header: Record<string, unknown> = {}
  if (Object.keys(file.metadata).length > 0) header.__metadata__ = file.metadata
  let offset = 0
  const parts: Uint8Array[] = []
  for (const [name, { shape, values }] of file.tensors) {
    header[name] = { dtype: 'F32', shape, data_offsets: [offset, offset + values.byteLength] }
    offset += values.byteLength
    parts.push(new Uint8Array(values.buffer, values.byteOffset, values.byteLength))
  }
  const json = JSON.stringify(header)
  // The header is padded with spaces so that the values stand on an 8-byte boundary.
  const bytes = Buffer.byteLength(json)
  const text = Buffer.from(json + ' '.repeat((8 - (bytes % 8)) % 8))
  const length = Buffer.alloc(8)
  length.writeBigUInt64LE(BigInt(text.length))
  await writeFileAtomic(path, [length, text, ...parts])
}

/** @throws {SeqriskError} code `MODEL_INVALID` for a damaged or hostile file, `FILE_NOT_FOUND` when there is none */
export async function readSafetensors(path: string): Promise<SafetensorsFile> {
  const info = await stat(path).catch((cause: unknown) => {
    const advice = 'check the path'
    throw new SeqriskError('FILE_NOT_FOUND', sentence('safetensors', 'a readable file', path, advice), { cause })
  })
  const refuse = (expected: string, received: string | number): never => {
    const advice = 'the file is damaged or of another kind; save the model again'
    const text = `[safetensors] expected ${expected} but received ${received} in ${path}; ${advice}`
    throw new SeqriskError('MODEL_INVALID', text)
  }
  if (info.size < 8) refuse('a header length of 8 bytes', `a file of ${info.size} bytes`)
  const length = await headerLength(path)
  if (length > BigInt(Math.min(MAX_HEADER, info.size - 8))) refuse('a header inside the file', `a length of ${length}`)
  const bytes = await readFile(path)
  const begin = 8 + Number(length)
  const header = parseHeader(bytes.subarray(8, begin), refuse)
  const tensors = new Map<string, StoredTensor>()
  const ranges: { name: string; from: number; to: number }[] = []
  let metadata: Record<string, string> = {}
  for (const [name, value] of Object.entries(header)) {
    if (name === '__metadata__') {
      const isText = isObject(value) && Object.values(value).every(item => typeof item === 'string')
      if (!isText) refuse('metadata of texts', JSON.stringify(value).slice(0, 80))
      metadata = value as Record<string, string>
      continue
    }
    const { shape, from, to } = checkEntry(name, value, bytes.length - begin, refuse)
    ranges.push({ name, from, to })
    const values = new Float32Array((to - from) / 4)
    new Uint8Array(values.buffer).set(bytes.subarray(begin + from, begin + to))
    tensors.set(name, { shape, values })
  }
  ranges.sort((a, b) => a.from - b.from || a.to - b.to)
  let end = 0
  for (const { name, from, to } of ranges) {
    if (from !== end) refuse(`'${name}' to start at byte ${end}`, `${from} (an overlap or a gap)`)
    end = to
  }
  if (begin + end !== bytes.length) refuse(`${begin + end} bytes`, bytes.length)
  return { tensors, metadata }
}

async function headerLength(path: string): Promise<bigint> {
  const file = await open(path, 'r')
  try {
    const { buffer } = await file.read(Buffer.alloc(8), 0, 8, 0)
    return buffer.readBigUInt64LE()
  } finally {
    await file.close()
  }
}

type Refuse = (expected: string, received: string | number) => never

function parseHeader(bytes: Buffer, refuse: Refuse): Record<string, unknown> {
  let header: unknown
  try {
    header = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes))
  } catch (cause) {
    refuse('a JSON header', String((cause as Error).message))
  }
  if (!isObject(header)) return refuse('a JSON object as header', typeof header)
  return header
}

function checkEntry(name: string, value: unknown, room: number, refuse: Refuse) {
  if (!isObject(value)) return refuse(`an entry for '${name}'`, typeof value)
  if (value.dtype !== 'F32') refuse(`dtype F32 for '${name}'`, String(value.dtype))
  const isSize = (n: unknown): n is number => Number.isSafeInteger(n) && (n as number) >= 0
  const { shape, data_offsets: offsets } = value
  if (!Array.isArray(shape) || shape.length > 8 || !shape.every(isSize)) {
    return refuse(`a shape for '${name}'`, JSON.stringify(shape)?.slice(0, 80))
  }
  if (!Array.isArray(offsets) || offsets.length !== 2 || !offsets.every(isSize)) {
    return refuse(`a byte range for '${name}'`, JSON.stringify(offsets)?.slice(0, 80))
  }
  const [from, to] = offsets as number[]
  if (from > to || to > room) refuse(`'${name}' inside ${room} bytes`, `[${from}, ${to})`)
  const size = shape.reduce((product: number, n: number) => product * n, 4)
  if (size !== to - from) refuse(`${to - from} bytes for '${name}'`, `shape (${shape.join(', ')})`)
  return { shape: shape as number[], from, to }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return value !== null && typeof value === 'object' && !Array.isArray(value)
}
