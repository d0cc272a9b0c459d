// Rows of a table as the native learners take them.

import type { NumberArray } from '../../binding.js'
import { expectTyped, numberedNames, type TableData } from '../runtime/binned_matrix.js'
import { expectRange, expectType } from '../util/errors.js'

export interface Rows {
  /** One row-major array, or a list of columns. */
  readonly source: NumberArray | readonly NumberArray[]
  readonly rows: number
  readonly features: number
}

/**
 * @param names  which columns of a named table to take, in order; default all
 * @throws {RangeError} for columns of different lengths
 * @throws {TypeError} for a column that is no typed array
 */
export function rowsOf(where: string, data: TableData, names?: readonly string[]): Rows {
  if ('values' in data) {
    const { values, features } = data
    expectRange(Number.isInteger(features) && features > 0, where, 'features from 1', features)
    expectRange(values.length % features === 0, where, `rows of ${features} values`, values.length)
    return { source: values, rows: values.length / features, features }
  }
  const { columns } = data
  expectType(columns !== null && typeof columns === 'object', where, 'columns', columns)
  const source = Array.isArray(columns)
    ? (columns as readonly NumberArray[])
    : (names ?? Object.keys(columns)).map(name => {
        expectType(Object.hasOwn(columns, name), where, `column '${name}'`, undefined)
        return (columns as Readonly<Record<string, NumberArray>>)[name]
      })
  const own = names ?? (Array.isArray(columns) ? numberedNames(source.length) : Object.keys(columns))
  for (const [f, column] of source.entries()) expectTyped(where, own[f], column)
  const rows = source[0]?.length ?? 0
  for (const column of source) expectRange(column.length === rows, where, `columns of ${rows} rows`, column.length)
  return { source, rows, features: source.length }
}
