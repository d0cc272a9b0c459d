// Files that are whole or not there: written beside their place, synced, then renamed.

import { randomBytes } from 'node:crypto'
import { mkdir, open, rename, rm } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { SeqriskError } from './errors.js'

/**
 * Writes a file so that a crash at any moment leaves the old one or the new one.
 * @throws {SeqriskError} code `WRITE_FAILED` (disk full, no rights); nothing of the new file is left then
 */
export async function writeFileAtomic(path: string, parts: string | readonly Uint8Array[]): Promise<void> {
  const folder = dirname(path)
  const temporary = join(folder, `.${basename(path)}.${randomBytes(6).toString('hex')}.tmp`)
  try {
    await mkdir(folder, { recursive: true })
    const file = await open(temporary, 'wx')
    try {
      for (const part of typeof parts === 'string' ? [Buffer.from(parts)] : parts) await writeWhole(file, part)
      await file.sync()
    } finally {
      await file.close()
    }
    await rename(temporary, path)
    await syncFolder(folder)
  } catch (cause) {
    await rm(temporary, { force: true }).catch(() => {})
    throw writeFailed(path, cause)
  }
}

async function writeWhole(file: Awaited<ReturnType<typeof open>>, bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.byteLength; ) {
    const { bytesWritten } = await file.write(bytes, at, bytes.byteLength - at)
    at += bytesWritten
  }
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
