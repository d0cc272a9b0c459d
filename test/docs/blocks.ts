// The code blocks of a document.

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { root } from '../support/package.js'

export interface Block {
  readonly language: string
  /** File that the block is, where it names one. */
  readonly file: string | null
  readonly text: string
}

export function blocksOf(document: string): Block[] {
  const text = readFileSync(join(root, 'docs', document), 'utf8')
  return [...text.matchAll(/^```(\w+)(?: (\S+))?\n(.*?)^```$/gms)].map(([, language, file, text]) => ({
    language,
    file: file ?? null,
    text,
  }))
}
