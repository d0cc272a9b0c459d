import { describe, expect, it } from 'vitest'
import {
  BinnedMatrix,
  isolationPu,
  LITERAL_TWO_STEP,
  learnPu,
  onePu,
  type PuProblem,
  supervisedPu,
  toLightgbm,
  twoStepPu,
} from '../../lib/index.js'
import { openLearner, type PuLearner } from '../../lib/pu/learner.js'
import { PU_GBRT } from '../../lib/pu/options.js'
import { ROLE, setsOf } from '../../lib/pu/problem.js'
import { cutOf, drawSpies } from '../../lib/pu/spies.js'
import { startOf } from '../../lib/pu/unusual.js'
import { auc } from '../../lib/report/metrics.js'
import { openDevice } from '../support/devices.js'
import { aucOfUnknown, knownOf, plantedTable } from '../support/pu_table.js'
import { watchTurns } from '../support/turns.js'

const device = openDevice()
const ROWS = 6000
const planted = plantedTable(ROWS)
const { columns, truth, kind } = planted
const matrix = await BinnedMatrix.from(device, { columns })
const base = (positives: Uint8Array): PuProblem => ({ matrix, positives, data: { columns } })

const found = (scores: Float64Array, known: Uint8Array) => aucOfUnknown(planted, known, scores)

describe('two-step PU', () => {
  it('finds planted positives of all kinds where labels know one kind alone and the naive classifier fails', async () => {
    const known = knownOf(planted, 40, 1)
    const problem = base(known)
    const naive = found((await supervisedPu(problem)).scores, known)
    const isolation = found((await isolationPu(problem)).scores, known)
    const result = await twoStepPu(problem)
    const own = found(result.scores, known)
    expect(own).toBeGreaterThan(0.95)
    expect(naive).toBeLessThan(0.8)
    expect(isolation).toBeLessThan(own)
    expect(result.diagnostics.unusualGain).toBeGreaterThan(0.5)
  })

  it('with labels at random finds them too, also by the letter and by a forest', async () => {
    const known = knownOf(planted, 120)
    const problem = base(known)
    expect(found((await twoStepPu(problem)).scores, known)).toBeGreaterThan(0.95)
    for (const outcome of [
      await twoStepPu(problem, LITERAL_TWO_STEP),
      await twoStepPu(problem, { learner: 'forest' }),
      await onePu(problem),
      await learnPu(problem, 'supervised'),
    ]) {
      expect(found(outcome.scores, known)).toBeGreaterThan(0.9)
      expect(outcome.scores.every(score => score >= 0 && score <= 1)).toBe(true)
    }
  })

  it('keeps the sets and the rounds', async () => {
    const known = knownOf(planted, 40)
    const { sets, rounds, diagnostics, model, scores } = await twoStepPu(base(known), {
      rounds: [2, 3],
      convergence: 0,
    })
    expect(rounds.map(({ step, round }) => [step, round].join())).toEqual(['1,1', '1,2', '2,1', '2,2', '2,3'])
    expect(sets.first[0].sizes).toEqual({ positives: 34, spies: 6, negatives: 0, unlabelled: ROWS - 40 })
    const { negatives } = diagnostics.draws[0]
    expect(sets.second.sizes).toEqual({ positives: 40, spies: 0, negatives, unlabelled: ROWS - 40 - negatives })
    for (const row of sets.first[0].rows(ROLE.spy)) expect(known[row]).toBe(1)
    for (const row of sets.second.rows(ROLE.positive)) expect(known[row]).toBe(1)
    expect(rounds[0].change).toBeNaN()
    expect(rounds[1].change).toBeGreaterThan(0)
    expect(rounds[1].sizes).toEqual(sets.first[0].sizes)
    expect(rounds[4].sizes).toEqual(sets.second.sizes)
    expect(diagnostics.draws[0]).toMatchObject({ spies: 6 })
    expect(diagnostics.draws[0].threshold).toBeGreaterThanOrEqual(diagnostics.draws[0].spyScores[0])
    // The model alone gives the scores.
    const again = await model.predict(device, { columns })
    for (let row = 0; row < ROWS; row++) expect(Math.abs(again[row] - scores[row])).toBeLessThan(1e-12)
  })

  it('gives the same bits again, on other threads, and with a learner that was used before', async () => {
    const known = knownOf(planted, 40)
    const first = await twoStepPu(base(known), { seed: 5 })
    const one = openDevice({ threads: 1 })
    const alone = await BinnedMatrix.from(one, { columns })
    const second = await twoStepPu({ matrix: alone, positives: known, data: { columns } }, { seed: 5 })
    expect(toLightgbm(second.model)).toBe(toLightgbm(first.model))
    expect(second.scores).toEqual(first.scores)
    const options = { numIterations: 50, numLeaves: 31, learningRate: 0.1, seed: 5 }
    const learner = openLearner(matrix, { gbrt: options })
    await twoStepPu(base(knownOf(planted, 20, 2)), { with: learner })
    expect((await twoStepPu(base(known), { seed: 5, with: learner })).scores).toEqual(first.scores)
    learner.dispose()
    expect((await twoStepPu(base(known), { seed: 6 })).scores).not.toEqual(first.scores)
  })

  it('several draws vote, and say how far they lie apart', async () => {
    const known = knownOf(planted, 40)
    const { diagnostics, sets, rounds } = await twoStepPu(base(known), { draws: 3, rounds: [1, 1] })
    expect(diagnostics.draws).toHaveLength(3)
    expect(diagnostics.spread).toBeGreaterThan(0)
    expect(rounds.map(({ draw, step }) => [draw, step].join())).toEqual(['0,1', '1,1', '2,1', '0,2'])
    expect(new Set(sets.first.map(one => one.rows(ROLE.spy).join())).size).toBe(3)
    const counts = diagnostics.draws.map(draw => draw.negatives).sort((a, b) => a - b)
    const voted = sets.second.sizes.negatives
    expect(voted).toBeGreaterThanOrEqual(counts[0] / 2)
    expect(voted).toBeLessThanOrEqual(counts[2])
  })

  it('leaves masked rows out, but scores them; believes negatives; weights are copies', async () => {
    const known = knownOf(planted, 60)
    const mask = Uint8Array.from(truth, (_, row) => Number(row % 3 !== 0 || known[row] === 1))
    const masked = await twoStepPu({ ...base(known), mask })
    const out = [...truth.keys()].filter(row => !mask[row])
    expect(masked.sets.second.sizes.unlabelled + masked.sets.second.sizes.negatives).toBe(ROWS - 60 - out.length)
    const held = auc(
      out.map(row => masked.scores[row]),
      out.map(row => truth[row]),
    )
    expect(held).toBeGreaterThan(0.95)
    // All hidden positives of kind 2 are called negative: they score lower than without.
    const negatives = Uint8Array.from(truth, (_, row) => Number(kind[row] === 2 && !known[row]))
    const believed = await twoStepPu({ ...base(known), negatives })
    const plain = await twoStepPu(base(known))
    const mean = (scores: Float64Array) =>
      [...negatives.keys()].reduce((sum, row) => sum + negatives[row] * scores[row], 0)
    expect(mean(believed.scores)).toBeLessThan(0.5 * mean(plain.scores))
    // A positive of weight 2 counts as two.
    const weights = Float32Array.from(known, one => (one ? 2 : 1))
    const weighted = await supervisedPu({ ...base(known), weights })
    const doubled = await supervisedPu(base(known), { positiveWeight: 2 })
    expect(weighted.scores).toEqual(doubled.scores)
  })

  it('a weight is as many copies, of any row', async () => {
    // Few values: the bins are the same with copies and without.
    const coarse = columns.map(column => column.map(Math.round))
    const known = knownOf(planted, 60)
    const negatives = Uint8Array.from(known, (one, row) => Number(!one && !truth[row] && row % 5 === 0))
    const weights = Float32Array.from(known, (one, row) => (one ? 2 : negatives[row] ? 3 : 1 + (row % 2)))
    const copies = [...weights.keys()].flatMap(row => new Array<number>(weights[row]).fill(row))
    const of = (flags: Uint8Array) => Uint8Array.from(copies, row => flags[row])
    const single = await BinnedMatrix.from(device, { columns: coarse })
    const many = await BinnedMatrix.from(device, {
      columns: coarse.map(column => Float64Array.from(copies, row => column[row])),
    })
    for (const positiveWeight of [1, 'balanced'] as const) {
      const weighted = await onePu(
        { matrix: single, positives: known, negatives, weights },
        { positiveWeight, convergence: 0 },
      )
      const copied = await onePu(
        { matrix: many, positives: of(known), negatives: of(negatives) },
        { positiveWeight, convergence: 0 },
      )
      expect(copied.scores).toEqual(Float64Array.from(copies, row => weighted.scores[row]))
    }
  })

  it.each([
    [10, 1],
    [10, 5],
    [1, 1],
    [600, 1],
  ])('balanced: %i positives of weight %i have the weight of 200 000 other rows', async (known, weight) => {
    const rows = 200_000 + known
    const positives = new Uint8Array(rows).fill(1, 0, known)
    const weights = new Float32Array(rows).fill(weight, 0, known).fill(1, known)
    let [own, others] = [0, 0]
    // Nothing but the number of rows is asked of the matrix.
    const table = { rows } as BinnedMatrix
    const learner: PuLearner = {
      matrix: table,
      fit: async given => {
        const sum = (part: Float32Array) => part.reduce((sum, one) => sum + one, 0)
        own = sum(given.weights!.subarray(0, known))
        others = sum(given.weights!.subarray(known))
        return { model: null as never, scores: new Float64Array(rows) }
      },
      dispose: () => {},
    }
    await onePu({ matrix: table, positives, weights }, { with: learner, positiveWeight: 'balanced', rounds: 1 })
    expect(others).toBe(200_000)
    // The factor is rounded to an integer.
    expect(Math.abs(own / others - 1)).toBeLessThanOrEqual((known * weight) / 2 / others)
  })

  it('weights beyond 8191 are not those of 8191', async () => {
    const known = knownOf(planted, 10)
    const scores = async (positiveWeight: number) => (await supervisedPu(base(known), { positiveWeight })).scores
    const [less, more] = [await scores(8191), await scores(500_000)]
    const mean = (of: Float64Array) => of.reduce((sum, one, row) => sum + (known[row] ? one : 0), 0) / 10
    expect(1 - mean(more)).toBeLessThan(0.1 * (1 - mean(less)))
  })

  it('tells of rounds, and ends by a signal with the reason of the caller', async () => {
    const known = knownOf(planted, 40)
    const seen: number[] = []
    await twoStepPu(base(known), { rounds: [2, 2], convergence: 0, onProgress: ({ done }) => seen.push(done) })
    expect(seen.at(-1)).toBe(4)
    expect(seen).toEqual([...seen].sort((a, b) => a - b))
    const controller = new AbortController()
    const reason = new Error('enough')
    const stopped = twoStepPu(base(known), {
      signal: controller.signal,
      onProgress: () => controller.abort(reason),
    })
    await expect(stopped).rejects.toBe(reason)
  })

  it('a step ends once the scores rest', async () => {
    const known = knownOf(planted, 40)
    const { rounds } = await twoStepPu(base(known), { rounds: [30, 30], convergence: 0.05 })
    const first = rounds.filter(({ step }) => step === 1)
    expect(first.length).toBeLessThan(30)
    const last = first.at(-1)!
    expect(last.change).toBeLessThan(0.05 * last.mean)
    for (const { change, mean } of first.slice(1, -1)) expect(change).toBeGreaterThanOrEqual(0.05 * mean)
  })
})

describe('what can go wrong', () => {
  const known = knownOf(planted, 40)
  const codes = (result: { diagnostics: { warnings: readonly { code: string }[] } }) =>
    result.diagnostics.warnings.map(warning => warning.code)

  it('no positives, all positive, fewer than spies need', async () => {
    const none = base(new Uint8Array(ROWS))
    const all = base(new Uint8Array(ROWS).fill(1))
    for (const learn of [twoStepPu, onePu, supervisedPu, isolationPu]) {
      await expect(learn(none)).rejects.toMatchObject({ code: 'NO_POSITIVES', message: /mark some rows/ })
      await expect(learn(all)).rejects.toMatchObject({ code: 'NO_UNLABELLED', message: /add rows to search in/ })
    }
    const one = new Uint8Array(ROWS)
    one[7] = 1
    await expect(twoStepPu(base(one))).rejects.toMatchObject({ code: 'TOO_FEW_POSITIVES', message: /use one-step PU/ })
    expect((await onePu(base(one))).scores).toHaveLength(ROWS)
    one[8] = 1
    const two = await twoStepPu(base(one))
    expect(codes(two)).toContain('FEW_SPIES')
    expect(two.sets.first[0].sizes).toMatchObject({ positives: 1, spies: 1 })
  })

  it('no row is left to find where all are known: positives are set apart from negatives', async () => {
    const negatives = known.map(one => 1 - one)
    const problem: PuProblem = { ...base(known), negatives }
    for (const draws of [1, 3]) {
      const { sets, rounds, scores, diagnostics } = await twoStepPu(problem, { draws })
      expect(sets.first).toEqual([])
      expect(sets.second.sizes).toEqual({ positives: 40, spies: 0, negatives: ROWS - 40, unlabelled: 0 })
      expect(diagnostics).toMatchObject({ draws: [], spread: 0, warnings: [] })
      // That is what a classifier learns.
      expect(rounds).toHaveLength(1)
      const plain = await supervisedPu(base(known), { gbrt: PU_GBRT })
      expect(scores).toEqual(plain.scores)
    }
  })

  it('constant scores', async () => {
    const flat = await BinnedMatrix.from(device, { columns: [new Float64Array(ROWS).fill(3)] })
    const result = await twoStepPu({ matrix: flat, positives: known })
    expect(codes(result)).toEqual(expect.arrayContaining(['CONSTANT_SCORES', 'NO_NEGATIVES']))
    expect(new Set(result.scores).size).toBe(1)
  })

  it('N empty: the second step is plain EM', async () => {
    const result = await twoStepPu(base(known), { quantile: 0, mostNegatives: 1e-9 })
    expect(codes(result)).toContain('NO_NEGATIVES')
    expect(result.sets.second.sizes.negatives).toBe(0)
    expect(found(result.scores, known)).toBeGreaterThan(0.9)
  })

  it('N everything, and a threshold above every unlabelled row', async () => {
    // A column that names the known positives exactly: nobody else comes near.
    const mark = Float64Array.from(known, one => one)
    const telling = await BinnedMatrix.from(device, { columns: [mark] })
    const result = await twoStepPu(
      { matrix: telling, positives: known },
      { gbrt: { minDataInLeaf: 1 }, mostNegatives: 1 },
    )
    expect(codes(result)).toContain('THRESHOLD_ABOVE_ALL')
    expect(result.sets.second.sizes).toMatchObject({ unlabelled: 0, negatives: ROWS - 40 })
    expect(result.rounds.filter(({ step }) => step === 2)).toHaveLength(1)
    const capped = await twoStepPu(base(known), { quantile: 1, mostNegatives: 0.5 })
    expect(capped.sets.second.sizes.negatives).toBeLessThanOrEqual((ROWS - 40) / 2)
    expect(capped.sets.second.sizes.negatives).toBeGreaterThan(0)
    // As sorting all says: as many as may be, unless scores are equal.
    const half = (ROWS - 40) / 2
    expect(capped.sets.second.sizes.negatives).toBeGreaterThan(0.9 * half)
  })

  it.each([
    [{ spies: 0 }, /spies as a share/],
    [{ spies: 1 }, /spies as a share/],
    [{ quantile: 2 }, /quantile in \[0, 1\]/],
    [{ rounds: [0, 1] }, /rounds to be integers from 1/],
    [{ rounds: [1] }, /rounds of two steps/],
    [{ draws: 0 }, /draws to be/],
    [{ mostNegatives: 0 }, /mostNegatives in/],
    [{ positiveWeight: 0.5 }, /positiveWeight to be/],
    [{ positiveWeight: 2 ** 20 + 1 }, /positiveWeight to be an integer from 1 to 1048576/],
    [{ spys: 0.1 }, /did you mean 'spies'/],
    [{ cut: 'median' }, /cut rule/],
    [{ start: 'none' }, /start 'zero' or 'unusual'/],
    [{ gbrt: { objective: 'softmax', numClass: 2 } }, /objective 'squared' or 'logistic'/],
  ])('refuses %j', async (options, message) => {
    await expect(twoStepPu(base(known), options as object)).rejects.toThrow(message)
  })

  it.each([
    [{ positiveWeight: 0 }, /positiveWeight to be/],
    [{ positiveWeight: 1.5 }, /positiveWeight to be/],
    [{ positiveWeight: 'much' }, /positiveWeight to be/],
    [{ learner: 'tree' }, /learner 'gbrt' or 'forest'/],
  ])('one step, and positives against the rest, refuse %j', async (options, message) => {
    for (const learn of [onePu, supervisedPu]) {
      await expect(learn(base(known), options as object)).rejects.toThrow(message)
    }
  })

  it('no method takes a learner on another matrix', async () => {
    const other = await BinnedMatrix.from(device, { columns: columns.map(column => column.slice(0, 100)) })
    const learner = openLearner(other, {})
    for (const learn of [twoStepPu, onePu, supervisedPu]) {
      await expect(learn(base(known), { with: learner })).rejects.toThrow(/a learner on the matrix of the problem/)
    }
    learner.dispose()
  })

  it('one step refuses a convergence below 0, and positives against the rest any', async () => {
    for (const convergence of [-1, Number.NaN]) {
      await expect(onePu(base(known), { convergence })).rejects.toThrow(/convergence from 0/)
    }
    await expect(supervisedPu(base(known), { convergence: 0.1 } as object)).rejects.toThrow(/known options/)
  })

  it('refuses flags and weights that cannot be', async () => {
    const problem = base(known)
    await expect(twoStepPu({ ...problem, positives: new Uint8Array(3) })).rejects.toThrow(/positives of 6000 rows/)
    await expect(twoStepPu({ ...problem, positives: [...known] as unknown as Uint8Array })).rejects.toThrow(
      /Uint8Array/,
    )
    const half = new Float32Array(ROWS).fill(0.5)
    await expect(twoStepPu({ ...problem, weights: half })).rejects.toThrow(/weights to be integers from 1/)
    const heavy = new Float32Array(ROWS).fill(2 ** 11)
    for (const learn of [twoStepPu, onePu, supervisedPu]) {
      await expect(learn({ ...problem, weights: heavy }, { positiveWeight: 2 ** 10 })).rejects.toThrow(
        /weights of positives times positiveWeight to be at most 1048576 but received '2048 × 1024'; lower one/,
      )
    }
    await expect(twoStepPu({ ...problem, negatives: known })).rejects.toThrow(
      /positive or negative but received 'both'/,
    )
    await expect(isolationPu({ matrix, positives: known })).rejects.toMatchObject({ code: 'NO_DATA' })
    await expect(learnPu(problem, 'magic' as 'isolation')).rejects.toThrow(/a method out of/)
  })
})

describe('spies', () => {
  const rows = Int32Array.from({ length: 40 }, (_, i) => 3 * i)

  it('are as many as asked for, drawn anew each time', () => {
    const drawn = drawSpies('test', rows, 0.15, 1, 0)
    expect(drawn).toHaveLength(6)
    expect(new Set(drawn).size).toBe(6)
    for (const row of drawn) expect(rows).toContain(row)
    expect(drawSpies('test', rows, 0.15, 1, 0)).toEqual(drawn)
    expect(drawSpies('test', rows, 0.15, 1, 1)).not.toEqual(drawn)
    expect(drawSpies('test', rows, 0.999, 1, 0)).toHaveLength(39)
    expect(drawSpies('test', rows, 0.001, 1, 0)).toHaveLength(1)
  })

  it('cut by hand', () => {
    const scores = Float64Array.of(0.05, 0.5, 0.6, 0.7, 0.8)
    expect(cutOf('test', scores, { cut: 'minimum' })).toBe(0.05)
    expect(cutOf('test', scores, { quantile: 0.5 })).toBe(0.6)
    expect(cutOf('test', scores, { quantile: 0.1 })).toBeCloseTo(0.05 + 0.4 * 0.45, 14)
    // Quartiles 0.5 and 0.7: what lies below 0.5 − 1.5 · 0.2 is an outlier.
    expect(cutOf('test', scores, { cut: 'tolerance' })).toBe(0.5)
    expect(cutOf('test', scores, { cut: 'tolerance', tolerance: 3 })).toBe(0.05)
  })

  it('the unusual start, by hand', async () => {
    const unusual = Float64Array.from({ length: 100 }, (_, row) => row)
    const roles = new Uint8Array(100).fill(ROLE.unlabelled)
    roles[99] = ROLE.positive
    const top = await startOf(unusual, { roles })
    expect(top.gain).toBe(1)
    // Row 98 stands at percentile 98.5: 0.3 · 0.085/0.1.
    expect(top.scores[98]).toBeCloseTo(0.255, 12)
    expect(top.scores[89]).toBeCloseTo(0, 12)
    roles[99] = ROLE.unlabelled
    roles[0] = ROLE.positive
    expect((await startOf(unusual, { roles })).scores.every(score => score === 0)).toBe(true)
    const same = await startOf(new Float64Array(100), { roles })
    expect(same.gain).toBe(0)
  })
})

describe('many rows', () => {
  it('let the event loop run while their roles are looked at', { retry: 2 }, async () => {
    const rows = 20_000_000
    const positives = new Uint8Array(rows)
    positives[3] = 1
    const weights = new Float32Array(rows).fill(1)
    // Nothing but the number of rows is asked of the matrix.
    const problem = { matrix: { rows } as BinnedMatrix, positives, weights }
    const { longest } = await watchTurns(() => setsOf('test', problem))
    expect(longest).toBeLessThan(25)
    await expect(setsOf('test', problem, AbortSignal.abort(new Error('enough')))).rejects.toThrow('enough')
  })
})
