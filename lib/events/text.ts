// Words of a text and stable hashes of them: part of the meaning of a trained model, so neither may ever change.

const WORD = /[\p{L}\p{N}]+/gu
const encoder = new TextEncoder()
let bytes = new Uint8Array(256)

/**
 * Lower-cased runs of letters and digits, in order; text without any has no words.
 * @param ngrams  in place of each word its character n-grams, the word between < and > (Bojanowski et al. 2017)
 */
export function words(text: string, ngrams?: number): string[] {
  const found = text.toLowerCase().match(WORD) ?? []
  if (ngrams === undefined) return found
  const grams: string[] = []
  for (const word of found) {
    const letters = [...`<${word}>`]
    if (letters.length <= ngrams) grams.push(letters.join(''))
    else for (let i = 0; i + ngrams <= letters.length; i++) grams.push(letters.slice(i, i + ngrams).join(''))
  }
  return grams
}

/** A uint32 from a text: FNV-1a over its UTF-8 bytes, then the finalizer of MurmurHash3, which mixes the low bits. */
export function hashText(text: string): number {
  if (bytes.length < 3 * text.length) bytes = new Uint8Array(6 * text.length)
  const { written } = encoder.encodeInto(text, bytes)
  let hash = 0x811c9dc5
  for (let i = 0; i < written; i++) hash = Math.imul(hash ^ bytes[i], 0x01000193)
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b)
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35)
  return (hash ^ (hash >>> 16)) >>> 0
}
