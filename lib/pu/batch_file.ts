// Batches as CSV for people: id, the features as they were in the table, and an empty column `label`. And back.

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
    if (label !== '1' && label !== '0' && label !== 'unsure') {
      const advice = 'no answer was recorded; correct it, or leave the cell empty'
      throw new SeqriskError('ANSWER_INVALID', sentence('active', `1, 0 or unsure for id '${name}'`, label, advice))
    }
    answers.set(name, label === 'unsure' ? label : label === '1' ? 1 : 0)
  }
  return answers
}
