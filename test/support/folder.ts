// Folders for what tests write. They go when the test file is done.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll } from 'vitest'

const root = mkdtempSync(join(tmpdir(), 'seqrisk-test-'))
afterAll(() => rmSync(root, { recursive: true }))

/** A new, empty folder. */
export function temporaryFolder(): string {
  return mkdtempSync(join(root, 'folder-'))
}
