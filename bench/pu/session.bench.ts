// A durable session on 1 000 000 rows: from the answers to the next batch, beside a fit of boosted trees on as many rows.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ActiveSession } from '../../lib/pu/session.js'
import { BinnedMatrix } from '../../lib/runtime/binned_matrix.js'
import { Device } from '../../lib/runtime/device.js'
import { GbrtTrainer } from '../../lib/trees/gbrt.js'
import { median } from '../support/median.js'
import { hiddenPositives } from './hidden.js'

const ROWS = Number(process.env.ROWS ?? 1_000_000)
const FEATURES = Number(process.env.FEATURES ?? 28)
const THREADS = 2
const TURNS = 3

export default async function* (): AsyncGenerator<string> {
  const device = new Device({ threads: THREADS })
  const root = mkdtempSync(join(tmpdir(), 'seqrisk-bench-'))
  try {
    const { columns, truth, known } = hiddenPositives(ROWS, FEATURES)
    const matrix = await BinnedMatrix.from(device, { columns })
    const trainer = new GbrtTrainer(matrix, { objective: 'logistic' })
    await trainer.fit({ targets: known })
    const fitting = performance.now()
    await trainer.fit({ targets: known })
    const fit = performance.now() - fitting
    trainer.dispose()
    matrix.dispose()
    const folder = join(root, 'session')
    const ids = Array.from({ length: ROWS }, (_, row) => `u${row}`)
    const names = columns.map((_, f) => `x${f}`)
    const wide = columns.map(column => Float64Array.from(column))
    const table = { id: 'id', ids, columns: wide, layout: { names, levels: names.map(() => null) }, positives: known }
    const beginning = performance.now()
    await ActiveSession.init(folder, table, device)
    const init = performance.now() - beginning
    // Each command opens the folder anew, as on the command line.
    const withSession = async <T>(work: (session: ActiveSession) => Promise<T>) => {
      const session = await ActiveSession.open(folder)
      try {
        return await work(session)
      } finally {
        await session.close()
      }
    }
    let asked = await withSession(session => session.ask(device))
    const turns: number[] = []
    let answering = 0
    for (let turn = 0; turn < TURNS; turn++) {
      const begun = performance.now()
      const answers = new Map(asked.rows.map((row, i) => [asked.ids[i], truth[row] ? (1 as const) : (0 as const)]))
      await withSession(session => session.answer(answers))
      answering = performance.now() - begun
      asked = await withSession(session => session.ask(device))
      turns.push(performance.now() - begun)
    }
    const middle = median(turns)
    yield `pu/session  (${ROWS}, ${FEATURES}) answer to the next ask ${middle.toFixed(0)} ms (answer ${answering.toFixed(0)}), ` +
      `${(middle / fit).toFixed(2)}× a fit of 100 trees (${fit.toFixed(0)} ms); init ${init.toFixed(0)} ms`
  } finally {
    device.close()
    rmSync(root, { recursive: true, force: true })
  }
}
