// Tables with a column of targets or labels: numbers, or true and false, which in text are no numbers.

import { type ReadTableOptions, readTable, type Table } from '../events/table.js'
import { SeqriskError, sentence } from '../util/errors.js'

/**
 * `readTable`, in which the column `target` is numbers: true and false are 1 and 0, as they are in Parquet.
 * @param options  `numeric` names the target too
 * @throws {SeqriskError} code `COLUMN_TEXT` where its cells are names of something, and those of `readTable`
 */
export async function readWithTargets(
  where: string,
  file: string,
  target: string,
  options: ReadTableOptions & { readonly numeric: readonly string[] },
): Promise<Table> {
  let refused: unknown
  const table = await readTable(file, options).catch(error => {
    if (!(error instanceof SeqriskError && error.code === 'CELL_INVALID')) throw error
    refused = error
    const numeric = options.numeric.filter(name => name !== target)
    return readTable(file, { ...options, numeric, text: [...(options.text ?? []), target] })
  })
  if (Object.hasOwn(table.columns, target)) return table
  const { [target]: cells, ...texts } = table.texts
  const known = cells.filter(cell => cell !== null)
  if (known.every(cell => /^(true|false)$/i.test(cell))) {
    const flags = Float64Array.from(cells, cell => (cell === null ? Number.NaN : Number(/^true$/i.test(cell))))
    return { ...table, texts, columns: { ...table.columns, [target]: flags } }
  }
  // Numbers but for some cells: those are to be mended.
  if (refused && known.some(cell => !Number.isNaN(Number(cell)))) throw refused
  const advice = 'number the classes: 0, 1, …'
  throw new SeqriskError(
    'COLUMN_TEXT',
    sentence(where, `numbers, or true and false, in '${target}' of '${file}'`, [...new Set(known)], advice),
  )
}
