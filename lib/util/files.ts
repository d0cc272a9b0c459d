// Files that are whole or not there: written beside their place, synced, then renamed.

import { randomBytes } from 'node:crypto'
import { access, constants, type FileHandle, mkdir, open, readlink, realpath, rename, rm, stat } from 'node:fs/promises'
import { basename, dirname, join, resolve } from 'node:path'
import { SeqriskError, sentence } from './errors.js'

/** Bytes of one read or write: Node takes no more than 2^31 − 1. */
const PIECE = 1 << 30
/** Linux follows as many. */
const MOST_LINKS = 40

/**
 * Writes a file so that a crash at any moment leaves the old one or the new one.
 * @throws {SeqriskError} code `WRITE_FAILED` (disk full, no rights); nothing of the new file is left then
 */
export async function writeFileAtomic(path: string, parts: string | readonly Uint8Array[]): Promise<void> {
  await replaceFile(path, async place => {
    const file = await open(place, 'a')
    try {
      for (const part of typeof parts === 'string' ? [Buffer.from(parts)] : parts) await writeWhole(file, part)
    } finally {
      await file.close()
    }
  })
}

/**
 * Calls `write` with a temporary path in the folder of `path`, which is made if it is missing, then puts the result in its
 * place. A failure removes the temporary file and leaves what was there before. A link stays: what it leads to is replaced. A
 * device, a pipe and what lies below /dev or /proc (/dev/stdout) are handed to `write` themselves; it appends, for a shell may
 * have sent them to a file that has content.
 * @throws {SeqriskError} code `WRITE_FAILED` for what the system refuses; errors without a system code pass unchanged
 */
export async function replaceFile(path: string, write: (place: string) => Promise<void>): Promise<void> {
  try {
    const place = await endOfLinks(path)
    if (await isDirect(place)) await write(place)
    else await replaceWhole(place, write)
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException | null)?.code
    throw typeof code === 'string' && /^E[A-Z]+$/.test(code) ? writeFailed(path, cause) : cause
  }
}

/** Whether a path lies where the system keeps devices and open files. What links lead to there must not be renamed. */
export function isSystemPath(path: string): boolean {
  return /^\/(dev|proc)\/(?!shm\/)/.test(resolve(path))
}

/** Where a path leads, be there a file yet or not. */
async function endOfLinks(path: string): Promise<string> {
  let place = path
  for (let links = 0; links < MOST_LINKS; links++) {
    const target = isSystemPath(place) ? null : await readlink(place).catch(() => null)
    if (target === null) return place
    place = resolve(await realpath(dirname(place)), target)
  }
  // Throws the system's own error for a ring of links.
  return realpath(path)
}

async function isDirect(place: string): Promise<boolean> {
  if (isSystemPath(place)) return true
  const before = await stat(place).catch(() => null)
  return before !== null && !before.isFile() && !before.isDirectory()
}

async function replaceWhole(path: string, write: (place: string) => Promise<void>): Promise<void> {
  const folder = dirname(path)
  const temporary = join(folder, `.${basename(path)}.${randomBytes(6).toString('hex')}.tmp`)
  try {
    await mkdir(folder, { recursive: true })
    await write(temporary)
    const file = await open(temporary, 'r')
    try {
      await file.sync()
    } finally {
      await file.close()
    }
    await rename(temporary, path)
  } catch (error) {
    await rm(temporary, { force: true }).catch(() => {})
    throw error
  }
  await syncFolder(folder)
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

/**
 * Makes a rename survive a power cut, where the system lets it: many cannot open or sync folders (Windows, some network
 * disks, folders without the right to list them). No failure, for the new file is in its place.
 */
async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r').catch(() => null)
  await handle?.sync().catch(() => {})
  await handle?.close().catch(() => {})
}

/**
 * Refuses a place where nothing can be written, for the work that is to end there. Folders may be missing: they are made when
 * something is written.
 * @throws {SeqriskError} code `WRITE_FAILED`
 */
export async function expectPlace(path: string, kind: 'file' | 'folder'): Promise<void> {
  if (isSystemPath(path)) return
  const place = await realpath(path).catch(() => resolve(path))
  const there = await stat(place).catch(() => null)
  const isDirect = there !== null && !there.isFile() && !there.isDirectory()
  if (isDirect) return
  if (kind === 'file' && there?.isDirectory()) throw notThere(`a file at ${place}`, 'a folder')
  const folder = await nearestFolder(kind === 'folder' ? place : dirname(place))
  await access(folder, constants.W_OK).catch((cause: unknown) => {
    throw writeFailed(path, cause)
  })
}

/** Whether a file or a folder is there. */
export const isThere = (path: string): Promise<boolean> =>
  stat(path).then(
    () => true,
    () => false,
  )

/** The folder itself, or the one above it that is there. */
async function nearestFolder(folder: string): Promise<string> {
  const there = await stat(folder).catch(() => null)
  if (there?.isDirectory()) return folder
  if (there) throw notThere(`a folder at ${folder}`, 'a file')
  const above = dirname(folder)
  return above === folder ? folder : nearestFolder(above)
}

function notThere(expected: string, received: string): SeqriskError {
  return new SeqriskError('WRITE_FAILED', sentence('files', expected, received, 'name another place'))
}

/** The error for a file that could not be written. */
export function writeFailed(path: string, cause: unknown): SeqriskError {
  const code = (cause as NodeJS.ErrnoException).code
  const why = code === 'ENOSPC' ? 'a full disk' : code === 'EACCES' || code === 'EPERM' ? 'no right to' : String(cause)
  const advice = code === 'ENOSPC' ? 'free some space' : 'check the folder'
  return new SeqriskError('WRITE_FAILED', `[files] expected to write ${path} but received ${why}; ${advice}`, { cause })
}
