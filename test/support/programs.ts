// Programs of native/tests, which are built beside the addon when they are asked for.

import { existsSync, readdirSync, statSync } from 'node:fs'

/** What cuda_parity is built from, and cuda_emulated. */
export const PARITY_SOURCES = ['native/kernels/cuda', 'native/ops', 'native/runtime', 'native/tests', 'native/trees']

/** Why a program cannot stand for these sources, files or folders; '' if it can. */
export function whyMissing(program: string, builtFrom: readonly string[]): string {
  if (!existsSync(program)) return `${program} is not built`
  const built = statSync(program).mtimeMs
  const changed = builtFrom.flatMap(filesOf).find(name => statSync(name).mtimeMs > built)
  return changed === undefined ? '' : `${program} is older than ${changed}`
}

function filesOf(path: string): string[] {
  if (statSync(path).isFile()) return [path]
  const names = readdirSync(path, { recursive: true, encoding: 'utf8' }).map(name => `${path}/${name}`)
  return names.filter(name => statSync(name).isFile())
}
