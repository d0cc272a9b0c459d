// What the native binaries are made of, and one digest for it: binaries of other sources are stale.

import { createHash } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

/** Paths within `root`, in order. */
export function nativeSources(root) {
  return ['CMakeLists.txt', ...filesUnder(root, 'native')]
}

/** The same of a binary that is published: it has no tests, and a toolchain of its own. */
export function prebuiltSources(root) {
  const isOfTests = name => name.startsWith(join('native', 'tests'))
  return [...nativeSources(root).filter(name => !isOfTests(name)), ...filesUnder(root, 'cmake')]
}

/** Of names and contents. */
export function digestOf(root, names) {
  const hash = createHash('sha256')
  for (const name of names) hash.update(name).update(readFileSync(join(root, name)))
  return hash.digest('hex')
}

function filesUnder(root, folder) {
  return readdirSync(join(root, folder), { withFileTypes: true })
    .flatMap(entry => {
      const name = join(folder, entry.name)
      return entry.isDirectory() ? filesUnder(root, name) : [name]
    })
    .sort()
}
