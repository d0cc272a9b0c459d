// Batches as CSV for people: id, the features as they were in the table, and an empty column `label`. And back.

import { stat } from 'node:fs/promises'
import { type ReadTableOptions, readTable } from '../events/table.js'
import { quoted } from '../events/write.js'
import type { Levels } from '../trees/model.js'
import { SeqriskError, sentence } from '../util/errors.js'
import { writeFileAtomic } from '../util/files.js'
import type { Answer } from './state.js'

export interface Batch {
  readonly ids: readonly string[]
  readonly names: readonly string[]
  readonly levels: readonly (Levels | null)[]
  /** (ids, names) */
  readonly values: Float64Array
}

/** Written whole or not at all. */
export async function writeBatch(path: string, id: string, { ids, names, levels, values }: Batch): Promise<void> {
  const cell = (i: number, f: number) => {
    const value = values[i * names.length + f]
    if (Number.isNaN(value)) return ''
    return quoted(String(levels[f]?.[value] ?? value))
  }
  const lines = ids.map((name, i) => [quoted(name), ...names.map((_, f) => cell(i, f)), ''].join(','))
  await writeFileAtomic(path, `${[[id, ...names, 'label'].map(quoted).join(','), ...lines].join('\n')}\n`)
}

/**
 * Answers by id; rows with an empty label are left out.
 * @throws {SeqriskError} codes `ANSWER_INVALID`, `ID_TWICE`, and those of reading
 */
export async function readAnswers(
  path: string,
  id: string,
  control: Pick<ReadTableOptions, 'threads' | 'signal'> = {},
): Promise<Map<string, Answer>> {
  const table = await readTable(path, { id, columns: ['label'], text: ['label'], ...control })
  const answers = new Map<string, Answer>()
  const seen = new Set<string>()
  for (const [row, name] of table.ids.entries()) {
    if (seen.has(name)) {
      const text = sentence('active', `every id once in ${path}`, name, 'no answer was recorded; keep one row per id')
      throw new SeqriskError('ID_TWICE', text)
    }
    seen.add(name)
    const label = table.texts.label[row]?.trim() ?? ''
    if (label === '') continue
    const answer = answerIn(label)
    if (answer === null) {
      const advice = 'no answer was recorded; correct it, or leave the cell empty'
      throw new SeqriskError('ANSWER_INVALID', sentence('active', `1, 0 or unsure for id '${name}'`, label, advice))
    }
    answers.set(name, answer)
  }
  return answers
}

/** Spreadsheets begin words with a capital, and a column of numbers with gaps comes back as 1.0 and 0.0; null for what is no answer. */
function answerIn(label: string): Answer | null {
  if (label.toLowerCase() === 'unsure') return 'unsure'
  return /^[01](\.0+)?$/.test(label) ? (Number(label) as 0 | 1) : null
}

/**
 * Refuses a place that holds labels which are in no log yet: a new batch there would be the end of them.
 * @param recorded  answers by id, as the session has them
 * @throws {SeqriskError} code `LABELS_NOT_RECORDED`, and those of reading
 */
export async function expectRecorded(
  path: string,
  id: string,
  recorded: ReadonlyMap<string, Answer>,
  control: Pick<ReadTableOptions, 'threads' | 'signal'> = {},
): Promise<void> {
  const labels = await labelsIn(path, id, control)
  const lost = labels.filter(([name, label]) => label !== '' && !isRecorded(recorded.get(name), label)).length
  if (lost === 0) return
  const received = `${lost} that the session does not have`
  const advice = 'record them first with `active answer`, or name another file'
  throw new SeqriskError(
    'LABELS_NOT_RECORDED',
    `[active] expected recorded labels in ${path} but received ${received}; ${advice}`,
  )
}

function isRecorded(answer: Answer | undefined, label: string): boolean {
  return answer !== undefined && answer === answerIn(label)
}

/** What stands in the column `label` of a file, with the ids beside it; nothing where there is no such file or column. */
async function labelsIn(
  path: string,
  id: string,
  control: Pick<ReadTableOptions, 'threads' | 'signal'>,
): Promise<(readonly [string, string])[]> {
  const before = await stat(path).catch(() => null)
  if (!before?.isFile() || before.size === 0) return []
  // Labels beside another id are no answers of this session, but labels nevertheless.
  for (const ids of [{ id }, {}]) {
    try {
      const table = await readTable(path, { ...ids, columns: ['label'], text: ['label'], ...control })
      const nameOf = (row: number) => ('id' in ids ? table.ids[row] : '')
      return table.texts.label.map((label, row) => [nameOf(row), label?.trim() ?? ''] as const)
    } catch (error) {
      if (!(error instanceof SeqriskError && error.code === 'COLUMN_MISSING')) throw error
    }
  }
  return []
}
