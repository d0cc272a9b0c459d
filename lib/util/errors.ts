// Errors of the package. One sentence form: [where] expected … but received …; what to do.

/** Failures that are neither a wrong type (`TypeError`) nor a wrong value (`RangeError`); `code` is stable. */
export class SeqriskError extends Error {
  readonly code: string

  constructor(code: string, message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = 'SeqriskError'
    this.code = code
  }
}

/** The sentence itself, for the few places that build their error by hand. */
export function sentence(where: string, expected: string, received: unknown, advice?: string): string {
  return `[${where}] expected ${expected} but received ${describe(received)}${advice ? `; ${advice}` : ''}`
}

/** Throws a RangeError unless `holds`. */
export function expectRange(holds: boolean, where: string, expected: string, received: unknown, advice?: string): void {
  if (!holds) throw new RangeError(sentence(where, expected, received, advice))
}

/** Throws a TypeError unless `holds`. */
export function expectType(holds: boolean, where: string, expected: string, received: unknown, advice?: string): void {
  if (!holds) throw new TypeError(sentence(where, expected, received, advice))
}

/** Throws a TypeError for an option that does not exist, and names the closest one that does. */
export function expectOptions(where: string, given: object, known: readonly string[]): void {
  for (const name of Object.keys(given)) {
    if (known.includes(name)) continue
    const near = known.toSorted((a, b) => distance(a, name) - distance(b, name))[0]
    const advice = distance(near, name) <= 3 ? `did you mean '${near}'?` : `use one of ${known.join(', ')}`
    throw new TypeError(`[${where}] expected known options but received '${name}'; ${advice}`)
  }
}

function describe(value: unknown): string {
  if (typeof value === 'string') return `'${value}'`
  if (typeof value === 'bigint') return `${value}n`
  if (value === null || typeof value !== 'object') return String(value)
  if (Array.isArray(value)) return `[${value.slice(0, 6).map(item).join(', ')}${value.length > 6 ? ', …' : ''}]`
  return value.constructor?.name ?? 'object'
}

/** In a list, texts stand without quotes. */
function item(value: unknown): string {
  return typeof value === 'string' ? value : describe(value)
}

/** Levenshtein distance, to guess what a misspelled name meant. */
function distance(a: string, b: string): number {
  let previous = Array.from({ length: b.length + 1 }, (_, j) => j)
  for (let i = 1; i <= a.length; i++) {
    const row = [i]
    for (let j = 1; j <= b.length; j++) {
      row[j] = Math.min(previous[j] + 1, row[j - 1] + 1, previous[j - 1] + (a[i - 1] === b[j - 1] ? 0 : 1))
    }
    previous = row
  }
  return previous[b.length]
}
