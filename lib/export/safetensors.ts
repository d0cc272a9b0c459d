// safetensors: an 8-byte length, a JSON header (name → dtype, shape, byte range), then the bytes. Little-endian.
// Reading trusts nothing: lengths, ranges, overlaps, gaps and sizes are checked before a value is looked at.

import { open } from 'node:fs/promises'
import { SeqriskError, sentence } from '../util/errors.js'
import { readWhole, writeFileAtomic } from '../util/files.js'

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
  const notFound = (cause?: unknown): never => {
    const text = sentence('safetensors', 'a readable file', path, 'check the path')
    throw new SeqriskError('FILE_NOT_FOUND', text, { cause })
  }
  const file = await open(path, 'r').catch(notFound)
  const refuse = (expected: string, received: string | number): never => {
    const advice = 'the file is damaged or of another kind; save the model again'
    const text = `[safetensors] expected ${expected} but received ${received} in ${path}; ${advice}`
    throw new SeqriskError('MODEL_INVALID', text)
  }
  const fill = async (bytes: Uint8Array, from: number) => {
    if (!(await readWhole(file, bytes, from))) refuse(`${bytes.length} bytes from byte ${from} on`, 'the end')
  }
  try {
    const info = await file.stat()
    if (info.isDirectory()) notFound()
    const { size } = info
    if (size < 8) refuse('a header length of 8 bytes', `a file of ${size} bytes`)
    const start = Buffer.alloc(8)
    await fill(start, 0)
    const length = start.readBigUInt64LE()
    if (length > BigInt(Math.min(MAX_HEADER, size - 8))) refuse('a header inside the file', `a length of ${length}`)
    const text = Buffer.alloc(Number(length))
    await fill(text, 8)
    const begin = 8 + text.length
    const { entries, metadata } = checkHeader(parseHeader(text, refuse), size - begin, refuse)
    // Each straight into its place: a file may be too large for one array, and memory for two copies.
    const tensors = new Map<string, StoredTensor>()
    for (const { name, shape, from, to } of entries) {
      const values = new Float32Array((to - from) / 4)
      await fill(new Uint8Array(values.buffer), begin + from)
      tensors.set(name, { shape, values })
    }
    return { tensors, metadata }
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

interface Entry {
  readonly name: string
  readonly shape: readonly number[]
  readonly from: number
  readonly to: number
}

/** The tensors in the order of the header. Together they fill the `room` behind it, each byte once. */
function checkHeader(header: Record<string, unknown>, room: number, refuse: Refuse) {
  const entries: Entry[] = []
  let metadata: Record<string, string> = {}
  for (const [name, value] of Object.entries(header)) {
    if (name === '__metadata__') {
      const isText = isObject(value) && Object.values(value).every(item => typeof item === 'string')
      if (!isText) refuse('metadata of texts', JSON.stringify(value).slice(0, 80))
      metadata = value as Record<string, string>
    } else {
      entries.push(checkEntry(name, value, room, refuse))
    }
  }
  let end = 0
  for (const { name, from, to } of [...entries].sort((a, b) => a.from - b.from || a.to - b.to)) {
    if (from !== end) refuse(`'${name}' to start at byte ${end}`, `${from} (an overlap or a gap)`)
    end = to
  }
  if (end !== room) refuse(`${end} bytes of values`, room)
  return { entries, metadata }
}

function checkEntry(name: string, value: unknown, room: number, refuse: Refuse): Entry {
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
  return { name, shape: shape as number[], from, to }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return value !== null && typeof value === 'object' && !Array.isArray(value)
}
