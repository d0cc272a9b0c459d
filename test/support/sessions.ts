// Durable sessions on a small table, each in a folder of its own.

import { join } from 'node:path'
import { ActiveSession, type Answer, type PuTable, type SessionOptions, toLightgbm } from '../../lib/index.js'
import { openDevice } from './devices.js'
import { temporaryFolder } from './folder.js'
import { knownOf, plantedTable } from './pu_table.js'

export const ROWS = 600
export const planted = plantedTable(ROWS, 9)
export const names = planted.columns.map((_, f) => `x${f}`)
export const table: PuTable = {
  id: 'account',
  ids: Array.from({ length: ROWS }, (_, row) => `u${row}`),
  layout: { names, levels: names.map(() => null) },
  columns: planted.columns,
  positives: knownOf(planted, 15),
}
const truthOf = (id: string): Answer => (planted.truth[Number(id.slice(1))] ? 1 : 0)
/** Answers for ids: the truth, unless `of` says otherwise. */
export const said = (ids: readonly string[], of = truthOf) => new Map(ids.map(id => [id, of(id)]))

export async function inSession<T>(folder: string, work: (session: ActiveSession) => Promise<T>): Promise<T> {
  const session = await ActiveSession.open(folder)
  try {
    return await work(session)
  } finally {
    await session.close()
  }
}

/** A device and folders that go when the test file is done. */
export function sessionRoom() {
  const device = openDevice()
  const root = temporaryFolder()
  let number = 0
  const fresh = () => join(root, `s${number++}`)
  const begin = async (options: SessionOptions = {}) => {
    const folder = fresh()
    await ActiveSession.init(folder, table, device, { batch: 8, ...options })
    return folder
  }
  const askAndAnswer = (folder: string) =>
    inSession(folder, async session => {
      const { ids } = await session.ask(device)
      await session.answer(said(ids))
      return ids
    })
  const modelOf = (folder: string) =>
    inSession(folder, async session => toLightgbm((await session.learn(device)).model))
  return { device, root, fresh, begin, askAndAnswer, modelOf }
}
