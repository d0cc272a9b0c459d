// Binned matrices as files: 8 bytes of name, an 8-byte length, a JSON header, the bounds, the bins of categories, the
// bins as memory keeps them, and the CRC-32 of all that. Little-endian. Reading trusts nothing.

import { open, stat } from 'node:fs/promises'
import { crc32 } from 'node:zlib'
import { type BinnedColumn, BinnedMatrix } from '../runtime/binned_matrix.js'
import type { Device } from '../runtime/device.js'
import { expectOptions, SeqriskError, sentence } from '../util/errors.js'
import { writeFileAtomic } from '../util/files.js'

/** What saving and loading bins can be told. */
export interface BinsOptions {
  readonly signal?: AbortSignal | undefined
}

interface HeaderColumn {
  readonly kind: 'numeric' | 'categorical'
  readonly hasNaN: boolean
  readonly bounds: number
}

interface Header {
  readonly rows: number
  readonly names: readonly string[]
  readonly columns: readonly HeaderColumn[]
}

const NAME = Buffer.from('seqrbin1')
const FIXED = 16
const CHECK = 4
const MAX_HEADER = 100_000_000
const MOST_ROWS = 2 ** 31
const MOST_FEATURES = 65535
// Its checksum takes about a millisecond.
const PIECE = 1 << 20

const bytesOf = ({ buffer, byteOffset, byteLength }: Uint8Array | Float64Array) =>
  new Uint8Array(buffer, byteOffset, byteLength)

/**
 * Writes the bins of a matrix, whole or not at all. Takes the memory of the bins once more meanwhile.
 * @throws {SeqriskError} code `WRITE_FAILED`
 */
export async function saveBins(matrix: BinnedMatrix, path: string, options: BinsOptions = {}): Promise<void> {
  expectOptions('saveBins', options, ['signal'])
  const { rows, names, columns } = matrix
  const header: Header = {
    rows,
    names,
    columns: columns.map(({ isCategorical, hasNaN, bounds }) => ({
      kind: isCategorical ? 'categorical' : 'numeric',
      hasNaN,
      bounds: bounds.length,
    })),
  }
  const json = JSON.stringify(header)
  // Padded with spaces, so that the bounds stand on an 8-byte boundary.
  const text = Buffer.from(json + ' '.repeat((8 - (Buffer.byteLength(json) % 8)) % 8))
  const length = Buffer.alloc(8)
  length.writeBigUInt64LE(BigInt(text.length))
  const parts = [NAME, length, text, ...columns.map(column => bytesOf(column.bounds))]
  parts.push(...columns.map(column => column.binOf), await matrix.readKept())
  let check = 0
  for (const part of parts) {
    for (let at = 0; at < part.length; at += PIECE) {
      check = crc32(part.subarray(at, at + PIECE), check)
      if (part.length > PIECE) await new Promise<void>(resolve => setImmediate(resolve))
      options.signal?.throwIfAborted()
    }
  }
  const end = Buffer.alloc(CHECK)
  end.writeUInt32LE(check)
  await writeFileAtomic(path, [...parts, end])
}

/**
 * Reads a matrix that `saveBins` wrote: the same bins, and `like` bins other rows as before.
 * @throws {SeqriskError} code `BINS_INVALID` for a damaged or hostile file, `FILE_NOT_FOUND` when there is none
 */
export async function loadBins(device: Device, path: string, options: BinsOptions = {}): Promise<BinnedMatrix> {
  expectOptions('loadBins', options, ['signal'])
  const { signal } = options
  const info = await stat(path).catch(() => null)
  if (!info?.isFile()) {
    throw new SeqriskError('FILE_NOT_FOUND', sentence('loadBins', 'a readable file', path, 'check the path'))
  }
  const refuse = (expected: string, received: string | number, cause?: unknown): never => {
    const advice = 'the file is damaged or of another kind; save the bins again'
    const said = `[loadBins] expected ${expected} but received ${received} in ${path}; ${advice}`
    throw new SeqriskError('BINS_INVALID', said, { cause })
  }
  const file = await open(path, 'r')
  let check = 0
  const read = async (size: number): Promise<Uint8Array<ArrayBuffer>> => {
    signal?.throwIfAborted()
    const bytes = new Uint8Array(size)
    for (let at = 0; at < size; ) {
      const { bytesRead } = await file.read(bytes, at, size - at)
      if (bytesRead === 0) refuse(`${size} more bytes`, at)
      at += bytesRead
    }
    return bytes
  }
  const checked = async (size: number) => {
    const bytes = await read(size)
    check = crc32(bytes, check)
    return bytes
  }
  try {
    if (info.size < FIXED) refuse(`${FIXED} bytes of a header`, info.size)
    const start = Buffer.from(await checked(FIXED))
    if (!start.subarray(0, 8).equals(NAME)) refuse(`'${NAME}' at the start`, 'other bytes')
    const length = Number(start.readBigUInt64LE(8))
    if (length > Math.min(MAX_HEADER, info.size - FIXED)) refuse('a header inside the file', `a length of ${length}`)
    const header = parseHeader(await checked(length), refuse)
    const bounds = header.columns.reduce((sum, column) => sum + column.bounds, 0)
    const codes = header.columns.reduce((sum, { kind, bounds }) => sum + (kind === 'categorical' ? bounds : 0), 0)
    const bins = header.rows * header.columns.length
    const size = FIXED + length + bounds * 8 + codes + bins + CHECK
    if (size !== info.size) refuse(`${size} bytes`, info.size)
    const columns = columnsOf(header, new Float64Array((await checked(bounds * 8)).buffer), await checked(codes))
    const pieces = async function* () {
      for (let at = 0; at < bins; at += PIECE) yield await checked(Math.min(PIECE, bins - at))
      const end = Buffer.from(await read(CHECK)).readUInt32LE()
      if (end !== check) refuse(`a checksum of ${check}`, end)
    }
    return await BinnedMatrix.restore(device, { rows: header.rows, names: header.names, columns }, pieces())
  } catch (error) {
    // What the columns or their bins cannot be.
    if (error instanceof RangeError) return refuse('columns and bins that go together', error.message, error)
    throw error
  } finally {
    await file.close()
  }
}

function columnsOf({ columns }: Header, bounds: Float64Array, codes: Uint8Array): BinnedColumn[] {
  let at = 0
  let code = 0
  return columns.map(({ kind, hasNaN, bounds: count }) => {
    const isCategorical = kind === 'categorical'
    const own = bounds.subarray(at, at + count)
    const binOf = codes.subarray(code, code + (isCategorical ? count : 0))
    at += count
    code += binOf.length
    return { isCategorical, hasNaN, bins: count + Number(isCategorical), bounds: own, binOf }
  })
}

type Refuse = (expected: string, received: string | number, cause?: unknown) => never

function parseHeader(bytes: Uint8Array, refuse: Refuse): Header {
  let header: unknown
  try {
    header = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes))
  } catch (cause) {
    refuse('a JSON header', String((cause as Error).message), cause)
  }
  const isObject = (value: unknown): value is Record<string, unknown> => value !== null && typeof value === 'object'
  const isCount = (value: unknown, most: number): value is number =>
    Number.isInteger(value) && (value as number) >= 0 && (value as number) <= most
  if (!isObject(header)) return refuse('a JSON object as header', typeof header)
  const { rows, names, columns } = header
  if (!isCount(rows, MOST_ROWS) || rows === 0) return refuse('rows from 1 to 2^31', String(rows))
  if (!Array.isArray(columns) || columns.length === 0 || columns.length > MOST_FEATURES) {
    return refuse(`a list of 1 to ${MOST_FEATURES} columns`, typeof columns)
  }
  const isNamed = Array.isArray(names) && names.every(name => typeof name === 'string')
  if (!isNamed || names.length !== columns.length) return refuse(`${columns.length} names`, typeof names)
  for (const column of columns) {
    const isKind = isObject(column) && (column.kind === 'numeric' || column.kind === 'categorical')
    if (!isKind || typeof column.hasNaN !== 'boolean' || !isCount(column.bounds, 255)) {
      return refuse('columns of a kind, with up to 255 bounds', JSON.stringify(column)?.slice(0, 80))
    }
  }
  return { rows, names, columns: columns as HeaderColumn[] }
}
