// Tables from files as input of trees: which columns are features, and which codes categories have.

import type { ReadTableOptions, Table } from '../events/table.js'
import { expectRange, SeqriskError, sentence } from '../util/errors.js'
import type { GbrtModel, Levels } from './model.js'

/** What a model reads from a table. */
export interface TableLayout {
  readonly names: readonly string[]
  /** For each feature, the values of its codes; null for numbers and for codes as they are. */
  readonly levels: readonly (Levels | null)[]
}

export interface LayoutOptions {
  /** Columns that are no features. */
  readonly drop?: readonly string[]
  /** Columns whose values are names of something. Those of text need to be named here. */
  readonly categorical?: readonly string[]
}

const MOST_CODE = 1048575

/**
 * The features of a table: its numbers, then its texts. Where one categorical column holds anything but codes from 0,
 * all of them get codes, in the order of their values.
 * @throws {SeqriskError} codes `COLUMN_MISSING`, `COLUMN_TEXT` for text that is neither dropped nor categorical
 */
export function layoutOf(where: string, table: Table, options: LayoutOptions = {}): TableLayout {
  const { drop = [], categorical = [] } = options
  const all = [...Object.keys(table.columns), ...Object.keys(table.texts)]
  for (const name of [...drop, ...categorical]) {
    // Readers leave a column without a name out.
    if (all.includes(name) || (name === '' && drop.includes(name))) continue
    throw new SeqriskError('COLUMN_MISSING', sentence(where, `a column '${name}'`, all))
  }
  const names = all.filter(name => !drop.includes(name))
  expectRange(names.length > 0, where, 'a column of features', 'none', 'drop fewer columns')
  const text = names.find(name => table.texts[name] && !categorical.includes(name))
  if (text !== undefined) {
    const example = table.texts[text].find(value => value !== null && !isNumber(value))
    const advice = `name '${text}' as categorical, or drop it`
    throw new SeqriskError('COLUMN_TEXT', sentence(where, `numbers in '${text}'`, example, advice))
  }
  const coded = names.filter(name => categorical.includes(name))
  const areCodes = coded.every(name => table.columns[name]?.every(isCode))
  return { names, levels: names.map(name => (areCodes || !coded.includes(name) ? null : levelsOf(table, name))) }
}

/** The layout that a model was trained on. */
export function layoutOfModel({ info, features }: GbrtModel): TableLayout {
  return { names: info.names, levels: info.levels ?? new Array(features).fill(null) }
}

/** How to read just these columns, as numbers or as text. */
export function readingOf({ names, levels }: TableLayout): ReadTableOptions {
  const isText = (f: number) => levels[f]?.some(level => typeof level === 'string') ?? false
  return { columns: names, numeric: names.filter((_, f) => !isText(f)), text: names.filter((_, f) => isText(f)) }
}

/** The columns of a layout: numbers, and codes of categories. Missing and unknown values are NaN. */
export function columnsOfLayout({ names, levels }: TableLayout, table: Table): Float64Array[] {
  return names.map((name, f) => {
    const own = levels[f]
    if (!own) return table.columns[name]
    const codes = new Map(own.map((value, code) => [value, code]))
    const values: readonly (string | null)[] | Float64Array = table.texts[name] ?? table.columns[name]
    return Float64Array.from(values, value => codes.get(value as string) ?? Number.NaN)
  })
}

const isCode = (value: number) => Number.isNaN(value) || (Number.isInteger(value) && value >= 0 && value <= MOST_CODE)
const isNumber = (value: string) => value.trim() !== '' && !Number.isNaN(Number(value))

function levelsOf(table: Table, name: string): Levels {
  const texts = table.texts[name]
  if (!texts) return [...new Set(table.columns[name].filter(value => !Number.isNaN(value)))].sort((a, b) => a - b)
  const values = new Set<string>()
  for (const value of texts) if (value !== null && value !== '') values.add(value)
  return [...values].sort()
}
