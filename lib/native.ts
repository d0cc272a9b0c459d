// The only file that loads the addon.

import { createRequire } from 'node:module'
import { fileURLToPath } from 'node:url'
import type { Binding } from '../binding.js'
import { SeqriskError } from './util/errors.js'

function load(): Binding {
  const root = fileURLToPath(new URL('..', import.meta.url))
  try {
    const binding = createRequire(import.meta.url)('node-gyp-build')(root) as Binding
    binding.set_error_class(SeqriskError)
    return binding
  } catch (cause) {
    const report = process.report?.getReport() as { header?: { glibcVersionRuntime?: string } } | undefined
    const libc = report?.header?.glibcVersionRuntime ? `glibc ${report.header.glibcVersionRuntime}` : 'no glibc'
    throw new SeqriskError(
      'BINARY_NOT_LOADED',
      `[native] expected a binary for ${process.platform}-${process.arch} (${libc}, Node ${process.version}) under ` +
        `${root}build/Release or ${root}prebuilds but received: ${(cause as Error).message}; compile one with ` +
        '`npx cmake-js@8 compile -d node_modules/seqrisk` (needs cmake, make, a C++20 compiler and libhwy-dev), or in ' +
        'a checkout with `npm run build`',
      { cause },
    )
  }
}

export const binding: Binding = load()
