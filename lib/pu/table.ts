// Tables from files as PU problems: which rows are known positives, and which columns are features.

import type { ReadTableOptions, Table } from '../events/table.js'
import { readTable } from '../events/table.js'
import { columnsOfLayout, layoutOf, type TableLayout } from '../trees/table_input.js'
import { SeqriskError, sentence } from '../util/errors.js'
import { Pace } from '../util/pace.js'
import { TextIndex } from '../util/text_index.js'

/** A table read for PU learning. */
export interface PuTable {
  /** Name of the id column. */
  readonly id: string
  readonly ids: readonly string[]
  readonly layout: TableLayout
  readonly columns: readonly Float64Array[]
  /** 1 for known positives. */
  readonly positives: Uint8Array
}

/** What `readPuTable` can be told. */
export interface PuTableOptions extends Pick<ReadTableOptions, 'threads' | 'signal'> {
  readonly id: string
  readonly positive: string
  readonly drop?: readonly string[] | undefined
  readonly categorical?: readonly string[] | undefined
}

/**
 * Reads a table. In the column `positive` 1 is a known positive; 0 and an empty cell are unlabelled.
 * @throws {SeqriskError} codes `ID_TWICE`, `CELL_INVALID` and those of reading
 */
export async function readPuTable(where: string, file: string, options: PuTableOptions): Promise<PuTable> {
  const { id, positive, drop = [], categorical = [], threads, signal } = options
  const table: Table = await readTable(file, { id, numeric: [positive], threads, signal })
  const layout = layoutOf(where, table, { drop: [positive, ...drop], categorical })
  const marks = table.columns[positive]
  const positives = new Uint8Array(marks.length)
  const seen = new TextIndex()
  const pace = new Pace(signal)
  for (const [row, name] of table.ids.entries()) {
    // In each row: the small maps of an index grow at about the same time.
    if (pace.isDue) await pace.rest()
    const mark = marks[row]
    if (mark !== 0 && mark !== 1 && !Number.isNaN(mark)) {
      const text = sentence(
        where,
        `1, 0 or nothing in '${positive}' of id '${name}'`,
        mark,
        'mark known positives by 1',
      )
      throw new SeqriskError('CELL_INVALID', text)
    }
    if (seen.get(name) !== undefined) {
      throw new SeqriskError('ID_TWICE', sentence(where, `every id of '${id}' once`, name, 'keep one row per id'))
    }
    seen.set(name, row)
    positives[row] = Number(mark === 1)
  }
  const columns = columnsOfLayout(layout, table)
  return { id, ids: table.ids, layout, columns, positives }
}
