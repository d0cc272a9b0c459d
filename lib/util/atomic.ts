// Files that appear whole or not at all: written beside their place, synced, then renamed.

import { open, rename, rm, stat } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { SeqriskError } from './errors.js'

let count = 0

/**
 * Calls `write` with a temporary path in the folder of `file`, then puts the result in its place. A failure removes the
 * temporary file and leaves what was there before. A device or pipe (/dev/stdout) is handed to `write` itself.
 * @throws {SeqriskError} WRITE_FAILED  when the folder or the disk does not take the file
 */
export async function replaceFile(
  file: string,
  where: string,
  write: (path: string) => Promise<void>,
  signal?: AbortSignal,
): Promise<void> {
  const before = await stat(file).catch(() => null)
  if (before?.isDirectory()) throw failed(file, where, new Error('it is a folder'))
  if (before && !before.isFile()) {
    await write(file).catch(cause => {
      throw wrapped(file, where, cause, signal)
    })
    return
  }
  const folder = dirname(file)
  const temporary = join(folder, `.${basename(file)}.${process.pid}-${count++}.tmp`)
  try {
    await write(temporary)
    await sync(temporary)
    await rename(temporary, file)
  } catch (cause) {
    await rm(temporary, { force: true }).catch(() => {})
    throw wrapped(file, where, cause, signal)
  }
  // Only then a crash cannot bring the old name back. Not every system lets a folder be synced.
  await sync(folder).catch(() => {})
}

async function sync(path: string): Promise<void> {
  const handle = await open(path, 'r')
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}

function wrapped(file: string, where: string, cause: unknown, signal?: AbortSignal): unknown {
  if (signal?.aborted) return signal.reason
  const isOurs = cause instanceof SeqriskError || cause instanceof TypeError || cause instanceof RangeError
  return isOurs && !('code' in cause && String(cause.code).startsWith('E')) ? cause : failed(file, where, cause)
}

function failed(file: string, where: string, cause: unknown): SeqriskError {
  const reason = cause instanceof Error ? cause.message.split('\n')[0] : String(cause)
  const advice = 'check the path, the rights and the space on the disk'
  const message = `[${where}] expected to write '${file}' but received: ${reason}; ${advice}`
  return new SeqriskError('WRITE_FAILED', message, { cause })
}
