// What a command writes, looked at before it reads anything: the work may take hours.

import { expectPlace, isSystemPath } from '../util/files.js'
import { type Command, type OptionSpec, UsageError } from './command.js'

/** Of tables: the format follows the ending. */
export const TABLE = ['.csv', '.csv.gz', '.parquet', '.pq'] as const

/** What a call writes: the options that name it, and where. */
export function outputsOf(
  { options }: Pick<Command, 'options'>,
  values: Readonly<Record<string, unknown>>,
): { readonly name: string; readonly path: string; readonly writes: NonNullable<OptionSpec['writes']> }[] {
  return Object.entries(options).flatMap(([name, { writes }]) => {
    const path = values[name]
    return writes === undefined || typeof path !== 'string' ? [] : [{ name, path, writes }]
  })
}

/**
 * @throws {UsageError} for a file whose ending names no format of the command
 * @throws {SeqriskError} code `WRITE_FAILED` for a place where nothing can be written
 */
export async function checkOutputs(
  command: Pick<Command, 'options'>,
  values: Readonly<Record<string, unknown>>,
): Promise<void> {
  for (const { name, path, writes } of outputsOf(command, values)) {
    // What the system has for open files, such as /dev/stdout, has no ending.
    if (Array.isArray(writes) && !isSystemPath(path)) expectEnding(name, path, writes)
    await expectPlace(path, writes === 'folder' ? 'folder' : 'file')
  }
}

function expectEnding(name: string, path: string, endings: readonly string[]): void {
  if (endings.some(ending => path.toLowerCase().endsWith(ending))) return
  const known = endings.length > 1 ? `one of ${endings.join(', ')}` : endings[0]
  throw new UsageError(`expected --${name} to end in ${known} but received '${path}'`)
}
