// Copies into dist/ what the compiler of TypeScript leaves behind: the types of the addon, threads in plain JavaScript, and
// what benches need of peers.

import { copyFileSync, mkdirSync, readdirSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
const threads = [join('lib', 'transfer', 'umap_worker.mjs')]
const peers = readdirSync(join(root, 'bench', 'peers')).filter(name => /\.(py|json)$/.test(name))
for (const name of ['binding.d.ts', ...threads, ...peers.map(name => join('bench', 'peers', name))]) {
  const target = join(root, 'dist', name)
  mkdirSync(dirname(target), { recursive: true })
  copyFileSync(join(root, name), target)
}
