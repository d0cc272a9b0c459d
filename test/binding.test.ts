import { createRequire } from 'node:module'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { bindingText, declaredFunctions } from './support/binding_types.js'

const root = fileURLToPath(new URL('..', import.meta.url))
const addon = createRequire(import.meta.url)(`${root}build/Release/seqrisk.node`) as Record<string, unknown>

describe('binding.d.ts', () => {
  it('names exactly what the addon exports', () => {
    const exported = Object.keys(addon)
    expect([...declaredFunctions().keys()].sort()).toEqual(exported.sort())
    expect(exported.length).toBeGreaterThan(40)
    for (const name of exported) expect(addon[name], name).toBeTypeOf('function')
  })

  it('has no any', () => {
    expect(bindingText()).not.toMatch(/\bany\b/)
  })
})
