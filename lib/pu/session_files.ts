// What an active session keeps of its table: settings, bins, ids, known positives, and the values to show to experts.

import { open, readdir, readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { crc32 } from 'node:zlib'
import { saveBins } from '../export/bins.js'
import type { BinnedMatrix } from '../runtime/binned_matrix.js'
import type { Levels } from '../trees/model.js'
import { SeqriskError, sentence } from '../util/errors.js'
import { writeFileAtomic } from '../util/files.js'
import { inSlices } from '../util/pace.js'
import type { SamplerOptions } from './active.js'
import { IdLines } from './id_lines.js'
import type { LearnerKind } from './learner.js'
import type { StopRules } from './stop.js'
import type { PuTable } from './table.js'

/** What a session was begun with, defaults filled in. */
export interface SessionSettings {
  readonly version: 1
  readonly id: string
  readonly rows: number
  readonly names: readonly string[]
  readonly levels: readonly (Levels | null)[]
  readonly sampling: SamplerOptions
  readonly rules: StopRules
  readonly learner: LearnerKind
  readonly upSample: number
  readonly setting: 'pu' | 'lu'
  readonly askAgain: boolean
  readonly seed: number
  /** CRC-32 of the files that answers refer to. */
  readonly checks: Readonly<Record<string, number>>
}

const SETTINGS = 'session.json'
const IDS = 'ids.jsonl'
const POSITIVES = 'positives.u8'
const VALUES = 'values.f64'
const UNUSUAL = 'unusual.f64'
export const BINS = 'bins.bin'

const bytesOf = ({ buffer, byteOffset, byteLength }: Uint8Array | Float64Array) =>
  new Uint8Array(buffer, byteOffset, byteLength)

/** Everything but the settings, which make a session out of a folder and come last. */
export async function writeTableFiles(
  folder: string,
  table: PuTable,
  matrix: BinnedMatrix,
  unusual: Float64Array,
  signal?: AbortSignal,
): Promise<Record<string, number>> {
  const ids = await IdLines.parts(table.ids, signal)
  await writeFileAtomic(join(folder, IDS), ids)
  await writeFileAtomic(join(folder, POSITIVES), [table.positives])
  const { columns, positives } = table
  const values = new Float64Array(positives.length * columns.length)
  for (const [f, column] of columns.entries()) {
    await inSlices(positives.length, signal, (from, to) => {
      for (let row = from; row < to; row++) values[row * columns.length + f] = column[row]
    })
  }
  await writeFileAtomic(join(folder, VALUES), [bytesOf(values)])
  await writeFileAtomic(join(folder, UNUSUAL), [bytesOf(unusual)])
  await saveBins(matrix, join(folder, BINS), { signal })
  const idsCheck = ids.reduce((sum, part) => crc32(part, sum), 0)
  return { [IDS]: idsCheck, [POSITIVES]: crc32(positives), [UNUSUAL]: crc32(bytesOf(unusual)) }
}

/** What makes a session of the folder. */
export async function writeSettings(folder: string, settings: SessionSettings): Promise<void> {
  await writeFileAtomic(join(folder, SETTINGS), settingsText(settings))
}

/** What the log's checksums begin with. */
export const settingsText = (settings: SessionSettings) => `${JSON.stringify(settings, null, 2)}\n`

/** @throws {SeqriskError} codes `SESSION_EXISTS`, `FOLDER_NOT_EMPTY` */
export async function expectNoSession(folder: string): Promise<void> {
  const names = await readdir(folder).catch(() => [] as string[])
  if (names.includes(SETTINGS)) {
    const text = sentence('active', 'a folder without a session', folder, 'go on with it, or name another folder')
    throw new SeqriskError('SESSION_EXISTS', text)
  }
  const own = new Set([IDS, POSITIVES, VALUES, UNUSUAL, BINS, 'log.jsonl', 'head.json', 'lock'])
  const other = names.find(name => !own.has(name) && !name.endsWith('.tmp'))
  if (other === undefined) return
  const text = sentence('active', `an empty folder for the session`, other, 'name a new folder')
  throw new SeqriskError('FOLDER_NOT_EMPTY', text)
}

/** @throws {SeqriskError} codes `NO_SESSION`, `SESSION_DAMAGED` */
export async function readSettings(folder: string): Promise<{ settings: SessionSettings; text: string }> {
  const path = join(folder, SETTINGS)
  const text = await readFile(path, 'utf8').catch((cause: unknown) => {
    throw new SeqriskError('NO_SESSION', sentence('active', `a session in ${folder}`, 'none', 'begin one with init'), {
      cause,
    })
  })
  try {
    const settings = JSON.parse(text) as SessionSettings
    if (settings.version === 1 && Number.isInteger(settings.rows) && Array.isArray(settings.names)) {
      return { settings, text }
    }
  } catch {
    // Falls through to the one error.
  }
  throw damaged(path)
}

export async function readIds(folder: string, settings: SessionSettings): Promise<IdLines> {
  const ids = new IdLines(await checked(folder, IDS, settings))
  if ((await ids.count()) !== settings.rows) throw damaged(join(folder, IDS))
  return ids
}

export async function readPositives(folder: string, settings: SessionSettings): Promise<Uint8Array> {
  const bytes = await checked(folder, POSITIVES, settings)
  if (bytes.length !== settings.rows) throw damaged(join(folder, POSITIVES))
  return new Uint8Array(bytes)
}

/** How unusual rows are, as learned when the session began. */
export async function readUnusual(folder: string, settings: SessionSettings): Promise<Float64Array> {
  const bytes = await checked(folder, UNUSUAL, settings)
  if (bytes.length !== settings.rows * 8) throw damaged(join(folder, UNUSUAL))
  return new Float64Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length))
}

async function checked(folder: string, name: string, { checks }: SessionSettings): Promise<Buffer<ArrayBuffer>> {
  const path = join(folder, name)
  const bytes = await readFile(path).catch(() => null)
  if (bytes === null || crc32(bytes) !== checks[name]) throw damaged(path)
  return bytes as Buffer<ArrayBuffer>
}

/** The values of some rows, (rows.length, features). */
export async function readValues(
  folder: string,
  { rows, names }: SessionSettings,
  wanted: readonly number[],
): Promise<Float64Array> {
  const path = join(folder, VALUES)
  const width = names.length
  const info = await stat(path).catch(() => null)
  if (info?.size !== rows * width * 8) throw damaged(path)
  const out = new Float64Array(wanted.length * width)
  const file = await open(path, 'r')
  try {
    for (const [i, row] of wanted.entries()) await file.read(bytesOf(out), i * width * 8, width * 8, row * width * 8)
  } finally {
    await file.close()
  }
  return out
}

function damaged(path: string): SeqriskError {
  const text = sentence('active', `${path} as it was written`, 'something else', 'restore the folder from a copy')
  return new SeqriskError('SESSION_DAMAGED', text)
}
