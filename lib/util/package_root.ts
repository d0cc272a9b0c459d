// Where the package lies: this file is lib/util/package_root.ts in a checkout, dist/lib/util/package_root.js when built, and
// a part of dist/lib/index.js, or of somebody's bundle.

import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const folders = ['../..', '../../..', '.'].map(up => fileURLToPath(new URL(`${up}/`, import.meta.url)))
const found = folders.find(isPackage)

/** Whether this runs apart from its package, as part of a bundle. */
export const isBundled = found === undefined

/** The folder with package.json, ending in a separator; in a bundle, the folder of the bundle. */
export const packageRoot: string = found ?? folders[2]

/** Other projects have a package.json as well. */
function isPackage(folder: string): boolean {
  try {
    return (JSON.parse(readFileSync(`${folder}package.json`, 'utf8')) as { name?: string }).name === 'seqrisk'
  } catch {
    return false
  }
}
