// Files that are whole or not there: written beside their place, synced, then renamed.

import { randomBytes } from 'node:crypto'
import { type FileHandle, mkdir, open, rename, rm, stat } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { SeqriskError } from './errors.js'

/** Bytes of one read or write: Node takes no more than 2^31 − 1. */
const PIECE = 1 << 30

/**
 * Writes a file so that a crash at any moment leaves the old one or the new one.
 * @throws {SeqriskError} code `WRITE_FAILED` (disk full, no rights); nothing of the new file is left then
 */
export async function writeFileAtomic(path: string, parts: string | readonly Uint8Array[]): Promise<void> {
  try {
    await mkdir(dirname(path), { recursive: true })
  } catch (cause) {
    throw writeFailed(path, cause)
  }
  await replaceFile(path, async temporary => {
    const file = await open(temporary, 'w')
    try {
      for (const part of typeof parts === 'string' ? [Buffer.from(parts)] : parts) await writeWhole(file, part)
    } finally {
      await file.close()
    }
  })
}

/**
 * Calls `write` with a temporary path in the folder of `path`, then puts the result in its place. A failure removes the
 * temporary file and leaves what was there before. A device or pipe (/dev/stdout) is handed to `write` itself.
 * @throws {SeqriskError} code `WRITE_FAILED` for what the system refuses; errors without a system code pass unchanged
 */
export async function replaceFile(path: string, write: (temporary: string) => Promise<void>): Promise<void> {
  const folder = dirname(path)
  const before = await stat(path).catch(() => null)
  const isDirect = before !== null && !before.isFile() && !before.isDirectory()
  const temporary = join(folder, `.${basename(path)}.${randomBytes(6).toString('hex')}.tmp`)
  try {
    if (isDirect) {
      await write(path)
      return
    }
    await write(temporary)
    const file = await open(temporary, 'r')
    try {
      await file.sync()
    } finally {
      await file.close()
    }
    await rename(temporary, path)
    await syncFolder(folder)
  } catch (cause) {
    if (!isDirect) await rm(temporary, { force: true }).catch(() => {})
    const code = (cause as NodeJS.ErrnoException | null)?.code
    throw typeof code === 'string' && /^E[A-Z]+$/.test(code) ? writeFailed(path, cause) : cause
  }
}

async function writeWhole(file: FileHandle, bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.byteLength; ) {
    const { bytesWritten } = await file.write(bytes, at, Math.min(PIECE, bytes.byteLength - at))
    at += bytesWritten
  }
}

/** Fills `bytes` with what stands from byte `from` of a file on. False when the file ends before. */
export async function readWhole(file: FileHandle, bytes: Uint8Array, from: number): Promise<boolean> {
  for (let at = 0; at < bytes.byteLength; ) {
    const { bytesRead } = await file.read(bytes, at, Math.min(PIECE, bytes.byteLength - at), from + at)
    if (bytesRead === 0) return false
    at += bytesRead
  }
  return true
}

/** Makes a rename survive a power cut. Folders cannot be opened on Windows, where a rename is durable by itself. */
async function syncFolder(folder: string): Promise<void> {
  if (process.platform === 'win32') return
  const handle = await open(folder, 'r')
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}

/** The error for a file that could not be written. */
export function writeFailed(path: string, cause: unknown): SeqriskError {
  const code = (cause as NodeJS.ErrnoException).code
  const why = code === 'ENOSPC' ? 'a full disk' : code === 'EACCES' || code === 'EPERM' ? 'no right to' : String(cause)
  const advice = code === 'ENOSPC' ? 'free some space' : 'check the folder'
  return new SeqriskError('WRITE_FAILED', `[files] expected to write ${path} but received ${why}; ${advice}`, { cause })
}
