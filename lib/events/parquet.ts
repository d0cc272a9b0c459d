// A small Parquet writer: one text column, then either float64 columns (NaN as NULL) or one list of float32 per row.
// Plain encoding, one page per column and row group, rows never held beyond one group. Format: parquet-format 2.10,
// metadata in Thrift's compact protocol. Reading is DuckDB's task.

import type { FileHandle } from 'node:fs/promises'
import { promisify } from 'node:util'
import { gzip } from 'node:zlib'
import { Pace } from '../util/pace.js'

/** Rows of some entities; `cell(row, column)` is a number. */
export interface RowBlock {
  readonly ids: readonly string[]
  readonly cell: (row: number, column: number) => number
}

export interface RowLayout {
  readonly id: string
  readonly columns: readonly string[]
  /** All columns as one list of float32 of this name; else each is a float64 column. */
  readonly list: string | null
}

interface Leaf {
  readonly type: number
  readonly path: readonly string[]
  readonly codec: number
}

interface WrittenChunk {
  readonly leaf: Leaf
  readonly offset: number
  readonly values: number
  readonly plainBytes: number
  readonly bytes: number
}

const MAGIC = Buffer.from('PAR1')
const [FLOAT, DOUBLE, BYTE_ARRAY] = [4, 5, 6]
const [REQUIRED, OPTIONAL, REPEATED] = [0, 1, 2]
const [UTF8, LIST] = [0, 3]
const [PLAIN, RLE] = [0, 3]
const [UNCOMPRESSED, GZIP] = [0, 2]
const GROUP_BYTES = 1 << 24
const MOST_ROWS = 1 << 16
const zip = promisify(gzip)

/** Writes a whole file from blocks of rows. */
export async function writeParquetFile(
  file: FileHandle,
  layout: RowLayout,
  blocks: AsyncIterable<RowBlock>,
  signal?: AbortSignal,
): Promise<void> {
  const pace = new Pace(signal)
  const leaves = leavesOf(layout)
  const groups: { rows: number; chunks: WrittenChunk[] }[] = []
  let at = MAGIC.length
  await writeAll(file, MAGIC)
  for await (const group of rowGroups(layout, blocks)) {
    const rows = group.reduce((sum, part) => sum + part.end - part.begin, 0)
    const chunks: WrittenChunk[] = []
    for (const [i, leaf] of leaves.entries()) {
      const body = await pageBody(layout, group, rows, i, pace)
      const stored = leaf.codec === GZIP ? await zip(body, { level: 1 }) : body
      const values = layout.list !== null && i > 0 ? rows * layout.columns.length : rows
      const header = pageHeader(body.length, stored.length, values)
      await writeAll(file, header)
      await writeAll(file, stored)
      const plainBytes = header.length + body.length
      chunks.push({ leaf, offset: at, values, plainBytes, bytes: header.length + stored.length })
      at += header.length + stored.length
      await pace.turn()
    }
    groups.push({ rows, chunks })
  }
  const footer = fileMetadata(layout, groups)
  const tail = Buffer.alloc(4)
  tail.writeUInt32LE(footer.length)
  await writeAll(file, Buffer.concat([footer, tail, MAGIC]))
}

interface Part {
  readonly block: RowBlock
  readonly begin: number
  readonly end: number
}

/** Rows in groups of about 16 MB. */
async function* rowGroups(layout: RowLayout, blocks: AsyncIterable<RowBlock>): AsyncGenerator<Part[], void, void> {
  const rowBytes = 16 + layout.columns.length * (layout.list === null ? 8 : 4)
  const most = Math.max(1, Math.min(MOST_ROWS, Math.floor(GROUP_BYTES / rowBytes)))
  let group: Part[] = []
  let rows = 0
  for await (const block of blocks) {
    for (let begin = 0; begin < block.ids.length; ) {
      const end = Math.min(block.ids.length, begin + most - rows)
      group.push({ block, begin, end })
      rows += end - begin
      begin = end
      if (rows < most) continue
      yield group
      group = []
      rows = 0
    }
  }
  if (rows > 0) yield group
}

function leavesOf(layout: RowLayout): Leaf[] {
  const id = { type: BYTE_ARRAY, path: [layout.id], codec: GZIP }
  if (layout.list !== null) return [id, { type: FLOAT, path: [layout.list, 'list', 'element'], codec: UNCOMPRESSED }]
  return [id, ...layout.columns.map(column => ({ type: DOUBLE, path: [column], codec: GZIP }))]
}

async function pageBody(layout: RowLayout, group: Part[], rows: number, leaf: number, pace: Pace): Promise<Buffer> {
  if (leaf === 0) return textBody(group, pace)
  if (layout.list !== null) return listBody(group, rows, layout.columns.length, pace)
  return numberBody(group, rows, leaf - 1)
}

/** Texts with their lengths in front. */
async function textBody(group: Part[], pace: Pace): Promise<Buffer> {
  const pieces: Buffer[] = []
  for (const { block, begin, end } of group) {
    for (let row = begin; row < end; row++) {
      const text = Buffer.from(block.ids[row])
      const length = Buffer.alloc(4)
      length.writeUInt32LE(text.length)
      pieces.push(length, text)
      if (row % 256 === 0) await pace.turn()
    }
  }
  return Buffer.concat(pieces)
}

/** Definition levels, one bit each, then the values that are not NULL. */
function numberBody(group: Part[], rows: number, column: number): Buffer {
  const groupsOf8 = Math.ceil(rows / 8)
  const head = varint(groupsOf8 * 2 + 1)
  const levels = Buffer.alloc(4 + head.length + groupsOf8)
  levels.writeUInt32LE(head.length + groupsOf8)
  head.copy(levels, 4)
  const values = Buffer.alloc(8 * rows)
  let at = 0
  let row = 0
  for (const { block, begin, end } of group) {
    for (let i = begin; i < end; i++, row++) {
      const value = block.cell(i, column)
      if (Number.isNaN(value)) continue
      levels[4 + head.length + (row >> 3)] |= 1 << (row & 7)
      at = values.writeDoubleLE(value, at)
    }
  }
  return Buffer.concat([levels, values.subarray(0, at)])
}

/** Repetition levels 0 1 1 … per row and definition levels all 1, as runs; then all values. */
async function listBody(group: Part[], rows: number, width: number, pace: Pace): Promise<Buffer> {
  const first = Buffer.concat([varint(1 << 1), Buffer.of(0)])
  const rest = width > 1 ? Buffer.concat([varint((width - 1) * 2), Buffer.of(1)]) : Buffer.alloc(0)
  const row = Buffer.concat([first, rest])
  const repetition = Buffer.alloc(4 + row.length * rows)
  repetition.writeUInt32LE(row.length * rows)
  repetition.fill(row, 4)
  const run = Buffer.concat([varint(rows * width * 2), Buffer.of(1)])
  const definition = Buffer.concat([Buffer.alloc(4), run])
  definition.writeUInt32LE(run.length)
  const head = Buffer.concat([repetition, definition])
  // Neither cleared nor copied: either would touch megabytes of fresh pages in one go.
  const body = Buffer.allocUnsafe(head.length + 4 * rows * width)
  let at = head.copy(body)
  for (const { block, begin, end } of group) {
    for (let i = begin; i < end; i++) {
      for (let column = 0; column < width; column++) at = body.writeFloatLE(block.cell(i, column), at)
      if (pace.isDue) await pace.rest()
    }
  }
  return body
}

function pageHeader(plainBytes: number, bytes: number, values: number): Buffer {
  const page = struct([
    [1, i32(values)],
    [2, i32(PLAIN)],
    [3, i32(RLE)],
    [4, i32(RLE)],
  ])
  return struct([
    [1, i32(0)],
    [2, i32(plainBytes)],
    [3, i32(bytes)],
    [5, page],
  ]).bytes
}

function fileMetadata(layout: RowLayout, groups: readonly { rows: number; chunks: WrittenChunk[] }[]): Buffer {
  const leaf = (name: string, type: number, repetition: number, converted?: number) =>
    struct([
      [1, i32(type)],
      [3, i32(repetition)],
      [4, binary(name)],
      ...(converted === undefined ? [] : [[6, i32(converted)] as const]),
    ])
  const node = (name: string, children: number, repetition?: number, converted?: number) =>
    struct([
      ...(repetition === undefined ? [] : [[3, i32(repetition)] as const]),
      [4, binary(name)],
      [5, i32(children)],
      ...(converted === undefined ? [] : [[6, i32(converted)] as const]),
    ])
  const id = leaf(layout.id, BYTE_ARRAY, REQUIRED, UTF8)
  const schema =
    layout.list === null
      ? [node('schema', 1 + layout.columns.length), id, ...layout.columns.map(column => leaf(column, DOUBLE, OPTIONAL))]
      : [
          node('schema', 2),
          id,
          node(layout.list, 1, REQUIRED, LIST),
          node('list', 1, REPEATED),
          leaf('element', FLOAT, REQUIRED),
        ]
  const chunk = (one: WrittenChunk) => {
    const metadata = struct([
      [1, i32(one.leaf.type)],
      [2, list([i32(PLAIN), i32(RLE)])],
      [3, list(one.leaf.path.map(binary))],
      [4, i32(one.leaf.codec)],
      [5, i64(one.values)],
      [6, i64(one.plainBytes)],
      [7, i64(one.bytes)],
      [9, i64(one.offset)],
    ])
    return struct([
      [2, i64(one.offset)],
      [3, metadata],
    ])
  }
  const group = (one: { rows: number; chunks: WrittenChunk[] }) =>
    struct([
      [1, list(one.chunks.map(chunk))],
      [2, i64(one.chunks.reduce((sum, each) => sum + each.plainBytes, 0))],
      [3, i64(one.rows)],
    ])
  return struct([
    [1, i32(1)],
    [2, list(schema)],
    [3, i64(groups.reduce((sum, one) => sum + one.rows, 0))],
    [4, list(groups.map(group), STRUCT)],
    [6, binary('seqrisk')],
  ]).bytes
}

// Thrift's compact protocol: a value knows its type code, a struct's fields carry the step from the last field's number.

interface Value {
  readonly type: number
  readonly bytes: Buffer
}

const [I32, I64, BINARY, LIST_TYPE, STRUCT] = [5, 6, 8, 9, 12]

function varint(value: number): Buffer {
  const bytes: number[] = []
  let left = value
  while (left >= 0x80) {
    bytes.push((left % 0x80) + 0x80)
    left = Math.floor(left / 0x80)
  }
  bytes.push(left)
  return Buffer.from(bytes)
}

/** Zigzag of a number ≥ 0 is its double. */
function i32(value: number): Value {
  return { type: I32, bytes: varint(value * 2) }
}

function i64(value: number): Value {
  return { type: I64, bytes: varint(value * 2) }
}

function binary(value: string): Value {
  const text = Buffer.from(value)
  return { type: BINARY, bytes: Buffer.concat([varint(text.length), text]) }
}

function list(values: readonly Value[], type = values[0].type): Value {
  const head =
    values.length < 15
      ? Buffer.of(values.length * 16 + type)
      : Buffer.concat([Buffer.of(0xf0 + type), varint(values.length)])
  return { type: LIST_TYPE, bytes: Buffer.concat([head, ...values.map(value => value.bytes)]) }
}

function struct(fields: readonly (readonly [id: number, value: Value])[]): Value {
  const pieces: Buffer[] = []
  let last = 0
  for (const [id, value] of fields) {
    pieces.push(Buffer.of((id - last) * 16 + value.type), value.bytes)
    last = id
  }
  return { type: STRUCT, bytes: Buffer.concat([...pieces, Buffer.of(0)]) }
}

async function writeAll(file: FileHandle, bytes: Buffer): Promise<void> {
  for (let at = 0; at < bytes.length; ) at += (await file.write(bytes, at)).bytesWritten
}
