// The scores of a session's last ask, kept so that the next one need not fit them again. They are no part of what the session
// knows: lost or damaged ones are learned anew.

import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { crc32 } from 'node:zlib'
import { writeFileAtomic } from '../util/files.js'

const NAME = 'scores.f64'
/** Checksum and number of the log entry. */
const END = 8

/** @param at  number of the log entry whose scores they are */
export async function keepScores(folder: string, scores: Float64Array, at: number): Promise<void> {
  const bytes = new Uint8Array(scores.buffer, scores.byteOffset, scores.byteLength)
  const end = Buffer.alloc(END)
  end.writeUInt32LE(crc32(bytes))
  end.writeUInt32LE(at, 4)
  // A full disk costs a fit, not the session.
  await writeFileAtomic(join(folder, NAME), [bytes, end]).catch(() => {})
}

/** Null unless there are whole ones of that entry. */
export async function readScores(folder: string, rows: number, at: number): Promise<Float64Array | null> {
  const bytes = await readFile(join(folder, NAME)).catch(() => null)
  const size = rows * 8
  if (bytes?.length !== size + END || bytes.readUInt32LE(size + 4) !== at) return null
  if (bytes.readUInt32LE(size) !== crc32(bytes.subarray(0, size))) return null
  return new Float64Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + size))
}
