// What binding.d.ts declares, read from its text: the names of the functions and of their parameters.

import { readFileSync } from 'node:fs'

export interface DeclaredParameter {
  readonly name: string
  readonly type: string
}

const FILE = new URL('../../binding.d.ts', import.meta.url)

/** The text without comments. */
export function bindingText(): string {
  return readFileSync(FILE, 'utf8')
    .replace(/\/\*[\s\S]*?\*\//g, '')
    .replace(/\/\/.*$/gm, '')
}

/** Name to parameters, for every member of `Binding`. */
export function declaredFunctions(): Map<string, DeclaredParameter[]> {
  const [, body] = /interface Binding \{([\s\S]*?)\n\}/.exec(bindingText()) ?? []
  if (body === undefined) throw new Error('binding.d.ts has no interface Binding')
  const found = new Map<string, DeclaredParameter[]>()
  for (const [, name, list] of body.matchAll(/^ {2}(\w+)\(([\s\S]*?)\): [^\n]+$/gm)) {
    const parameters = list
      .split(/,(?![^(]*\))/)
      .map(part => part.trim())
      .filter(Boolean)
      .map(part => ({ name: part.slice(0, part.indexOf(':')), type: part.slice(part.indexOf(':') + 1).trim() }))
    found.set(name, parameters)
  }
  return found
}
