// The values behind the codes of a stored column.

import type { DuckDBConnection } from '@duckdb/node-api'
import { stream, texts } from './duckdb.js'
import type { TextColumn } from './source.js'

/** Kept in memory: a hundred megabytes or two. To fetch values chunk by chunk costs ten times as much as to read the events. */
const KEPT: Limits = { values: 2 ** 21, characters: 2 ** 26 }

export interface Limits {
  readonly values: number
  readonly characters: number
}

/** The most frequent values stay in memory; the others are fetched for each chunk that has them. */
export class Dictionary {
  readonly #connection: DuckDBConnection
  readonly #table: string
  readonly #most: Limits
  #kept: readonly string[] | null = null

  /** @param table  (value) by falling frequency: a code is a rowid */
  constructor(connection: DuckDBConnection, table: string, most = KEPT) {
    this.#connection = connection
    this.#table = table
    this.#most = most
  }

  /** The same dictionary for every chunk of frequent values, else one of the chunk's own. */
  async resolve(codes: Int32Array, signal?: AbortSignal): Promise<TextColumn> {
    this.#kept ??= await this.#fetch(`LIMIT ${this.#most.values}`, null, signal, this.#most.characters)
    const kept = this.#kept
    if (codes.every(code => code < kept.length)) return { dictionary: kept, codes }
    const used = Int32Array.from(new Set(codes))
      .filter(code => code >= 0)
      .sort()
    const rare = used.filter(code => code >= kept.length)
    const fetched = await this.#fetch(
      `WHERE rowid IN (SELECT unnest([${rare.join(', ')}]::INTEGER[])) ORDER BY rowid`,
      rare.length,
      signal,
    )
    const frequent = used.subarray(0, used.length - rare.length)
    const place = new Map(Array.from(used, (code, i) => [code, i]))
    return {
      dictionary: [...Array.from(frequent, code => kept[code]), ...fetched],
      codes: codes.map(code => (code < 0 ? -1 : place.get(code)!)),
    }
  }

  async #fetch(
    rest: string,
    count: number | null,
    signal?: AbortSignal,
    most = Number.POSITIVE_INFINITY,
  ): Promise<string[]> {
    const values: string[] = []
    let characters = 0
    for await (const chunk of stream(this.#connection, `SELECT value FROM ${this.#table} ${rest}`, count, signal)) {
      for (const value of texts(chunk, 0) as string[]) {
        values.push(value)
        characters += value.length
      }
      if (characters > most) break
    }
    return values
  }
}
