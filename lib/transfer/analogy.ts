// Analogies: which vector is to c what a is to b? The rows nearest to a − b + c (Mikolov et al. 2013).

import type { VectorTable } from '../events/table.js'
import { expectOptions, expectRange, SeqriskError, sentence } from '../util/errors.js'
import { Pace } from '../util/pace.js'
import { type NearestOptions, nearest, type Vectors } from './nearest.js'

export interface AnalogyOptions extends NearestOptions {
  /** Ids that are no answer. Default: the three of the question; a − b + c is often nearest to one of them. */
  readonly exclude?: readonly string[] | undefined
}

/** An entity, and how near it is. */
export interface Neighbour {
  readonly id: string
  /** Cosine to a − b + c, or the distance. */
  readonly score: number
}

/** b is to a as c is to the answer. */
export interface Question {
  readonly a: string
  readonly b: string
  readonly c: string
}

const where = 'analogy'
const IDS_PER_TURN = 16_384

/**
 * The entities nearest to a − b + c, nearest first.
 * @throws {SeqriskError} code `ID_UNKNOWN` for an id that the table lacks
 */
export async function analogy(
  table: VectorTable,
  a: string,
  b: string,
  c: string,
  options: AnalogyOptions = {},
): Promise<Neighbour[]> {
  const [answers] = await analogies(table, [{ a, b, c }], options)
  return answers
}

/** Many questions together: one pass over the table answers them all. */
export async function analogies(
  table: VectorTable,
  questions: readonly Question[],
  options: AnalogyOptions = {},
): Promise<Neighbour[][]> {
  const { width, vectors } = table
  expectRange(questions.length > 0, where, 'one question or more', 0)
  const rows = await rowsOf(table, new Set(questions.flatMap(({ a, b, c }) => [a, b, c])), options.signal)
  const queries = new Float32Array(questions.length * width)
  const pace = new Pace(options.signal)
  for (const [q, { a, b, c }] of questions.entries()) {
    const [from, less, more] = [a, b, c].map(id => rows.get(id)! * width)
    for (let i = 0; i < width; i++) queries[q * width + i] = vectors[from + i] - vectors[less + i] + vectors[more + i]
    if (q % 256 === 0) await pace.turn()
  }
  const excluded = ({ a, b, c }: Question) => options.exclude ?? [a, b, c]
  return answer(table, queries, questions.map(excluded), options)
}

/**
 * The same for vectors of your own, such as those of sequences composed for the question; the table may come in blocks.
 * Nothing is excluded unless named.
 * @param a  (width) float32, like b and c
 */
export async function analogyVectors(
  table: Vectors,
  a: Float32Array,
  b: Float32Array,
  c: Float32Array,
  options: AnalogyOptions = {},
): Promise<Neighbour[]> {
  const sizes = [a.length, b.length, c.length]
  expectRange(new Set(sizes).size === 1 && a.length > 0, where, 'three vectors of one width', sizes)
  const query = a.map((value, i) => value - b[i] + c[i])
  const [answers] = await answer(table, query, [options.exclude ?? []], options)
  return answers
}

async function answer(
  table: Vectors,
  queries: Float32Array,
  excluded: readonly (readonly string[])[],
  options: AnalogyOptions,
): Promise<Neighbour[][]> {
  expectOptions(where, options, ['top', 'exclude', 'metric', 'index', 'device', 'signal', 'onProgress'])
  const { exclude: _, top = 10, ...rest } = options
  const sets = excluded.map(ids => new Set(ids))
  const most = sets.reduce((size, set) => Math.max(size, set.size), 0)
  const found = await nearest(table, queries, { ...rest, top: top + most })
  const pace = new Pace(options.signal)
  const answers: Neighbour[][] = []
  for (const [q, set] of sets.entries()) {
    const own: Neighbour[] = []
    for (let i = q * found.top; i < (q + 1) * found.top && own.length < top; i++) {
      if (found.rows[i] >= 0 && !set.has(found.ids[i])) own.push({ id: found.ids[i], score: found.scores[i] })
    }
    answers.push(own)
    if (q % 256 === 0) await pace.turn()
  }
  return answers
}

/**
 * The row of each wanted id.
 * @throws {SeqriskError} code `ID_UNKNOWN`  @throws {RangeError} for an id that two rows have
 */
export async function rowsOf(
  { ids }: VectorTable,
  wanted: ReadonlySet<string>,
  signal?: AbortSignal,
): Promise<Map<string, number>> {
  const rows = new Map<string, number>()
  const pace = new Pace(signal)
  for (let row = 0; row < ids.length; row++) {
    if (wanted.has(ids[row])) {
      if (rows.has(ids[row])) throw new RangeError(sentence(where, `'${ids[row]}' once`, 'it twice', 'keep one row'))
      rows.set(ids[row], row)
    }
    if (row % IDS_PER_TURN === 0) await pace.turn()
  }
  for (const id of wanted) {
    if (rows.has(id)) continue
    const advice = ids.length > 0 ? `ids look like '${ids[0]}'` : 'look at the column of ids'
    throw new SeqriskError('ID_UNKNOWN', sentence(where, 'ids of the table', id, advice))
  }
  return rows
}
