// The ready tables beside the project: columns, labels, and which rows train.

import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'
import { readTable, type Table } from '../../lib/events/table.js'
import { Philox } from '../../lib/util/philox.js'
import { tasksFolder } from './tasks.js'

export interface TableTask {
  readonly name: string
  readonly names: readonly string[]
  readonly columns: readonly (Float32Array | Float64Array)[]
  /** Numbers of columns. */
  readonly categorical: readonly number[]
  /** 0 or 1. */
  readonly labels: Float32Array
  /** The first of the rows that are kept for tests only; all rows where there are none. */
  readonly firstTest: number
}

interface Listed {
  readonly name: string
  readonly file: string
  readonly test?: string
  readonly label: string
  readonly positive: string
  readonly drop: readonly string[]
  readonly categorical: readonly string[]
}

const MISSING = new Set(['', 'NA', '.', '?'])
const list = join(tasksFolder, 'tabular.json')

/** The tables in their order, or none where the list is absent. */
export function tableNames(): string[] {
  return existsSync(list) ? listed().map(table => table.name) : []
}

const listed = (): Listed[] => JSON.parse(readFileSync(list, 'utf8')) as Listed[]

export async function openTable(name: string): Promise<TableTask> {
  const table = listed().find(one => one.name === name)!
  const files = [table.file, ...(table.test ? [table.test] : [])].map(file => join(tasksFolder, '..', file))
  const parts = await Promise.all(files.map(file => (file.endsWith('.libsvm.gz') ? sparse(file) : read(file, table))))
  const names = [...new Set(parts.flatMap(part => Object.keys(part.columns)))]
  const rows = parts.reduce((sum, part) => sum + part.labels.length, 0)
  const joined = (of: (part: Part) => ArrayLike<number> | undefined) => {
    const whole = new Float64Array(rows)
    let at = 0
    for (const part of parts) {
      whole.set(of(part) ?? new Float64Array(part.labels.length), at)
      at += part.labels.length
    }
    return whole
  }
  return {
    name,
    names,
    columns: names.map(column => joined(part => part.columns[column])),
    categorical: table.categorical.map(column => names.indexOf(column)),
    labels: Float32Array.from(joined(part => part.labels)),
    firstTest: parts[0].labels.length,
  }
}

interface Part {
  readonly columns: Readonly<Record<string, Float64Array>>
  readonly labels: Float32Array
}

async function read(file: string, { label, positive, drop, categorical }: Listed): Promise<Part> {
  const table = await readTable(file, { text: [label, ...categorical] })
  const columns: Record<string, Float64Array> = {}
  for (const name of [...Object.keys(table.columns), ...Object.keys(table.texts)]) {
    if (name === label || drop.includes(name)) continue
    columns[name] = table.columns[name] ?? (categorical.includes(name) ? codes(table, name) : numbers(table, name))
  }
  return { columns, labels: Float32Array.from(table.texts[label], value => Number(value === positive)) }
}

function codes(table: Table, name: string): Float64Array {
  const values = table.texts[name]
  const levels = [...new Set(values)].filter(value => value !== null && !MISSING.has(value)).sort()
  const numbers = new Map(levels.map((level, code) => [level, code]))
  return Float64Array.from(values, value => numbers.get(value) ?? Number.NaN)
}

function numbers(table: Table, name: string): Float64Array {
  return Float64Array.from(table.texts[name], value => {
    const number = value === null || MISSING.has(value.trim()) ? Number.NaN : Number(value)
    if (value !== null && !MISSING.has(value.trim()) && Number.isNaN(number)) {
      throw new Error(`expected numbers in column '${name}' but received '${value}'`)
    }
    return number
  })
}

/** LIBSVM's format: a label, then index:value of what is not 0. */
function sparse(file: string): Part {
  const lines = gunzipSync(readFileSync(file)).toString('utf8').trim().split('\n')
  const columns: Record<string, Float64Array> = {}
  const labels = new Float32Array(lines.length)
  lines.forEach((line, row) => {
    const [label, ...cells] = line.trim().split(/\s+/)
    labels[row] = Number(Number(label) > 0)
    for (const cell of cells) {
      const [index, value] = cell.split(':')
      columns[index] ??= new Float64Array(lines.length)
      columns[index][row] = Number(value)
    }
  })
  return { columns, labels }
}

const SPLIT_STREAM = 0x51
const TRAINING = 0.7

/**
 * 1 for rows that train, 2 for rows to test: seven tenths of either label train, drawn anew for each seed. Where a table has
 * test rows of its own, those are the test, and the seed draws which seven tenths of the others train.
 */
export function rolesOf({ labels, firstTest }: TableTask, seed: number): Uint8Array {
  const roles = new Uint8Array(labels.length)
  const random = new Philox(seed, SPLIT_STREAM)
  const hasTest = firstTest < labels.length
  for (const label of [0, 1]) {
    const rows: number[] = []
    for (let row = 0; row < firstTest; row++) if (labels[row] === label) rows.push(row)
    const order = Int32Array.from(rows)
    random.shuffle(order)
    const training = Math.round(order.length * TRAINING)
    order.forEach((row, i) => {
      roles[row] = i < training ? 1 : hasTest ? 0 : 2
    })
  }
  return roles.fill(2, firstTest)
}
