import { describe, expect, it } from 'vitest'
import {
  type ActiveProgress,
  ActiveState,
  type Answer,
  BinnedMatrix,
  type Oracle,
  type PuProblem,
  runActive,
  toLightgbm,
} from '../../lib/index.js'
import { roundSeed, type Sampler, sampleRows } from '../../lib/pu/samplers.js'
import { type RoundRecord, stopReason } from '../../lib/pu/stop.js'
import { openDevice } from '../support/devices.js'
import { aucOfUnknown, knownOf, plantedTable } from '../support/pu_table.js'
import { TestRandom } from '../support/random.js'
import { watchTurns } from '../support/turns.js'

const device = openDevice()
const ROWS = 3000
const planted = plantedTable(ROWS, 4)
const { columns, truth } = planted
const matrix = await BinnedMatrix.from(device, { columns })
const known = knownOf(planted, 20, 1)
const problem: PuProblem = { matrix, positives: known, data: { columns } }
const expert: Oracle = rows => Array.from(rows, row => (truth[row] ? 1 : 0))

const found = (scores: Float64Array) => aucOfUnknown(planted, known, scores)

describe('samplers', () => {
  const random = new TestRandom(3)
  const scores = Float64Array.from({ length: ROWS }, () => random.next() * 0.9)
  const askable = Uint8Array.from({ length: ROWS }, (_, row) => Number(row % 4 !== 0))
  const pool = { matrix, scores, askable }
  const options = { batch: 20, candidates: 100, threshold: 0.5, seed: 1 }
  const sample = (sampler: Sampler, more = {}) => sampleRows({ ...pool, ...more }, { ...options, sampler })
  const below = [...scores.keys()]
    .filter(row => askable[row] && scores[row] < 0.5)
    .sort((a, b) => scores[b] - scores[a])

  it('uncertain: the highest scores below the threshold; top: the highest of all', async () => {
    expect([...(await sample('uncertain'))]).toEqual(below.slice(0, 20))
    const all = [...scores.keys()].filter(row => askable[row]).sort((a, b) => scores[b] - scores[a])
    expect([...(await sample('top'))]).toEqual(all.slice(0, 20))
  })

  it('diverse: rows of many places among the most uncertain, each the most uncertain of its cluster', async () => {
    const rows = await sample('diverse')
    expect(new Set(rows).size).toBe(20)
    const candidates = new Set(below.slice(0, 100))
    for (const row of rows) expect(candidates.has(row)).toBe(true)
    expect(rows[0]).toBe(below[0])
    // Farther apart than the rows that uncertainty alone takes.
    const apart = (of: ArrayLike<number>) => {
      let least = 0
      for (let i = 0; i < of.length; i++) {
        let near = Number.POSITIVE_INFINITY
        for (let j = 0; j < of.length; j++) {
          if (i !== j) near = Math.min(near, Math.hypot(...columns.map(c => c[of[i]] - c[of[j]])))
        }
        least += near
      }
      return least / of.length
    }
    expect(apart(rows)).toBeGreaterThan(apart(below.slice(0, 20)))
  })

  it('random: askable rows, all equally likely', async () => {
    const hits = new Float64Array(ROWS)
    for (let seed = 0; seed < 300; seed++) {
      const rows = await sampleRows(pool, { ...options, sampler: 'random', seed })
      expect(new Set(rows).size).toBe(20)
      for (const row of rows) hits[row]++
    }
    // 6000 draws over 2250 rows; halves get 3000 each, within five deviations.
    const first = hits.subarray(0, ROWS / 2).reduce((sum, count) => sum + count, 0)
    expect(Math.abs(first - 3000)).toBeLessThan(5 * Math.sqrt(1500))
    for (let row = 0; row < ROWS; row += 4) expect(hits[row]).toBe(0)
  })

  it('draw anew in each round of each seed', async () => {
    const last = Number.MAX_SAFE_INTEGER
    const seeds = [...Array(30).keys(), 2 ** 32, last - 1, last].flatMap(seed =>
      Array.from({ length: 30 }, (_, i) => roundSeed(seed, i + 1)),
    )
    expect(new Set(seeds).size).toBe(33 * 30)
    for (const seed of seeds) expect(Number.isSafeInteger(seed) && seed >= 0).toBe(true)
    // The order of equal scores knows 32 bits of a seed.
    expect(new Set(seeds.map(seed => seed >>> 0)).size).toBe(33 * 30)
    const drawn = (seed: number, round: number) =>
      sampleRows(pool, { ...options, sampler: 'random', seed: roundSeed(seed, round) })
    expect(await drawn(0, 2)).not.toEqual(await drawn(1, 1))
  })

  it('take what is left, and the other side when one is used up', async () => {
    const few = Uint8Array.from(askable, (_, row) => Number(row < 7))
    for (const sampler of ['diverse', 'uncertain', 'random', 'top'] as const) {
      expect((await sample(sampler, { askable: few })).length).toBe(7)
      expect((await sample(sampler, { askable: new Uint8Array(ROWS) })).length).toBe(0)
    }
    const high = Float64Array.from({ length: ROWS }, (_, row) => 0.6 + row / 10_000)
    expect([...(await sample('uncertain', { scores: high }))].slice(0, 3)).toEqual([1, 2, 3])
    const same = await sample('uncertain', { scores: new Float64Array(ROWS).fill(0.2) })
    expect(new Set(same).size).toBe(20)
    await expect(sample('best' as 'top')).rejects.toThrow(/a sampler out of/)
  })

  it('take what sorting all rows would, also of equal and of rising scores', async () => {
    const order = (values: Float64Array) =>
      [...values.keys()].filter(row => askable[row]).sort((a, b) => values[b] - values[a])
    for (const levels of [1, 3, 400]) {
      const few = scores.map(score => Math.floor(score * levels) / levels)
      const rising = scores.toSorted()
      for (const values of [few, rising, rising.toReversed()]) {
        for (const batch of [1, 2, 20, 700, 2 * ROWS]) {
          const rows = [...(await sampleRows({ ...pool, scores: values }, { ...options, sampler: 'top', batch }))]
          const want = order(values).slice(0, batch)
          expect(new Set(rows).size).toBe(want.length)
          expect(rows.map(row => values[row])).toEqual(want.map(row => values[row]))
          for (const row of rows) expect(askable[row]).toBe(1)
        }
      }
    }
  })

  it('let the event loop run where a million scores are equal, or rise', { retry: 2 }, async () => {
    const rows = 1_000_000
    const all = new Uint8Array(rows).fill(1)
    for (const values of [
      new Float64Array(rows).fill(0.2),
      Float64Array.from({ length: rows }, (_, row) => row * 1e-12),
    ]) {
      const { longest, total } = await watchTurns(() =>
        sampleRows({ matrix, scores: values, askable: all }, { ...options, sampler: 'uncertain', batch: 1000 }),
      )
      expect(total).toBeGreaterThan(0)
      expect(longest).toBeLessThan(25)
    }
  })
})

describe('answers', () => {
  it('1 is trusted and weighs more, 0 and unsure return to U, and none is asked again', () => {
    const state = new ActiveState(known, { upSample: 7 })
    const rows = [...truth.keys()].filter(row => !known[row]).slice(0, 3)
    const given: Answer[] = [1, 0, 'unsure']
    rows.forEach((row, i) => {
      state.record(row, given[i])
    })
    const { positives, weights, negatives } = state.problem({ matrix, positives: known })
    expect(rows.map(row => positives[row])).toEqual([1, 0, 0])
    expect(rows.map(row => weights![row])).toEqual([7, 1, 1])
    expect(negatives!.every(one => one === 0)).toBe(true)
    const askable = state.askable()
    expect(rows.map(row => askable[row])).toEqual([0, 0, 0])
    expect(known.every((one, row) => !one || askable[row] === 0)).toBe(true)
    expect(state.counts()).toEqual({ positives: 1, negatives: 1, unsure: 1 })
    expect(known[rows[0]]).toBe(0)
  })

  it('the LU setting believes 0; asking again is a choice', () => {
    const state = new ActiveState(known, { setting: 'lu', askAgain: true })
    const [a, b, c] = [...truth.keys()].filter(row => !known[row])
    state.record(a, 1)
    state.record(b, 0)
    state.record(c, 'unsure')
    const { negatives } = state.problem({ matrix, positives: known })
    expect([a, b, c].map(row => negatives![row])).toEqual([0, 1, 0])
    expect([a, b, c].map(row => state.askable()[row])).toEqual([0, 1, 1])
    expect(() => new ActiveState(known, { upSample: 0.5 })).toThrow(/upSample/)
    expect(() => new ActiveState(known, { setting: 'ul' as 'lu' })).toThrow(/setting/)
  })
})

describe('stop rules', () => {
  const record = (round: number, positives: number, drift = 0.5, bandPrecision = round / 10): RoundRecord => ({
    round,
    asked: 20,
    positives,
    negatives: 18 - positives,
    unsure: 2,
    drift,
    bandPrecision,
  })
  const history = [record(1, 10), record(2, 8), record(3, 1), record(4, 1)]

  it.each([
    [{ budget: 80 }, /^budget: 80 answers of 80$/],
    [{ rounds: 4 }, /^rounds: 4 of 4$/],
    [{ yieldDecay: 0.2 }, /^yield decay: 0\.050, 0\.050 positives per answer, below 0\.2 × 0\.500$/],
    [{ drift: 0.6 }, /^score drift: 0\.500, 0\.500, below 0\.6$/],
    [{ plateau: 0.21 }, /^plateau: precision 0\.200, 0\.300, 0\.400 above percentile 95, within 0\.21$/],
  ])('%j holds, and says why', (rules, reason) => expect(stopReason(rules, history)).toMatch(reason))

  it.each([{ budget: 81 }, { rounds: 5 }, { yieldDecay: 0.05 }, { drift: 0.5 }, { plateau: 0.19 }, {}])(
    '%j goes on',
    rules => expect(stopReason(rules, history)).toBeNull(),
  )

  it('nothing is said before there was patience, nor of what is not known', () => {
    expect(stopReason({ yieldDecay: 1, drift: 1, plateau: 1 }, history.slice(2))).toBeNull()
    const blank = history.map(one => ({ ...one, drift: Number.NaN, bandPrecision: Number.NaN }))
    expect(stopReason({ drift: 1, plateau: 1 }, blank)).toBeNull()
  })
})

describe('active PU', () => {
  it('finds kinds that no label knew, with the answers of an expert', async () => {
    const start = { ...problem, data: undefined }
    const before = await runActive(start, expert, { rounds: 1, batch: 1, sampler: 'random' })
    const result = await runActive(start, expert, { rounds: 5, batch: 40 })
    expect(result.reason).toBe('rounds: 5 of 5')
    expect(result.history).toHaveLength(5)
    expect(result.state.answers.size).toBe(200)
    expect(found(result.scores)).toBeGreaterThan(found(before.scores) + 0.05)
    for (const { drift } of result.history) expect(drift).toBeGreaterThan(0)
  })

  it('asks no row twice, known ones never, and keeps to its budget', async () => {
    const asked = new Set<number>()
    const oracle: Oracle = rows => {
      for (const row of rows) {
        expect(asked.has(row)).toBe(false)
        expect(known[row]).toBe(0)
        asked.add(row)
      }
      return Array.from(rows, row => (row % 5 === 0 ? 'unsure' : truth[row] ? 1 : 0))
    }
    const result = await runActive(problem, oracle, { budget: 50, batch: 20 })
    expect(asked.size).toBe(50)
    expect(result.reason).toBe('budget: 50 answers of 50')
    expect(result.history.map(({ asked }) => asked)).toEqual([20, 20, 10])
  })

  it('waits for people, gives the same bits again, learns by forests too', async () => {
    const slow: Oracle = async (rows, context) => {
      await new Promise(resolve => setTimeout(resolve, 2))
      return expert(rows, context)
    }
    const first = await runActive(problem, expert, { rounds: 2, batch: 30, seed: 3 })
    const second = await runActive(problem, slow, { rounds: 2, batch: 30, seed: 3 })
    expect(toLightgbm(second.model)).toBe(toLightgbm(first.model))
    const forest = await runActive(problem, expert, { rounds: 2, batch: 30, twoStep: { learner: 'forest' } })
    expect(found(forest.scores)).toBeGreaterThan(0.8)
  })

  it.each([
    [{ rounds: 2, batch: 10 }, 2],
    [{ budget: 25, batch: 10 }, 3],
    [{ budget: 25, rounds: 2, batch: 10 }, 2],
    [{ budget: 25, rounds: 9, batch: 10 }, 3],
  ])('tells of rounds: %j', async (options, total) => {
    const seen: ActiveProgress[] = []
    await runActive({ ...problem, data: undefined }, expert, { ...options, onProgress: one => seen.push(one) })
    expect(seen.map(one => one.total)).toEqual(seen.map(() => total))
    expect(seen.at(-1)).toEqual({ phase: 'learn', done: total, total })
  })

  it('ends by a signal while an oracle never answers', async () => {
    const controller = new AbortController()
    const reason = new Error('home time')
    const never: Oracle = () => {
      setTimeout(() => controller.abort(reason), 5)
      return new Promise(() => {})
    }
    await expect(runActive(problem, never, { rounds: 1, signal: controller.signal })).rejects.toBe(reason)
  })

  it.each([
    [() => [1], /expected 10 answers but received 1/],
    [() => new Array(10).fill('yes'), /1, 0 or unsure for row \d+ but received 'yes'/],
    [
      () => null as unknown as Answer[],
      /expected an array of 10 answers but received null; use Array\.from\(rows, …\)$/,
    ],
    [
      (rows: Int32Array) => rows.map(() => 'unsure' as never),
      /expected an array of 10 answers but received Int32Array; use Array\.from\(rows, …\): the map of an Int32Array/,
    ],
  ])('refuses answers that are none', async (oracle, message) => {
    await expect(runActive(problem, oracle as Oracle, { rounds: 1, batch: 10 })).rejects.toThrow(message)
  })

  it.each([
    [{}, /a budget or a number of rounds/],
    [{ rounds: 0 }, /rounds to be an integer from 1/],
    [{ rounds: 1, batch: 0 }, /batch to be an integer from 1/],
    [{ rounds: 1, threshold: 0 }, /threshold in/],
    [{ rounds: 1, sampler: 'best' }, /a sampler out of/],
    [{ rounds: 1, bach: 3 }, /did you mean 'batch'/],
    [{ rounds: 1, band: 100 }, /band as a percentile/],
    [{ rounds: 1, upSample: 2 ** 20 + 1 }, /upSample to be an integer from 1 to 1048576/],
    [{ rounds: 1, twoStep: { positiveWeight: 2 ** 18 } }, /upSample times positiveWeight .* '5 × 262144'/],
  ])('refuses %j', async (options, message) => {
    await expect(runActive(problem, expert, options as { rounds: number })).rejects.toThrow(message)
  })

  it('learns from all answers where zeros are believed and no row is left', async () => {
    const rows = 60
    const small = await BinnedMatrix.from(device, { columns: columns.map(column => column.slice(0, rows)) })
    const few = known.slice(0, rows).map((_, row) => Number(truth[row] && row < 40))
    const one = { matrix: small, positives: few }
    const result = await runActive(one, expert, { budget: 1000, batch: 25, setting: 'lu' })
    expect(result.reason).toBe('no row is left to ask about')
    const positives = truth.slice(0, rows).reduce((sum, value) => sum + value, 0)
    expect(result.sets.second.sizes).toEqual({ positives, spies: 0, negatives: rows - positives, unlabelled: 0 })
  })

  it('ends with the last fit where experts confirm every row', async () => {
    const mask = Uint8Array.from(known, (one, row) => Number(one === 1 || row < 30))
    const asked = [...mask.keys()].filter(row => mask[row] && !known[row]).length
    const yes: Oracle = rows => Array.from(rows, () => 1)
    const result = await runActive({ ...problem, mask }, yes, { rounds: 9, batch: 20 })
    expect(result.reason).toBe('no row is left to ask about')
    expect(result.state.counts()).toEqual({ positives: asked, negatives: 0, unsure: 0 })
    expect(result.history.map(one => one.asked)).toEqual([20, asked - 20])
    expect(result.scores).toHaveLength(ROWS)
    // That is the model that chose the last batch.
    const before = await runActive({ ...problem, mask }, yes, { rounds: 1, batch: 20 })
    expect(result.scores).toEqual(before.scores)
  })

  it('stops when no row is left', async () => {
    const mask = Uint8Array.from(known, (one, row) => Number(one === 1 || row < 30))
    const result = await runActive({ ...problem, mask }, expert, { rounds: 9, batch: 20 })
    expect(result.reason).toBe('no row is left to ask about')
  })
})
