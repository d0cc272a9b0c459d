// The only file that loads the addon.

import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import type { Binding } from '../binding.js'
import { SeqriskError } from './util/errors.js'
import { packageRoot } from './util/package_root.js'

function load(): Binding {
  try {
    const binding = createRequire(import.meta.url)('node-gyp-build')(packageRoot) as Binding
    binding.set_error_class(SeqriskError)
    return binding
  } catch (cause) {
    throw new SeqriskError('BINARY_NOT_LOADED', sentenceOf(cause), { cause })
  }
}

/** One line, with one command. */
function sentenceOf(cause: unknown): string {
  const report = process.report?.getReport() as { header?: { glibcVersionRuntime?: string } } | undefined
  const libc = report?.header?.glibcVersionRuntime ? `glibc ${report.header.glibcVersionRuntime}` : 'no glibc'
  const expected = `a binary for ${process.platform}-${process.arch} (${libc}, Node ${process.version}) in ${packageRoot}`
  const received = cause instanceof Error ? cause.message : String(cause)
  // A checkout knows what it needs and installs it.
  const isCheckout = existsSync(join(packageRoot, '.ci', 'setup.mjs'))
  const command = isCheckout ? 'npm run build' : `npx --yes cmake-js@8 rebuild -d "${packageRoot}"`
  const needs = isCheckout ? '' : ' (needs cmake, make, a C++20 compiler and the headers of Highway, libhwy-dev)'
  return `[native] expected ${expected} but received: ${received.replace(/\s+/g, ' ').trim()}; compile one with \`${command}\`${needs}`
}

export const binding: Binding = load()
