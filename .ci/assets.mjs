// Puts into dist/ what the compiler of TypeScript leaves behind: the types of the addon, threads in plain JavaScript, and
// what benches need of peers; and makes one file of what 'seqrisk' imports, since opening 150 takes most of the time that a
// first import does.

import { copyFileSync, mkdirSync, readdirSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { buildSync } from 'esbuild'

const root = fileURLToPath(new URL('..', import.meta.url))
const threads = [join('lib', 'transfer', 'umap_worker.mjs')]
const peers = readdirSync(join(root, 'bench', 'peers')).filter(name => /\.(py|json)$/.test(name))
for (const name of ['binding.d.ts', ...threads, ...peers.map(name => join('bench', 'peers', name))]) {
  const target = join(root, 'dist', name)
  mkdirSync(dirname(target), { recursive: true })
  copyFileSync(join(root, name), target)
}

const entry = join(root, 'dist', 'lib', 'index.js')
buildSync({
  entryPoints: [entry],
  outfile: entry,
  allowOverwrite: true,
  bundle: true,
  packages: 'external',
  platform: 'node',
  target: 'node20.19',
  format: 'esm',
  legalComments: 'none',
})
// Threads lie beside the file that starts them.
for (const name of threads) copyFileSync(join(root, name), join(root, 'dist', 'lib', basename(name)))
