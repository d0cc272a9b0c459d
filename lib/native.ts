// The only file that loads the addon.

import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join, relative, resolve } from 'node:path'
import type { Binding } from '../binding.js'
import { binariesFor, describeTarget, ownTarget, prebuiltFolder } from './util/binary.js'
import { SeqriskError } from './util/errors.js'
import { isBundled, packageRoot } from './util/package_root.js'

/** Names the one file to load where the package was taken apart, as bundlers do; relative to where the process runs. */
const VARIABLE = 'SEQRISK_BINARY'

interface Failure {
  readonly file: string
  readonly cause: unknown
}

function load(): Binding {
  const target = ownTarget()
  const named = process.env[VARIABLE]
  const files = named ? [resolve(named)] : binariesFor(packageRoot, target)
  const require = createRequire(import.meta.url)
  const failures: Failure[] = []
  for (const file of files) {
    try {
      const binding = require(file) as Binding
      binding.set_error_class(SeqriskError)
      return binding
    } catch (cause) {
      failures.push({ file, cause })
    }
  }
  const tried = failures.map(({ file, cause }) => `${shown(file)} (${reasonOf(file, cause)})`)
  const isPrebuilt = failures.some(({ file }) => file.startsWith(prebuiltFolder(packageRoot, target)))
  if (!named && !isPrebuilt) tried.push(`${shown(prebuiltFolder(packageRoot, target))} (none there)`)
  const expected = `a binary for ${describeTarget(target)} in ${named ? `$${VARIABLE}` : packageRoot}`
  const message = `[native] expected ${expected} but received: ${tried.join(', ')}; ${advice()}`
  throw new SeqriskError('BINARY_NOT_LOADED', message, { cause: failures.at(-1)!.cause })
}

function shown(file: string): string {
  return file.startsWith(packageRoot) ? relative(packageRoot, file) : file
}

/** One line. What Node adds of modules that required this one says nothing here. */
function reasonOf(file: string, cause: unknown): string {
  if (!existsSync(file)) return 'no such file'
  const text = (cause instanceof Error ? cause.message : String(cause)).split('\nRequire stack')[0]
  return text.replaceAll(`${file}: `, '').replace(/\s+/g, ' ').trim()
}

/** One command. A checkout knows what it needs and installs it. */
function advice(): string {
  if (isBundled) return `put the package's folder prebuilds there, or name one of its files in $${VARIABLE}`
  if (existsSync(join(packageRoot, '.ci', 'setup.mjs'))) return 'compile one with `npm run build`'
  const needs = 'needs cmake, make, a C++20 compiler and the headers of Highway, libhwy-dev'
  return `compile one with \`npx --yes cmake-js@8 rebuild -d "${packageRoot}"\` (${needs})`
}

export const binding: Binding = load()
