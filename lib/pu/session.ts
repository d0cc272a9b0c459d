// A durable active session: a folder that every command opens, changes and closes. What it knows is its settings and its
// log; the same log gives the same model, byte for byte.

import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { loadBins } from '../export/bins.js'
import { BinnedMatrix } from '../runtime/binned_matrix.js'
import type { Device } from '../runtime/device.js'
import { expectOptions, expectRange, SeqriskError, sentence } from '../util/errors.js'
import { writeFailed } from '../util/files.js'
import type { Optional } from '../util/options.js'
import { activeTwoStep, bandPrecision, driftOf, type SamplerOptions, samplerOptions } from './active.js'
import type { IdLines } from './id_lines.js'
import { expectLearner, type LearnerKind } from './learner.js'
import { FolderLock } from './lock.js'
import { DurableLog } from './log.js'
import type { PuProgress } from './options.js'
import { setsOf } from './problem.js'
import { roundSeed, sampleRows } from './samplers.js'
import { keepScores, readScores } from './session_cache.js'
import {
  BINS,
  expectNoSession,
  readIds,
  readPositives,
  readSettings,
  readUnusual,
  readValues,
  type SessionSettings,
  settingsText,
  writeSettings,
  writeTableFiles,
} from './session_files.js'
import { expectSpies } from './spies.js'
import { ActiveState, type Answer, answerOf, type StateOptions, UP_SAMPLE } from './state.js'
import { answersOf, checkRules, NO_ROW_LEFT, type RoundRecord, type StopRules, stopReason } from './stop.js'
import type { PuTable } from './table.js'
import { type PuResult, twoStepPu } from './two_step.js'
import { unusualness } from './unusual.js'

/** What a session is begun with; kept in its folder. */
export interface SessionOptions extends Optional<SamplerOptions>, StateOptions {
  readonly rules?: StopRules | undefined
  readonly learner?: LearnerKind | undefined
  /** Columns of categories: names. */
  readonly categorical?: readonly string[] | undefined
  readonly seed?: number | undefined
}

const SAMPLING = ['sampler', 'batch', 'candidates', 'threshold']
const STATE = ['upSample', 'setting', 'askAgain']
const OPTIONS = [...SAMPLING, ...STATE, 'rules', 'learner', 'categorical', 'seed']

type Entry =
  | {
      readonly kind: 'ask'
      readonly rows: readonly number[]
      /** Of the round before, as this one's fit sees it. */
      readonly drift: number | null
      readonly bandPrecision: number | null
    }
  | { readonly kind: 'stop'; readonly reason: string }
  | { readonly kind: 'answer'; readonly rows: readonly number[]; readonly answers: readonly Answer[] }
  /** Takes back the entry of that number. */
  | { readonly kind: 'undo'; readonly entry: number }

/** What the long calls of a session take. */
export interface SessionControl {
  readonly signal?: AbortSignal | undefined
  /** Called between pieces of the work. */
  readonly onProgress?: ((progress: PuProgress) => void) | undefined
}

/** Rows to answer, or why there are none. */
export interface Asked {
  readonly rows: readonly number[]
  readonly ids: readonly string[]
  /** (rows, features) */
  readonly values: Float64Array
  readonly reason: string | null
}

/** Where a session stands. */
export interface SessionStatus {
  readonly rows: number
  /** Known from the start. */
  readonly known: number
  readonly rounds: number
  readonly answers: { readonly positives: number; readonly negatives: number; readonly unsure: number }
  /** Asked about and not answered. */
  readonly pending: number
  readonly history: readonly RoundRecord[]
  /** Why asking ended; null while it goes on. */
  readonly stopped: string | null
  readonly entries: number
}

/**
 * Active learning in a folder: asking and answering may lie days and processes apart. Calls that overlap run one after the
 * other, in the order in which they were made.
 */
export class ActiveSession {
  readonly folder: string
  readonly settings: SessionSettings
  readonly #lock: FolderLock
  readonly #log: DurableLog<Entry>
  readonly #positives: Uint8Array
  #ids: IdLines | null = null
  #matrix: BinnedMatrix | null = null
  #unusual: Float64Array | null = null
  /** Settles with the last call that was made. */
  #last: Promise<void> = Promise.resolve()
  #closing: Promise<void> | null = null

  private constructor(
    folder: string,
    settings: SessionSettings,
    lock: FolderLock,
    log: DurableLog<Entry>,
    positives: Uint8Array,
  ) {
    this.folder = folder
    this.settings = settings
    this.#lock = lock
    this.#log = log
    this.#positives = positives
  }

  /**
   * Begins a session in a folder that has none. What no `ask` could work with is refused.
   * @throws {TypeError|RangeError} for unknown options or values outside their range
   * @throws {SeqriskError} codes `SESSION_EXISTS`, `FOLDER_NOT_EMPTY`, `SESSION_BUSY`, and those of a PU problem
   */
  static async init(
    folder: string,
    table: PuTable,
    device: Device,
    options: SessionOptions = {},
    { signal }: SessionControl = {},
  ): Promise<void> {
    expectOptions('active', options, OPTIONS)
    const {
      rules = {},
      learner = 'gbrt',
      categorical = [],
      upSample = UP_SAMPLE,
      setting = 'pu',
      askAgain = false,
    } = options
    const { seed = 0 } = options
    const sampling = samplerOptions(options)
    checkRules(rules)
    expectLearner(learner)
    expectRange(Number.isSafeInteger(seed) && seed >= 0, 'active', 'seed to be a safe integer ≥ 0', seed)
    new ActiveState(table.positives, { upSample, setting, askAgain })
    await expectNoSession(folder)
    const { names, levels } = table.layout
    const { columns, positives } = table
    if (names.includes('label') || names.includes(table.id)) {
      const text = sentence('active', "columns of other names than 'label' and the id", names, 'rename or drop them')
      throw new SeqriskError('COLUMN_TWICE', text)
    }
    await mkdir(folder, { recursive: true }).catch((cause: unknown) => {
      throw writeFailed(folder, cause)
    })
    const lock = await FolderLock.take(folder)
    try {
      const matrix = await BinnedMatrix.from(device, { columns }, { names, categorical, seed, signal })
      try {
        const { sizes } = await setsOf('active', { matrix, positives }, signal)
        expectSpies('active', sizes.positives)
        const unusual = await unusualness({ matrix, positives, data: { columns } }, seed, signal)
        const checks = await writeTableFiles(folder, table, matrix, unusual, signal)
        const rows = positives.length
        const own = { names, levels, sampling, rules, learner, upSample, setting, askAgain, seed, checks }
        const settings: SessionSettings = { version: 1, id: table.id, rows, ...own }
        await DurableLog.create(folder, settingsText(settings))
        await writeSettings(folder, settings)
      } finally {
        matrix.dispose()
      }
    } finally {
      await lock.release()
    }
  }

  /** @throws {SeqriskError} codes `NO_SESSION`, `SESSION_BUSY`, `SESSION_DAMAGED`, `LOG_DAMAGED` */
  static async open(folder: string): Promise<ActiveSession> {
    await readSettings(folder)
    const lock = await FolderLock.take(folder)
    try {
      const { settings, text } = await readSettings(folder)
      const log = await DurableLog.open<Entry>(folder, text)
      return new ActiveSession(folder, settings, lock, log, await readPositives(folder, settings))
    } catch (error) {
      await lock.release()
      throw error
    }
  }

  /** After the calls before it; to be called before the device is closed. Calls that come later fail with code `CLOSED`. */
  close(): Promise<void> {
    this.#closing ??= this.#inOrder(() => this.#close())
    return this.#closing
  }

  async #close(): Promise<void> {
    try {
      this.#matrix?.dispose()
      this.#matrix = null
    } finally {
      await this.#lock.release()
    }
  }

  /** Of all rows, in their order. */
  async ids(): Promise<readonly string[]> {
    return (await this.#lines()).all()
  }

  /** What is recorded, by id; rows that wait for an answer have none. */
  async answers(): Promise<ReadonlyMap<string, Answer>> {
    const { answers, pending } = this.#stateAt(this.#log.entries.length)
    const rows = [...answers.keys()].filter(row => !pending.has(row))
    const ids = await (await this.#lines()).of(rows)
    return new Map(ids.map((id, i) => [id, answers.get(rows[i])!]))
  }

  /**
   * The next rows to ask about, logged before they are returned. While some wait for an answer, it is those.
   * @param options  `anyway`: go on although a stop rule holds
   */
  ask(device: Device, options: SessionControl & { anyway?: boolean | undefined } = {}): Promise<Asked> {
    return this.#inOrder(() => this.#ask(device, options))
  }

  async #ask(
    device: Device,
    { anyway = false, ...control }: SessionControl & { anyway?: boolean | undefined },
  ): Promise<Asked> {
    const state = this.#stateAt(this.#log.entries.length)
    if (state.pending.size > 0)
      return this.#asked(
        [...state.pending].sort((a, b) => a - b),
        null,
      )
    if (!state.leavesUnknown()) return this.#stop(NO_ROW_LEFT)
    const { scores } = await this.#fit(device, state, control)
    const matrix = await this.#bins(device)
    const { sampling, rules, seed } = this.settings
    const history = this.#history()
    const askable = state.askable()
    let [drift, precision]: (number | null)[] = [null, null]
    if (history.length > 0) {
      const before = await this.#scoresBefore(device, control)
      drift = await driftOf(before, scores, askable, control.signal)
      precision = await bandPrecision(before, state, rules.band ?? 95)
      history.push({ ...history.pop()!, drift, bandPrecision: precision })
    }
    let reason = anyway ? null : stopReason(rules, history)
    let rows: number[] = []
    if (reason === null) {
      const answered = answersOf(history)
      const left = anyway || rules.budget === undefined ? sampling.batch : rules.budget - answered
      const batch = Math.min(sampling.batch, left)
      const drawn = { batch, seed: roundSeed(seed, history.length + 1), signal: control.signal }
      rows = [...(await sampleRows({ matrix, scores, askable }, { ...sampling, ...drawn }))]
      if (rows.length === 0) reason = NO_ROW_LEFT
    }
    if (reason !== null) return this.#stop(reason)
    await this.#log.append({ kind: 'ask', rows, drift, bandPrecision: finite(precision) })
    await keepScores(this.folder, scores, this.#log.entries.length - 1)
    return this.#asked(rows, null)
  }

  async #stop(reason: string): Promise<Asked> {
    if (this.#stopped() === null) await this.#log.append({ kind: 'stop', reason })
    return this.#asked([], reason)
  }

  /**
   * Records answers, all or none; they are on disk when it returns. An answer that is there already is no new one.
   * @throws {SeqriskError} codes `UNKNOWN_ID`, `NOT_ASKED`, `ANSWERED`, `ANSWER_INVALID`
   */
  answer(given: ReadonlyMap<string, Answer>): Promise<{ recorded: number; repeated: number }> {
    return this.#inOrder(() => this.#answer(given))
  }

  async #answer(given: ReadonlyMap<string, Answer>): Promise<{ recorded: number; repeated: number }> {
    const state = this.#stateAt(this.#log.entries.length)
    const ids = await this.#lines()
    // Those that answers may be about are few; all others are looked for only to say what is wrong with them.
    const asked = [...state.pending, ...state.answers.keys()]
    const rowOf = new Map((await ids.of(asked)).map((id, i) => [id, asked[i]]))
    const rows: number[] = []
    const answers: Answer[] = []
    let repeated = 0
    for (const [id, value] of given) {
      const answer = answerOf(value, `id '${id}'`)
      const row = rowOf.get(id)
      if (row === undefined) {
        if (ids.has(id)) {
          const text = sentence('active', 'ids that were asked about', id, 'no answer was recorded; see ask')
          throw new SeqriskError('NOT_ASKED', text)
        }
        const text = sentence('active', 'ids of the table', id, 'no answer was recorded; correct the id')
        throw new SeqriskError('UNKNOWN_ID', text)
      }
      if (state.pending.has(row)) {
        rows.push(row)
        answers.push(answer)
        continue
      }
      const known = state.answers.get(row)
      if (known === answer) {
        repeated++
        continue
      }
      const advice = `it was answered ${known}; undo that first`
      throw new SeqriskError('ANSWERED', sentence('active', `no second answer for id '${id}'`, answer, advice))
    }
    if (rows.length > 0) await this.#log.append({ kind: 'answer', rows, answers })
    return { recorded: rows.length, repeated }
  }

  /**
   * Takes back the last answers, as many as came at once: their rows wait for an answer again.
   * @throws {SeqriskError} code `NOTHING_TO_UNDO`
   */
  undo(): Promise<{ undone: number; ids: readonly string[] }> {
    return this.#inOrder(() => this.#undo())
  }

  async #undo(): Promise<{ undone: number; ids: readonly string[] }> {
    const undone = this.#undone(this.#log.entries.length)
    const at = this.#log.entries.findLastIndex((entry, i) => entry.kind === 'answer' && !undone.has(i))
    if (at < 0) {
      const text = sentence('active', 'answers to take back', 'none')
      throw new SeqriskError('NOTHING_TO_UNDO', text)
    }
    const { rows } = this.#log.entries[at] as Extract<Entry, { kind: 'answer' }>
    await this.#log.append({ kind: 'undo', entry: at })
    return { undone: rows.length, ids: await (await this.#lines()).of(rows) }
  }

  /** What was asked, answered and learnt so far. */
  status(): SessionStatus {
    const state = this.#stateAt(this.#log.entries.length)
    const history = this.#history()
    return {
      rows: this.settings.rows,
      known: this.#positives.reduce((sum, one) => sum + one, 0),
      rounds: history.length,
      answers: state.counts(),
      pending: state.pending.size,
      history,
      stopped: this.#stopped(),
      entries: this.#log.entries.length,
    }
  }

  /**
   * The model and the scores that the answers give. Where answers of 1 leave no other row, there is nothing to set them apart from:
   * the model is that of the answers before the last ones.
   */
  learn(device: Device, control: SessionControl = {}): Promise<PuResult> {
    return this.#inOrder(() => this.#learn(device, control))
  }

  async #learn(device: Device, control: SessionControl): Promise<PuResult> {
    const result = await this.#fit(device, this.#learnable(), control)
    return { ...result, model: result.model.withLevels(this.settings.levels) }
  }

  /** Each call looks at the log and adds to it: two at once would write over each other. */
  async #inOrder<T>(work: () => Promise<T>): Promise<T> {
    if (this.#closing) {
      throw new SeqriskError('CLOSED', '[active] expected an open session but received a closed one; open it again')
    }
    const done = this.#last.then(work)
    this.#last = done.then(
      () => {},
      () => {},
    )
    return done
  }

  async #fit(device: Device, state: ActiveState, control: SessionControl): Promise<PuResult> {
    const matrix = await this.#bins(device)
    const { learner, seed, rows } = this.settings
    this.#unusual ??= await readUnusual(this.folder, this.settings)
    const problem = state.problem({ matrix, positives: this.#positives, unusual: this.#unusual })
    return twoStepPu(problem, { ...activeTwoStep(rows), learner, seed, ...control })
  }

  async #lines(): Promise<IdLines> {
    this.#ids ??= await readIds(this.folder, this.settings)
    return this.#ids
  }

  /** Kept from call to call, on the device of the last one. */
  async #bins(device: Device): Promise<BinnedMatrix> {
    if (this.#matrix && this.#matrix.device !== device) {
      this.#matrix.dispose()
      this.#matrix = null
    }
    this.#matrix ??= await loadBins(device, join(this.folder, BINS))
    return this.#matrix
  }

  async #asked(rows: readonly number[], reason: string | null): Promise<Asked> {
    const ids = rows.length > 0 ? await (await this.#lines()).of(rows) : []
    const values = await readValues(this.folder, this.settings, rows)
    return { rows, ids, values, reason }
  }

  /** What the first entries of the log make. */
  #stateAt(entries: number): ActiveState {
    const { upSample, setting, askAgain } = this.settings
    const state = new ActiveState(this.#positives, { upSample, setting, askAgain })
    const undone = this.#undone(entries)
    for (const [i, entry] of this.#log.entries.slice(0, entries).entries()) {
      if (entry.kind === 'ask') for (const row of entry.rows) state.pending.add(row)
      if (entry.kind !== 'answer' || undone.has(i)) continue
      entry.rows.forEach((row, k) => {
        state.record(row, entry.answers[k])
      })
    }
    return state
  }

  /** The last state that leaves a row to learn of. */
  #learnable(): ActiveState {
    const { entries } = this.#log
    let state = this.#stateAt(entries.length)
    for (let at = entries.length - 1; at >= 0 && !state.leavesUnknown(); at--) {
      if (entries[at].kind !== 'stop') state = this.#stateAt(at)
    }
    return state
  }

  #undone(entries: number): Set<number> {
    const undone = new Set<number>()
    for (const entry of this.#log.entries.slice(0, entries)) if (entry.kind === 'undo') undone.add(entry.entry)
    return undone
  }

  /** One record for each batch that was asked, with the answers to it as they stand: a row that is asked about again has others. */
  #history(): RoundRecord[] {
    const { entries } = this.#log
    const undone = this.#undone(entries.length)
    const asks: { readonly ask: Extract<Entry, { kind: 'ask' }>; readonly answers: Map<number, Answer | null> }[] = []
    for (const [i, entry] of entries.entries()) {
      if (entry.kind === 'ask') asks.push({ ask: entry, answers: new Map(entry.rows.map(row => [row, null])) })
      if (entry.kind !== 'answer' || undone.has(i)) continue
      entry.rows.forEach((row, k) => {
        asks.findLast(({ answers }) => answers.has(row))?.answers.set(row, entry.answers[k])
      })
    }
    return asks.map(({ answers }, i) => {
      const given = [...answers.values()]
      const count = (wanted: Answer) => given.filter(answer => answer === wanted).length
      const next = asks[i + 1]?.ask
      return {
        round: i + 1,
        asked: answers.size,
        positives: count(1),
        negatives: count(0),
        unsure: count('unsure'),
        drift: next?.drift ?? Number.NaN,
        bandPrecision: next?.bandPrecision ?? Number.NaN,
      }
    })
  }

  /** The reason of a stop that nothing came after. */
  #stopped(): string | null {
    const last = this.#log.entries.at(-1)
    return last?.kind === 'stop' ? last.reason : null
  }

  /** Scores that the last batch was chosen by: kept ones, or those of the same fit again. */
  async #scoresBefore(device: Device, control: SessionControl): Promise<Float64Array> {
    const at = this.#log.entries.findLastIndex(entry => entry.kind === 'ask')
    const kept = await readScores(this.folder, this.settings.rows, at)
    return kept ?? (await this.#fit(device, this.#stateAt(at), control)).scores
  }
}

const finite = (value: number | null) => (value !== null && Number.isFinite(value) ? value : null)
