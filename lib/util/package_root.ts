// Where the package lies: this file is lib/util/package_root.ts in a checkout and dist/lib/util/package_root.js when built.

import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

/** The folder with package.json, ending in a separator; in a bundle, the folder of the bundle. */
export const packageRoot: string = ['../..', '../../..', '.']
  .map(up => fileURLToPath(new URL(`${up}/`, import.meta.url)))
  .find((folder, i) => i === 2 || existsSync(`${folder}package.json`))!
