// The ids of a table as lines of JSON: a million of them are searched without making a string of each.

import { Pace } from '../util/pace.js'

const NEW_LINE = 10
/** Ids, or bytes of lines, between two looks at the clock. */
const SLICE_IDS = 1024
const SLICE_BYTES = 1 << 15

export class IdLines {
  readonly #bytes: Buffer

  constructor(bytes: Buffer) {
    this.#bytes = bytes
  }

  /** The lines, in parts that follow on each other. */
  static async parts(ids: readonly string[], signal?: AbortSignal): Promise<Buffer[]> {
    const pace = new Pace(signal)
    const parts: Buffer[] = []
    for (let at = 0; at < ids.length; at += SLICE_IDS) {
      const lines = ids.slice(at, at + SLICE_IDS).map(id => `${JSON.stringify(id)}\n`)
      parts.push(Buffer.from(lines.join('')))
      await pace.turn()
    }
    return parts
  }

  async count(): Promise<number> {
    let lines = 0
    for await (const [start, end] of this.#slices()) {
      for (let at = start; at < end; at++) if (this.#bytes[at] === NEW_LINE) lines++
    }
    return lines
  }

  async all(): Promise<string[]> {
    // A list that grows does so in jumps.
    const ids = new Array<string>(await this.count())
    let row = 0
    for await (const [start, end] of this.#slices()) {
      const lines = this.#bytes.toString('utf8', start, end).split('\n')
      for (const line of lines.slice(0, -1)) ids[row++] = JSON.parse(line) as string
    }
    return ids
  }

  /** The ids of some rows, in their order. */
  async of(rows: readonly number[]): Promise<string[]> {
    const order = rows.map((_, i) => i).sort((a, b) => rows[a] - rows[b])
    const out = new Array<string>(rows.length)
    const bytes = this.#bytes
    let row = 0
    let next = 0
    for await (const [begin, end] of this.#slices()) {
      let start = begin
      for (let at = begin; at < end && next < order.length; at++) {
        if (bytes[at] !== NEW_LINE) continue
        while (next < order.length && rows[order[next]] === row) {
          out[order[next++]] = JSON.parse(bytes.toString('utf8', start, at)) as string
        }
        start = at + 1
        row++
      }
      if (next === order.length) break
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

  /** Begins and ends of stretches of whole lines; the event loop gets its turn in between. */
  async *#slices(): AsyncGenerator<[start: number, end: number]> {
    const pace = new Pace()
    const { length } = this.#bytes
    for (let start = 0; start < length; ) {
      const last = this.#bytes.indexOf(NEW_LINE, start + SLICE_BYTES)
      const end = last < 0 ? length : last + 1
      yield [start, end]
      start = end
      await pace.turn()
    }
  }
}
