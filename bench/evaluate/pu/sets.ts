// Tables for PU learning: which there are, how they are read, and how labels are hidden.

import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { readTable } from '../../../lib/events/table.js'
import { ranksOf } from '../../../lib/pu/samplers.js'
import type { BinnedMatrix } from '../../../lib/runtime/binned_matrix.js'
import { kmeans } from '../../../lib/trees/kmeans.js'
import { columnsOfLayout, layoutOf } from '../../../lib/trees/table_input.js'
import { Philox } from '../../../lib/util/philox.js'
import { tasksFolder } from '../tasks.js'

interface Entry {
  readonly name: string
  readonly file: string
  readonly label: string
  readonly positive: string
  readonly drop: readonly string[]
  readonly categorical: readonly string[]
  readonly kind: 'risk' | 'anomaly' | 'general'
  readonly rows: number
}

export interface PuSet {
  readonly name: string
  readonly columns: readonly Float64Array[]
  readonly names: readonly string[]
  readonly categorical: readonly string[]
  readonly truth: Uint8Array
}

export type Way = 'random' | 'biased'
export const WAYS: readonly Way[] = ['random', 'biased']

/** Larger sets are sampled: ten seeds of all experiments are a matter of minutes then. */
export const MOST_ROWS = 5_000
/** Positives beyond this share of a tuning set are left out: hidden positives are rare. */
const MOST_POSITIVE = 0.1
const KNOWN_SHARE = 0.2
const LEAST_KNOWN = 20
const CLUSTERS = 4

function entries(): Entry[] {
  const file = join(tasksFolder, 'tabular.json')
  return existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as Entry[]) : []
}

/** The sets that are reported: risk and anomaly, from 5 000 rows. */
export function reportedSets(): string[] {
  return entries().flatMap(({ name, kind, rows }) => (kind !== 'general' && rows >= 5000 ? [name] : []))
}

/** The sets that defaults were chosen on: all others that are tables of numbers and categories. */
export function tuningSets(): string[] {
  const reported = new Set(reportedSets())
  // German credit has a thousand rows of categories alone, and of one text the rows are lines of another format.
  const left = new Set(['german_credit', 'higgs_subset', 'agaricus', 'WDBC', 'Pima'])
  return entries().flatMap(({ name }) => (reported.has(name) || left.has(name) ? [] : [name]))
}

export async function openSet(name: string, { isTuning = false } = {}): Promise<PuSet> {
  const entry = entries().find(one => one.name === name)!
  const { label, positive, categorical, drop } = entry
  const table = await readTable(join(tasksFolder, '..', entry.file), { text: [label] })
  const columns: Record<string, Float64Array> = { ...table.columns }
  const texts: Record<string, readonly (string | null)[]> = {}
  for (const [column, values] of Object.entries(table.texts)) {
    const isText = column === label || categorical.includes(column) || drop.includes(column)
    if (isText) texts[column] = values
    // NA and the like are missing numbers.
    else columns[column] = Float64Array.from(values, value => (value ? Number(value) : Number.NaN))
  }
  const known = [label, ...drop.filter(column => column in columns || column in texts)]
  const layout = layoutOf('evaluate', { ...table, columns, texts }, { drop: known, categorical })
  const all = columnsOfLayout(layout, { ...table, columns, texts })
  const truth = Uint8Array.from(table.texts[label], value => Number(value === positive))
  const rows = chosenRows(truth, isTuning)
  return {
    name,
    columns: all.map(column => Float64Array.from(rows, row => column[row])),
    names: layout.names,
    categorical,
    truth: Uint8Array.from(rows, row => truth[row]),
  }
}

function chosenRows(truth: Uint8Array, isTuning: boolean): Int32Array {
  let rows = Int32Array.from(truth, (_, row) => row)
  if (isTuning) {
    const positives = rows.filter(row => truth[row] === 1)
    const most = Math.round(((rows.length - positives.length) * MOST_POSITIVE) / (1 - MOST_POSITIVE))
    const out = new Set(new Philox(3).shuffle(positives.slice()).subarray(most))
    rows = rows.filter(row => !out.has(row))
  }
  return rows.length <= MOST_ROWS ? rows : new Philox(7).shuffle(rows).subarray(0, MOST_ROWS).sort()
}

/**
 * Which positives stay known: a fifth of them, at least 20. `biased` takes them from one K-Means cluster of the positives, out of
 * four of those with at least 20 rows (or an eighth of all positives).
 */
export async function hideLabels(matrix: BinnedMatrix, truth: Uint8Array, way: Way, seed: number): Promise<Uint8Array> {
  const random = new Philox(seed, 99)
  let from = Int32Array.from(truth, (_, row) => row).filter(row => truth[row] === 1)
  const wanted = Math.max(LEAST_KNOWN, Math.round(KNOWN_SHARE * from.length))
  if (way === 'biased') {
    const values = await ranksOf(matrix, from)
    const options = { clusters: Math.min(CLUSTERS, from.length), seed }
    const { assigned } = await kmeans(matrix.device, { values, features: matrix.features }, options)
    const clusters = Array.from({ length: CLUSTERS }, (_, c) => from.filter((_, i) => assigned[i] === c))
    const large = clusters.filter(rows => rows.length >= Math.min(LEAST_KNOWN, from.length / 8))
    from = large[random.below(large.length)]
  }
  const known = new Uint8Array(truth.length)
  for (const row of random.shuffle(from.slice()).subarray(0, wanted)) known[row] = 1
  return known
}

/** 1 for rows that nothing is learned from: three in ten of those that are not known. */
export function heldOut(known: Uint8Array, seed: number): Uint8Array {
  const random = new Philox(seed, 123)
  return known.map(one => Number(random.uniform() < 0.3 && !one))
}
