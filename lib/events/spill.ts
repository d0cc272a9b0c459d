// Folders for data that DuckDB spills: gone at the end of the process. What a signal left behind, the next process removes.

import { createHash, randomUUID } from 'node:crypto'
import { mkdtempSync, readlinkSync, rmSync } from 'node:fs'
import { lstat, readdir, rm } from 'node:fs/promises'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { SeqriskError } from '../util/errors.js'

/** Process numbers mean something on one machine, and in one container, alone: others may look into the same folder. */
const PLACE = createHash('sha256').update(`${hostname()} ${processNamespace()}`).digest('hex').slice(0, 8)
const NAME = new RegExp(`^seqrisk-${PLACE}-([1-9]\\d*)-[A-Za-z0-9]{6}$`)

const folders = new Set<string>()
const swept = new Set<string>()
process.on('exit', () => {
  for (const folder of folders) removeSpillFolder(folder)
})

/**
 * A new folder in `base`; the first call for a `base` also clears away what ended processes left there.
 * @throws {SeqriskError} code `DATABASE_FAILED` where none can be made
 */
export async function makeSpillFolder(base: string, where: string): Promise<string> {
  if (!swept.has(base)) {
    swept.add(base)
    await sweep(base)
  }
  try {
    const folder = mkdtempSync(join(base, `seqrisk-${PLACE}-${process.pid}-`))
    folders.add(folder)
    return folder
  } catch (cause) {
    const reason = (cause as Error).message
    const message = `[${where}] expected to make a folder in ${base} but received ${reason}; name another temporaryFolder`
    throw new SeqriskError('DATABASE_FAILED', message, { cause })
  }
}

export function removeSpillFolder(folder: string): void {
  rmSync(folder, { recursive: true, force: true })
  folders.delete(folder)
}

/** Removes folders of this user's processes that are no more. What cannot be removed stays. */
async function sweep(base: string): Promise<void> {
  for (const name of await readdir(base).catch(() => [])) {
    const pid = NAME.exec(name)?.[1]
    if (pid === undefined || isAlive(Number(pid))) continue
    const folder = join(base, name)
    const info = await lstat(folder).catch(() => null)
    const isOwn = info?.isDirectory() && info.uid === (process.geteuid?.() ?? info.uid)
    if (isOwn) await rm(folder, { recursive: true, force: true }).catch(() => {})
  }
}

/** In doubt, and when another process got the number since, it counts as alive. */
function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== 'ESRCH'
  }
}

/** Of a container its own. Where it cannot be known, one that nobody shares: then nothing is swept. */
function processNamespace(): string {
  if (process.platform !== 'linux') return ''
  try {
    return readlinkSync('/proc/self/ns/pid')
  } catch {
    return randomUUID()
  }
}
