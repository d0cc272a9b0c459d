// Columns on one scale: what a linear model needs before its weights can be penalised alike. Sees no label.

import { expectRange } from '../../util/errors.js'
import type { Pace } from '../../util/pace.js'

/**
 * How values are bent before they are standardised: not at all, sign(x)·log(1 + |x|/s) with s the median of |x| ≠ 0, or
 * the normal score of their rank. `auto` looks at each column: plain where its tails are light, ranks where heavy.
 */
export type Bend = 'plain' | 'log' | 'rank' | 'auto'

/** A block of columns: row r of the result comes from row `rows[r]` of the table. */
export interface Block {
  readonly columns: readonly TableColumn[]
  readonly rows: Int32Array
  /** What standardised columns are multiplied by: below 1 they cost more of the penalty. Default 1. */
  readonly emphasis?: number
}

/** Row r of the table holds values[start + r·stride]. */
export interface TableColumn {
  readonly name: string
  readonly values: Float32Array | Float64Array
  readonly start: number
  readonly stride: number
}

interface Column {
  readonly source: number
  readonly bend: 'plain' | 'log' | 'rank' | 'missing'
  /** Scale of the logarithm. */
  readonly unit: number
  /** Rank: distinct values and their normal scores. */
  readonly knots?: Float64Array
  readonly scores?: Float64Array
  readonly mean: number
  readonly inverseSd: number
}

/** Standardised values farther out than this make a column heavy-tailed. */
const heavyTail = 6
const mostKnots = 512
/** Ranks are taken among this many rows at most. */
const sampleRows = 20_000

/**
 * Standardised columns of one block. Constant columns are left out; a column with NaN gets its mean there (0 after
 * standardisation) and, once for each pattern of missing rows, a column that says where.
 */
export class Scaler {
  /** Columns that `write` makes. */
  readonly width: number
  readonly #columns: readonly Column[]

  private constructor(columns: readonly Column[]) {
    this.#columns = columns
    this.width = columns.length
  }

  /** Learns from all rows of the block. */
  static async fit({ columns: sources, rows }: Block, bend: Bend, pace: Pace): Promise<Scaler> {
    const columns: Column[] = []
    const patterns = new Set<string>()
    const n = rows.length
    const known64 = new Float64Array(n)
    for (let source = 0; source < sources.length; source++) {
      await pace.turn()
      const { values, start, stride } = sources[source]
      let known = 0
      // Two sums over the missing rows stand for their pattern.
      let pattern0 = 0
      let pattern1 = 0
      for (let r = 0; r < n; r++) {
        const value = values[start + rows[r] * stride]
        if (!Number.isNaN(value)) known64[known++] = value
        else {
          pattern0 = (Math.imul(pattern0, 31) + r + 1) | 0
          pattern1 = (Math.imul(pattern1, 0x01000193) ^ (r + 1)) | 0
        }
      }
      const column = fitColumn(source, known64.subarray(0, known), bend)
      if (column) columns.push(column)
      const missing = n - known
      const pattern = `${missing}:${pattern0}:${pattern1}`
      if (missing > 0 && known > 0 && !patterns.has(pattern)) {
        patterns.add(pattern)
        const mean = missing / n
        columns.push({ source, bend: 'missing', unit: 1, mean, inverseSd: 1 / Math.sqrt(mean * (1 - mean)) })
      }
    }
    return new Scaler(columns)
  }

  /** What each column that `write` makes is made from; null unless all are only standardised. */
  get standardised(): readonly { readonly source: number; readonly mean: number; readonly inverseSd: number }[] | null {
    return this.#columns.every(({ bend }) => bend === 'plain') ? this.#columns : null
  }

  /** Writes rows [begin, end): row r, column c to out[(r − begin)·rowStride + c·columnStride]. */
  write(
    { columns, rows, emphasis = 1 }: Block,
    begin: number,
    end: number,
    out: Float32Array,
    rowStride: number,
    columnStride: number,
  ) {
    this.#columns.forEach((column, c) => {
      const { mean } = column
      const factor = column.inverseSd * emphasis
      const { values, start, stride } = columns[column.source]
      const bent = bender(column)
      for (let r = begin; r < end; r++) {
        const value = values[start + rows[r] * stride]
        const to = (r - begin) * rowStride + c * columnStride
        if (column.bend === 'missing') out[to] = ((Number.isNaN(value) ? 1 : 0) - mean) * factor
        else out[to] = Number.isNaN(value) ? 0 : (bent(value) - mean) * factor
      }
    })
  }
}

function fitColumn(source: number, values: Float64Array, bend: Bend): Column | null {
  if (values.length === 0) return null
  const plain: Column = { source, bend: 'plain', unit: 1, ...moments(values, value => value) }
  if (!(plain.inverseSd > 0)) return null
  if (bend === 'plain') return plain
  if (bend === 'auto' && !isHeavy(values, plain)) return plain
  const sample = sampleOf(values).sort()
  const partial: Column = bend === 'log' ? logColumn(source, sample) : rankColumn(source, sample)
  const column = { ...partial, ...moments(values, bender(partial)) }
  return column.inverseSd > 0 ? column : plain
}

function logColumn(source: number, sorted: Float64Array): Column {
  const sizes = sorted.map(Math.abs).filter(size => size > 0)
  const unit = sizes.length > 0 ? sizes.sort()[sizes.length >> 1] : 1
  return { source, bend: 'log', unit, mean: 0, inverseSd: 1 }
}

/** Normal scores of mid-ranks, at every distinct value or at `mostKnots` of them. */
function rankColumn(source: number, sorted: Float64Array): Column {
  const { knots, scores } = normalScores(sorted)
  const keep = Math.min(knots.length, mostKnots)
  const chosen = Array.from({ length: keep }, (_, k) => Math.round((k * (knots.length - 1)) / Math.max(1, keep - 1)))
  return {
    source,
    bend: 'rank',
    unit: 1,
    knots: Float64Array.from(chosen, k => knots[k]),
    scores: Float64Array.from(chosen, k => scores[k]),
    mean: 0,
    inverseSd: 1,
  }
}

/** Distinct values, and the normal scores of their mid-ranks. */
function normalScores(sorted: Float64Array): { readonly knots: number[]; readonly scores: number[] } {
  const knots: number[] = []
  const scores: number[] = []
  for (let start = 0; start < sorted.length; ) {
    let end = start
    while (end < sorted.length && sorted[end] === sorted[start]) end++
    knots.push(sorted[start])
    scores.push(normalQuantile((start + end) / 2 / sorted.length))
    start = end
  }
  return { knots, scores }
}

/**
 * What `auto` bends a column by, at every distinct value, and its mean and deviation; null where its tails are light.
 * @param tie  deviations within which neighbours count as one value
 */
export function heavyTailed(
  values: Float64Array,
  tie: number,
): {
  readonly knots: readonly number[]
  readonly scores: readonly number[]
  readonly mean: number
  readonly deviation: number
} | null {
  if (values.length === 0) return null
  const { mean, inverseSd } = moments(values, value => value)
  if (!(inverseSd > 0) || !isHeavy(values, { mean, inverseSd })) return null
  const deviation = 1 / inverseSd
  const curve = normalScores(joinTies(sampleOf(values).sort(), tie * deviation))
  return curve.knots.length > 1 ? { ...curve, mean, deviation } : null
}

/** Each of the ascending values as the first of those that follow each other by at most `gap`. */
function joinTies(sorted: Float64Array, gap: number): Float64Array {
  const joined = sorted.slice()
  for (let i = 1; i < sorted.length; i++) if (sorted[i] - sorted[i - 1] <= gap) joined[i] = joined[i - 1]
  return joined
}

function bender(column: Column): (value: number) => number {
  if (column.bend === 'log') return value => Math.sign(value) * Math.log1p(Math.abs(value) / column.unit)
  if (column.bend !== 'rank') return value => value
  const knots = column.knots!
  const scores = column.scores!
  const last = knots.length - 1
  return value => {
    if (value <= knots[0]) return scores[0]
    if (value >= knots[last]) return scores[last]
    let low = 0
    let high = last
    while (high - low > 1) {
      const middle = (low + high) >> 1
      if (knots[middle] <= value) low = middle
      else high = middle
    }
    return scores[low] + ((scores[high] - scores[low]) * (value - knots[low])) / (knots[high] - knots[low])
  }
}

/** Mean and 1/deviation of f over the values; 0 when they do not differ beyond rounding. */
function moments(values: Float64Array, f: (value: number) => number): { mean: number; inverseSd: number } {
  let sum = 0
  for (let i = 0; i < values.length; i++) sum += f(values[i])
  const mean = sum / values.length
  let squares = 0
  let largest = 0
  for (let i = 0; i < values.length; i++) {
    const off = f(values[i]) - mean
    squares += off * off
    largest = Math.max(largest, Math.abs(off))
  }
  const sd = Math.sqrt(squares / values.length)
  // Rounding of the mean alone looks like a spread of ε·|mean|.
  return { mean, inverseSd: sd > 1e-9 * Math.abs(mean) && Number.isFinite(1 / sd) ? 1 / sd : 0 }
}

function isHeavy(values: Float64Array, { mean, inverseSd }: { mean: number; inverseSd: number }): boolean {
  for (let i = 0; i < values.length; i++) if (Math.abs(values[i] - mean) * inverseSd > heavyTail) return true
  return false
}

/** Evenly spaced rows: a function of the rows alone. */
function sampleOf(values: Float64Array): Float64Array {
  if (values.length <= sampleRows) return Float64Array.from(values)
  return Float64Array.from({ length: sampleRows }, (_, i) => values[Math.floor((i * values.length) / sampleRows)])
}

/** Inverse of the normal distribution function, to 1.2e-9 relative. Source: Acklam's rational approximation (2003). */
export function normalQuantile(p: number): number {
  expectRange(p > 0 && p < 1, 'normalQuantile', 'p in (0, 1)', p)
  if (p > 0.5) return -normalQuantile(1 - p)
  if (p < 0.02425) {
    const q = Math.sqrt(-2 * Math.log(p))
    return polynomial(tailTop, q) / (polynomial(tailBottom, q) * q + 1)
  }
  const q = p - 0.5
  const r = q * q
  return (polynomial(middleTop, r) * q) / (polynomial(middleBottom, r) * r + 1)
}

function polynomial(coefficients: readonly number[], x: number): number {
  return coefficients.reduce((sum, coefficient) => sum * x + coefficient, 0)
}

const middleTop = [
  -3.969683028665376e1, 2.209460984245205e2, -2.759285104469687e2, 1.38357751867269e2, -3.066479806614716e1,
  2.506628277459239,
]
const middleBottom = [
  -5.447609879822406e1, 1.615858368580409e2, -1.556989798598866e2, 6.680131188771972e1, -1.328068155288572e1,
]
const tailTop = [
  -7.784894002430293e-3, -3.223964580411365e-1, -2.400758277161838, -2.549732539343734, 4.374664141464968,
  2.938163982698783,
]
const tailBottom = [7.784695709041462e-3, 3.224671290700398e-1, 2.445134137142996, 3.754408661907416]
