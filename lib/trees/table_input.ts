// Tables from files as input of trees: which columns are features, and which codes categories have.

import type { ReadTableOptions, Table } from '../events/table.js'
import { expectOptions, expectRange, SeqriskError, sentence } from '../util/errors.js'
import type { GbrtModel, Levels } from './model.js'

/** What a model reads from a table. */
export interface TableLayout {
  readonly names: readonly string[]
  /** For each feature, the values of its codes; null for numbers and for codes as they are. */
  readonly levels: readonly (Levels | null)[]
}

/** What `tableLayout` can be told. */
export interface LayoutOptions {
  /** Columns that are no features. */
  readonly drop?: readonly string[] | undefined
  /** Columns whose values are names of something. Those of text need to be named here. */
  readonly categorical?: readonly string[] | undefined
}

/** The columns of a table, as `readTable` gives them or as they are in memory. */
export type TableColumns = Pick<Table, 'columns' | 'texts'>

const MOST_CODE = 1048575

/**
 * Which columns of a table are features, and which codes their categories have: what `columnsOfLayout` goes by, for training and,
 * by `layoutOfModel`, for every later table. Features are the numbers, then the texts. Where one categorical column holds anything
 * but codes from 0, all of them get codes, in the order of their values.
 * @throws {SeqriskError} codes `COLUMN_MISSING`, `COLUMN_TEXT` for text that is neither dropped nor categorical
 */
export function tableLayout(table: TableColumns, options: LayoutOptions = {}): TableLayout {
  const where = 'tableLayout'
  expectOptions(where, options, ['drop', 'categorical'])
  return layoutOf(where, table, options)
}

/** As `tableLayout`, in the name of somebody else. */
export function layoutOf(where: string, table: TableColumns, options: LayoutOptions = {}): TableLayout {
  const { drop = [], categorical = [] } = options
  const all = [...Object.keys(table.columns), ...Object.keys(table.texts)]
  for (const name of [...drop, ...categorical]) {
    // Readers leave a column without a name out.
    if (all.includes(name) || (name === '' && drop.includes(name))) continue
    throw new SeqriskError('COLUMN_MISSING', sentence(where, `a column '${name}'`, all))
  }
  const names = all.filter(name => !drop.includes(name))
  expectRange(names.length > 0, where, 'a column of features', 'none', 'drop fewer columns')
  const text = names.find(name => Object.hasOwn(table.texts, name) && !categorical.includes(name))
  if (text !== undefined) {
    const example = table.texts[text].find(value => value !== null && !isNumber(value))
    const advice = `name '${text}' as categorical, or drop it`
    throw new SeqriskError('COLUMN_TEXT', sentence(where, `numbers in '${text}'`, example, advice))
  }
  const coded = names.filter(name => categorical.includes(name))
  const areCodes = coded.every(name => Object.hasOwn(table.columns, name) && table.columns[name].every(isCode))
  return { names, levels: names.map(name => (areCodes || !coded.includes(name) ? null : levelsOf(table, name))) }
}

/** The layout that a model was trained on; of text, where it was saved with the values (`GbrtModel.withLevels`). */
export function layoutOfModel({ info, features }: GbrtModel): TableLayout {
  return { names: info.names, levels: info.levels ?? new Array(features).fill(null) }
}

/** What `readTable` must be told to read just these columns, as numbers or as text. */
export function readingOf({ names, levels }: TableLayout): ReadTableOptions {
  const isText = (f: number) => levels[f]?.some(level => typeof level === 'string') ?? false
  return { columns: names, numeric: names.filter((_, f) => !isText(f)), text: names.filter((_, f) => isText(f)) }
}

/**
 * The columns of a layout, in its order: numbers, and codes of categories. Missing and unknown values are NaN.
 * @throws {SeqriskError} codes `COLUMN_MISSING`, `COLUMN_TEXT` for text where the layout has numbers, or numbers where it has text
 */
export function columnsOfLayout({ names, levels }: TableLayout, table: TableColumns): Float64Array[] {
  const where = 'columnsOfLayout'
  return names.map((name, f) => {
    const own = levels[f]
    const isText = Object.hasOwn(table.texts, name)
    if (!isText && !Object.hasOwn(table.columns, name)) {
      throw new SeqriskError('COLUMN_MISSING', sentence(where, `a column '${name}'`, 'none'))
    }
    const wantsText = own?.some(level => typeof level === 'string') ?? false
    if (isText !== wantsText && (!own || own.length > 0)) {
      const example = isText ? table.texts[name].find(value => value !== null) : table.columns[name][0]
      const advice = 'read the table with what readingOf(layout) says'
      throw new SeqriskError(
        'COLUMN_TEXT',
        sentence(where, `${wantsText ? 'text' : 'numbers'} in '${name}'`, example, advice),
      )
    }
    if (!own) return table.columns[name]
    const codes = new Map<string | number | null, number>(own.map((value, code) => [value, code]))
    const values: Iterable<string | number | null> = isText ? table.texts[name] : table.columns[name]
    return Float64Array.from(values, value => codes.get(value) ?? Number.NaN)
  })
}

const isCode = (value: number) => Number.isNaN(value) || (Number.isInteger(value) && value >= 0 && value <= MOST_CODE)
const isNumber = (value: string) => value.trim() !== '' && !Number.isNaN(Number(value))

function levelsOf(table: TableColumns, name: string): Levels {
  if (!Object.hasOwn(table.texts, name)) {
    return [...new Set(table.columns[name].filter(value => !Number.isNaN(value)))].sort((a, b) => a - b)
  }
  const values = new Set<string>()
  for (const value of table.texts[name]) if (value !== null && value !== '') values.add(value)
  return [...values].sort()
}
