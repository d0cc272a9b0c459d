// A disk that is soon full.

import { execFileSync } from 'node:child_process'
import { afterAll } from 'vitest'
import { temporaryFolder } from './folder.js'

/** The folder of an empty disk of a megabyte; null without the right to mount one. Not within a test. */
export function mountDisk(): string | null {
  const folder = temporaryFolder()
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', folder], { stdio: 'ignore' })
  } catch {
    return null
  }
  afterAll(() => void execFileSync('umount', [folder]))
  return folder
}
