// Trees on a card are the CPU's, byte for byte: the model's file, scores, losses and predictions.

import { describe, expect, it } from 'vitest'
import { toLightgbm } from '../../lib/export/lightgbm.js'
import { BinnedMatrix, type BinnedMatrixOptions } from '../../lib/runtime/binned_matrix.js'
import { cudaStatus, type Device } from '../../lib/runtime/device.js'
import { type FitInput, type GbrtOptions, GbrtTrainer } from '../../lib/trees/gbrt.js'
import { RandomForestTrainer } from '../../lib/trees/random_forest.js'
import { openDevice } from '../support/devices.js'
import { TestRandom } from '../support/random.js'
import { smallTable } from '../support/tables.js'

const { devices, missing } = cudaStatus()
const reason = devices.length > 0 ? '' : ` (skipped: ${missing})`

const ROWS = 9001
const { columns: plain, labels } = smallTable(ROWS)
const random = new TestRandom(4)
const columns = [
  ...plain,
  Float32Array.from(plain[0], value => (random.next() < 0.2 ? Number.NaN : value)),
  Int32Array.from(plain[3], value => Math.round(Math.abs(value) * 9)),
  Int32Array.from(plain[4], value => (value > 0 ? 1 : 0)),
  Float64Array.from(plain[1], (value, r) => (r % 97 === 0 ? Number.POSITIVE_INFINITY : value * 1e10)),
]
const binning: BinnedMatrixOptions = { categorical: [6, 7] }
const soft = Float32Array.from(labels, (label, r) => Math.min(1, Math.max(0, 0.8 * label + 0.1 * plain[3][r])))
const numbers = Float32Array.from(plain[0], (value, r) => 100 * value + 20 * plain[2][r])
const classes = Float32Array.from(labels, (label, r) => label + (plain[4][r] > 0.5 ? 1 : 0))
const whole = Float32Array.from(labels, (_, r) => (r === 17 ? 700 : random.integer(0, 3)))
const real = Float32Array.from(labels, () => random.next() * 3)
const heavy = Float32Array.from(labels, (_, r) => (r % 50 === 0 ? 8000 : 1))
const mask = Uint8Array.from(labels, () => random.integer(0, 1))
const validation = Uint8Array.from(labels, (_, r) => (r % 5 === 0 ? 1 : 0))

interface Problem {
  readonly options?: GbrtOptions
  readonly input: FitInput
}

const problems: Record<string, Problem> = {
  logistic: { input: { targets: labels } },
  'soft targets': { input: { targets: soft } },
  squared: { options: { objective: 'squared' }, input: { targets: numbers } },
  softmax: { options: { objective: 'softmax', numClass: 3 }, input: { targets: classes } },
  'whole weights': { input: { targets: labels, weights: whole } },
  'whole weights, squared': { options: { objective: 'squared' }, input: { targets: numbers, weights: whole } },
  'real weights': { options: { objective: 'squared' }, input: { targets: numbers, weights: real } },
  'heavy weights': { input: { targets: labels, weights: heavy } },
  'a mask': { options: { objective: 'squared' }, input: { targets: numbers, mask } },
  'a mask and weights': { input: { targets: labels, mask, weights: whole } },
  'monotone columns': { options: { monotoneConstraints: [1, -1, 0, 1, 0, 1, 0, 0, -1] }, input: { targets: labels } },
  'a largest step': { options: { maxDeltaStep: 0.7 }, input: { targets: labels } },
  bags: {
    options: { baggingFraction: 0.6, baggingFreq: 2, featureFraction: 0.5, objective: 'squared' },
    input: { targets: numbers },
  },
  'bags of weighted rows': {
    options: { baggingFraction: 0.4, baggingFreq: 1 },
    input: { targets: labels, weights: whole },
  },
  'features by node': { options: { featureFractionBynode: 0.5 }, input: { targets: labels } },
  'L1, L2 and depth': {
    options: { lambdaL1: 3, lambdaL2: 2, maxDepth: 3, minGainToSplit: 0.5 },
    input: { targets: labels },
  },
  'many leaves': { options: { numLeaves: 150, minDataInLeaf: 1, numIterations: 3 }, input: { targets: labels } },
  'more leaves than splits': {
    options: { numLeaves: 500, minDataInLeaf: 100, numIterations: 3 },
    input: { targets: labels },
  },
  'few categories, one against the rest': { options: { maxCatToOnehot: 40 }, input: { targets: labels } },
  'nothing to learn': { input: { targets: new Float32Array(ROWS) } },
  'early stopping': {
    options: { earlyStoppingRound: 3, learningRate: 0.5, numIterations: 40 },
    input: { targets: labels, validation },
  },
  'early stopping, softmax': {
    options: { objective: 'softmax', numClass: 3, earlyStoppingRound: 2, learningRate: 0.6, numIterations: 30 },
    input: { targets: classes, validation, weights: real },
  },
  'scores to start from': {
    options: { objective: 'squared' },
    input: { targets: numbers, scores: Float64Array.from(numbers, value => value / 2) },
  },
}

async function fitted(device: Device, { options, input }: Problem) {
  const matrix = await BinnedMatrix.from(device, { columns }, binning)
  const trainer = new GbrtTrainer(matrix, { numIterations: 8, numLeaves: 15, ...options })
  const { model, losses, rounds } = await trainer.fit(input)
  const scores = await trainer.scores()
  const other = await trainer.fit({ ...input, targets: input.targets?.map(target => 1 - (target % 2)) })
  const again = await trainer.fit(input)
  const predicted = await model.predict(device, { columns })
  const binned = await model.predictBinned(matrix)
  trainer.dispose()
  matrix.dispose()
  const text = toLightgbm(model)
  expect(toLightgbm(again.model)).toBe(text)
  return { text, refit: toLightgbm(other.model), losses, rounds, scores, predicted, binned }
}

// What runs there needs one; the name says why there is none.
describe.skipIf(devices.length === 0)(`trees on a card${reason}`, () => {
  it.each(Object.entries(problems))("fit the CPU's model: %s", async (name, problem) => {
    const want = await fitted(openDevice(), problem)
    const got = await fitted(openDevice({ kind: 'cuda' }), problem)
    if (name !== 'nothing to learn') expect(want.text.match(/num_leaves=(?!1\n)/g)?.length).toBeGreaterThan(2)
    expect(got.text).toBe(want.text)
    expect(got).toEqual(want)
  })

  it('go on from a model, watch rows of another matrix, and take gradients of the caller', async () => {
    const run = async (device: Device) => {
      const matrix = await BinnedMatrix.from(device, { columns }, binning)
      const rows = await matrix.like({ columns: columns.map(column => column.subarray(0, 3000)) })
      const trainer = new GbrtTrainer(matrix, { numIterations: 5, earlyStoppingRound: 3, learningRate: 0.4 })
      const watched = { matrix: rows, targets: soft.subarray(0, 3000), weights: real.subarray(0, 3000) }
      const first = await trainer.fit({ targets: labels, validation: watched })
      const second = await trainer.fit({ targets: labels, validation: watched, from: first.model, numIterations: 20 })
      const own = new GbrtTrainer(matrix, {
        objective: 'custom',
        numIterations: 4,
        baggingFraction: 0.7,
        baggingFreq: 1,
      })
      const custom = await own.fit({
        mask,
        custom: (scores, gradients, hessians) => {
          for (let r = 0; r < ROWS; r++) {
            gradients[r] = Math.tanh(scores[r] - numbers[r])
            hessians[r] = 0.5 + (r % 3)
          }
        },
      })
      const texts = [first.model, second.model, custom.model].map(toLightgbm)
      return { texts, losses: [first.losses, second.losses], rounds: second.rounds }
    }
    const want = await run(openDevice())
    expect(want.rounds).toBeGreaterThan(0)
    expect(await run(openDevice({ kind: 'cuda' }))).toEqual(want)
  })

  it.each([1, 3])('grow the same random forest of %i classes', async numClass => {
    const run = async (device: Device) => {
      const matrix = await BinnedMatrix.from(device, { columns }, binning)
      const trainer = new RandomForestTrainer(matrix, { numIterations: 4, numClass, numLeaves: 80 })
      const model = await trainer.fit({ targets: numClass === 1 ? labels : classes, weights: whole })
      return { text: toLightgbm(model), outside: await trainer.outOfBagScores() }
    }
    expect(await run(openDevice({ kind: 'cuda' }))).toEqual(await run(openDevice()))
  })

  it('end at a signal, and work on', async () => {
    const device = openDevice({ kind: 'cuda' })
    const matrix = await BinnedMatrix.from(device, { columns }, binning)
    const trainer = new GbrtTrainer(matrix, { numIterations: 100_000 })
    const controller = new AbortController()
    const fit = trainer.fit({
      targets: labels,
      signal: controller.signal,
      onProgress: () => controller.abort(new Error('stop')),
    })
    await expect(fit).rejects.toThrow('stop')
    const { rounds } = await trainer.fit({ targets: labels, numIterations: 2 })
    expect(rounds).toBe(2)
  })

  it('refuse what the CPU refuses, in its words', async () => {
    const device = openDevice({ kind: 'cuda' })
    const matrix = await BinnedMatrix.from(device, { columns }, binning)
    const fit = (input: FitInput) => new GbrtTrainer(matrix).fit(input)
    await expect(fit({ targets: numbers })).rejects.toThrow(/targets in \[0, 1\]/)
    await expect(fit({ targets: labels, weights: labels.map(() => -1) })).rejects.toThrow(/at least 0 but received/)
    await expect(fit({ targets: labels, mask: new Uint8Array(ROWS) })).rejects.toThrow(/at least one row that trains/)
  })

  it('say how much memory they lack', async () => {
    const device = openDevice({ kind: 'cuda', guard: false, memoryLimit: 1 << 20 })
    const matrix = await BinnedMatrix.from(device, { columns }, binning)
    expect(() => new GbrtTrainer(matrix, { numLeaves: 255 })).toThrow(
      expect.objectContaining({ code: 'OUT_OF_MEMORY', message: expect.stringMatching(/allocate \d+ bytes/) }),
    )
  })
})
