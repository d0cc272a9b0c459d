// Where the package lies: this file is lib/util/package_root.ts in a checkout, dist/lib/util/package_root.js when built, and
// a part of dist/lib/index.js, or of somebody's bundle.

import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { SeqriskError } from './errors.js'

const folders = ['../..', '../../..', '.'].map(up => fileURLToPath(new URL(`${up}/`, ownAddress())))
const found = folders.find(isPackage)

/** Whether this runs apart from its package, as part of a bundle. */
export const isBundled = found === undefined

/** The folder with package.json, ending in a separator; in a bundle, the folder of the bundle. */
export const packageRoot: string = found ?? folders[2]

/** Where this module lies. Bundles of CommonJS do not know it. */
function ownAddress(): string {
  const address: string | undefined = import.meta.url
  if (address) return address
  const advice = 'bundle as an ES module, or mark seqrisk as external'
  throw new SeqriskError(
    'BUNDLED',
    `[package] expected an ES module but received a bundle of another format; ${advice}`,
  )
}

/** Other projects have a package.json as well. */
function isPackage(folder: string): boolean {
  try {
    return (JSON.parse(readFileSync(`${folder}package.json`, 'utf8')) as { name?: string }).name === 'seqrisk'
  } catch {
    return false
  }
}
