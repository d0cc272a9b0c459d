// The ids of a table as lines of JSON: a million of them are searched without making a string of each.

const NEW_LINE = 10

export class IdLines {
  readonly #bytes: Buffer

  constructor(bytes: Buffer) {
    this.#bytes = bytes
  }

  static text(ids: readonly string[]): Buffer {
    return Buffer.from(ids.map(id => `${JSON.stringify(id)}\n`).join(''))
  }

  get count(): number {
    let lines = 0
    for (let at = 0; at < this.#bytes.length; at++) if (this.#bytes[at] === NEW_LINE) lines++
    return lines
  }

  all(): string[] {
    const lines = this.#bytes.toString('utf8').split('\n')
    return lines.slice(0, -1).map(line => JSON.parse(line) as string)
  }

  /** The ids of some rows, in their order. */
  of(rows: readonly number[]): string[] {
    const order = rows.map((_, i) => i).sort((a, b) => rows[a] - rows[b])
    const out = new Array<string>(rows.length)
    const bytes = this.#bytes
    let start = 0
    let row = 0
    let next = 0
    for (let at = 0; at < bytes.length && next < order.length; at++) {
      if (bytes[at] !== NEW_LINE) continue
      while (next < order.length && rows[order[next]] === row) {
        out[order[next++]] = JSON.parse(bytes.toString('utf8', start, at)) as string
      }
      start = at + 1
      row++
    }
    return out
  }

  has(id: string): boolean {
    const line = Buffer.from(`${JSON.stringify(id)}\n`)
    for (let at = this.#bytes.indexOf(line); at >= 0; at = this.#bytes.indexOf(line, at + 1)) {
      if (at === 0 || this.#bytes[at - 1] === NEW_LINE) return true
    }
    return false
  }
}
