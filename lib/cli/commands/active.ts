import { join } from 'node:path'
import { writeTable } from '../../events/write.js'
import { saveLightgbm } from '../../export/lightgbm.js'
import { samplerOptions } from '../../pu/active.js'
import { expectRecorded, readAnswers, writeBatch } from '../../pu/batch_file.js'
import { SAMPLERS, type Sampler } from '../../pu/samplers.js'
import { ActiveSession, type SessionControl } from '../../pu/session.js'
import { expectNoSession, readSettings } from '../../pu/session_files.js'
import { ActiveState } from '../../pu/state.js'
import { checkRules } from '../../pu/stop.js'
import { readPuTable } from '../../pu/table.js'
import { progressLine } from '../../report/progress.js'
import type { Device } from '../../runtime/device.js'
import { given } from '../../util/options.js'
import { asUsage, type Context, defineCommand, UsageError } from '../command.js'
import { fittingDevice } from '../table_device.js'

const session = { kind: 'text', value: 'DIR', required: true, about: 'folder of the session' } as const
const signed = (text: string) => `active ${text}`

async function withSession<T>(folder: string, work: (session: ActiveSession) => Promise<T>): Promise<T> {
  const open = await ActiveSession.open(folder)
  try {
    return await work(open)
  } finally {
    await open.close()
  }
}

interface Size {
  readonly rows: number
  readonly columns: number
}

/** Read before the session is opened: it has to be closed before the device is. */
async function sizeOf(folder: string): Promise<Size> {
  const { settings } = await readSettings(folder)
  return { rows: settings.rows, columns: settings.names.length }
}

/** With a device for a table of that size, and progress on stderr. */
async function computing<T>(
  { rows, columns }: Size,
  context: Context,
  work: (device: Device, control: SessionControl) => Promise<T>,
): Promise<T> {
  const { json, signal } = context
  const device = fittingDevice(rows, columns, context)
  const line = progressLine({ quiet: json })
  try {
    return await work(device, { signal, onProgress: line.update })
  } finally {
    line.done()
    device.close()
  }
}

const init = defineCommand({
  name: signed('init'),
  about: 'begin an active-learning session on a table, in a folder that survives being killed',
  options: {
    session: { ...session, writes: 'folder' },
    table: { kind: 'text', value: 'FILE', required: true, about: 'CSV, CSV.gz, Parquet or JSON lines' },
    id: { kind: 'text', value: 'COL', required: true, about: 'column that names the rows' },
    positive: { kind: 'text', value: 'COL', required: true, about: '1 for known positives; 0 or nothing: unlabelled' },
    drop: { kind: 'list', value: 'COL,…', about: 'columns that are no features' },
    categorical: { kind: 'list', value: 'COL,…', about: 'columns of categories, codes or text' },
    batch: { kind: 'number', value: 'N', about: 'rows of one ask', fallback: 100 },
    sampler: { kind: 'text', oneOf: SAMPLERS, about: 'how rows are chosen', fallback: 'diverse' },
    candidates: { kind: 'number', value: 'N', about: 'rows that are clustered (default ten batches)' },
    threshold: { kind: 'number', value: 'X', about: 'score from which rows are predicted positive (default 0.5)' },
    learner: { kind: 'text', oneOf: ['gbrt', 'forest'], about: 'what to refit', fallback: 'gbrt' },
    setting: { kind: 'text', oneOf: ['pu', 'lu'], about: 'lu believes answers of 0', fallback: 'pu' },
    'up-sample': { kind: 'number', value: 'N', about: 'weight of answers of 1', fallback: 5 },
    'ask-again': { kind: 'flag', about: 'ask about rows again that were answered 0 or unsure' },
    budget: { kind: 'number', value: 'N', about: 'stop after so many answers' },
    rounds: { kind: 'number', value: 'N', about: 'stop after so many batches' },
    'yield-decay': { kind: 'number', value: 'X', about: 'stop below this share of the best batch’s yield' },
    drift: { kind: 'number', value: 'X', about: 'stop once scores move by less' },
    plateau: { kind: 'number', value: 'X', about: 'stop once the top band’s precision stays within' },
    band: { kind: 'number', value: 'P', about: 'percentile where the top band begins (default 95)' },
    patience: { kind: 'number', value: 'N', about: 'batches in a row that a rule must hold (default 2)' },
  },
  async run(values, context) {
    const { id, positive, drop = [], categorical = [], batch, candidates, threshold, learner, setting } = values
    const clash = [id, positive].find(name => drop.includes(name) || categorical.includes(name))
    if (clash !== undefined) throw new UsageError(`expected '${clash}' in one option but received it in two`)
    const { signal, threads, seed } = context
    const rules = given({
      budget: values.budget,
      rounds: values.rounds,
      yieldDecay: values['yield-decay'],
      drift: values.drift,
      plateau: values.plateau,
      band: values.band,
      patience: values.patience,
    })
    const options = {
      categorical,
      batch,
      candidates,
      threshold,
      sampler: values.sampler as Sampler,
      learner: learner as 'gbrt' | 'forest',
      setting: setting as 'pu' | 'lu',
      upSample: values['up-sample'],
      askAgain: values['ask-again'],
      rules,
      seed,
    }
    asUsage(() => {
      samplerOptions(options)
      checkRules(rules)
      new ActiveState(new Uint8Array(0), options)
    })
    await expectNoSession(values.session)
    const table = await readPuTable('active', values.table, { id, positive, drop, categorical, threads, signal })
    const size = { rows: table.ids.length, columns: table.columns.length }
    await computing(size, context, device => ActiveSession.init(values.session, table, device, options, { signal }))
    const known = table.positives.reduce((sum, one) => sum + one, 0)
    return { session: values.session, rows: table.ids.length, positives: known, features: table.columns.length }
  },
  show({ session, rows, positives, features }) {
    return `session of ${rows} rows × ${features} features, ${positives} known positives: ${session}\n`
  },
})

const ask = defineCommand({
  name: signed('ask'),
  about: 'write the rows to label next: fill in 1, 0 or unsure',
  options: {
    session,
    out: { kind: 'text', value: 'FILE', required: true, writes: ['.csv'], about: 'CSV with an empty column label' },
    anyway: { kind: 'flag', about: 'go on although a stop rule holds' },
  },
  async run({ session: folder, out, anyway }, context) {
    return computing(await sizeOf(folder), context, (device, control) =>
      withSession(folder, async open => {
        const { id, names, levels } = open.settings
        await expectRecorded(out, id, await open.answers(), { threads: context.threads, signal: context.signal })
        const asked = await open.ask(device, { anyway, ...control })
        if (asked.reason === null) await writeBatch(out, id, { ...asked, names, levels })
        return { out: asked.reason === null ? out : null, rows: asked.ids.length, reason: asked.reason }
      }),
    )
  },
  show({ out, rows, reason }) {
    return reason === null ? `${rows} rows to label: ${out}\n` : `no more to ask, ${reason}\n`
  },
})

const answer = defineCommand({
  name: signed('answer'),
  about: 'record answers; they are on disk when it returns',
  options: { session, in: { kind: 'text', value: 'FILE', required: true, about: 'what ask wrote, with labels' } },
  async run(values, { signal, threads }) {
    return withSession(values.session, async open => {
      const answers = await readAnswers(values.in, open.settings.id, { threads, signal })
      const { recorded, repeated } = await open.answer(answers)
      return { recorded, repeated, pending: open.status().pending }
    })
  },
  show({ recorded, repeated, pending }) {
    const again = repeated > 0 ? `, ${repeated} were there already` : ''
    return `${recorded} answers recorded${again}, ${pending} rows wait for one\n`
  },
})

const status = defineCommand({
  name: signed('status'),
  about: 'what was asked and answered so far',
  options: { session },
  async run(values) {
    return withSession(values.session, async open => open.status())
  },
  show({ rows, known, rounds, answers, pending, stopped }) {
    const { positives, negatives, unsure } = answers
    const said = `${positives} positive, ${negatives} not, ${unsure} unsure`
    const end = stopped === null ? '' : `; stopped by ${stopped}`
    return `${rows} rows, ${known} known positives; ${rounds} batches: ${said}; ${pending} rows wait${end}\n`
  },
})

const undo = defineCommand({
  name: signed('undo'),
  about: 'take back the answers of the last answer',
  options: { session },
  async run(values) {
    return withSession(values.session, open => open.undo())
  },
  show({ undone }) {
    return `${undone} answers taken back; their rows wait for one again\n`
  },
})

const exported = defineCommand({
  name: signed('export'),
  about: 'write the model and the scores that the answers give',
  options: {
    session,
    out: { kind: 'text', value: 'DIR', required: true, writes: 'folder', about: 'where model.txt and scores.csv go' },
  },
  async run({ session: folder, out }, context) {
    return computing(await sizeOf(folder), context, (device, control) =>
      withSession(folder, async open => {
        const { model, scores } = await open.learn(device, control)
        await saveLightgbm(model, join(out, 'model.txt'))
        const ids = await open.ids()
        await writeTable(join(out, 'scores.csv'), open.settings.id, { ids, columns: { score: scores } }, context)
        return { out, rows: ids.length, trees: model.iterations, ...open.status().answers }
      }),
    )
  },
  show({ out, rows, trees, positives }) {
    return `scores of ${rows} rows by ${trees} trees, learned from ${positives} answers of 1: ${out}\n`
  },
})

export const activeCommands = [init, ask, answer, status, undo, exported]
