import { describe, expect, it } from 'vitest'
import { toLightgbm } from '../../lib/export/lightgbm.js'
import { BinnedMatrix } from '../../lib/runtime/binned_matrix.js'
import { type GbrtOptions, GbrtTrainer, type ValidationRows } from '../../lib/trees/gbrt.js'
import { openDevice } from '../support/devices.js'
import { smallTable } from '../support/tables.js'

const TRAIN = 5000
const HELD = 4500
const ROWS = TRAIN + HELD
const { columns: numbers, labels } = smallTable(ROWS, 18)
const codes = Float32Array.from({ length: ROWS }, (_, r) => (r * 7) % 13)
const columns = [...numbers, codes]
const weights = Float32Array.from({ length: ROWS }, (_, r) => (r * 5) % 4)
const halves = <T extends Float32Array>(all: T) => [all.subarray(0, TRAIN), all.subarray(TRAIN)] as const

const TARGETS = {
  squared: numbers[0].map((value, r) => value + labels[r]),
  logistic: labels.map((label, r) => (codes[r] % 3 === 0 ? 1 - label : label)),
  softmax: labels.map((label, r) => label + Number(numbers[0][r] > 1)),
}
type Name = keyof typeof TARGETS
const SETTINGS: Record<Name, GbrtOptions> = {
  squared: { objective: 'squared' },
  logistic: { objective: 'logistic', baggingFraction: 0.6, baggingFreq: 2 },
  softmax: { objective: 'softmax', numClass: 3 },
}

const device = openDevice()
const trainColumns = columns.map(column => halves(column)[0])
const heldColumns = columns.map(column => halves(column)[1])
const binned = () => BinnedMatrix.from(device, { columns: trainColumns }, { categorical: [18] })

describe('validation rows of another matrix', () => {
  it.each(Object.keys(SETTINGS) as Name[])('stop a fit as rows of the same matrix do: %s', async name => {
    const options = {
      numIterations: 150,
      learningRate: 0.3,
      earlyStoppingRound: 4,
      minDataPerGroup: 5,
      ...SETTINGS[name],
    }
    const matrix = await binned()
    const held = await matrix.like({ columns: heldColumns })
    const [targets, heldTargets] = halves(TARGETS[name])
    const [own, heldWeights] = halves(weights)
    const validation = { matrix: held, targets: heldTargets, weights: heldWeights }
    const trainer = new GbrtTrainer(matrix, options)
    const apart = await trainer.fit({ targets, weights: own, validation })

    // All rows in one matrix with the same bins; the last ones validate.
    const whole = await matrix.like({ columns })
    const flags = Uint8Array.from({ length: ROWS }, (_, r) => Number(r >= TRAIN))
    const within = await new GbrtTrainer(whole, options).fit({ targets: TARGETS[name], weights, validation: flags })
    expect(toLightgbm(apart.model)).toBe(toLightgbm(within.model))
    expect([apart.rounds, apart.losses.length]).toEqual([within.rounds, within.losses.length])
    expect(apart.losses.length).toBe(apart.rounds + 4)
    // Blocks of rows begin elsewhere, so that the sums are rounded otherwise.
    for (const [i, loss] of apart.losses.entries()) expect(Math.abs(loss / within.losses[i] - 1)).toBeLessThan(1e-12)
    // Scores are those of the best round.
    const raw = await apart.model.predictBinned(matrix, { raw: true })
    const scores = await trainer.scores()
    const classes = options.numClass ?? 1
    for (let i = 0; i < raw.length; i++) expect(scores[(i % classes) * TRAIN + Math.floor(i / classes)]).toBe(raw[i])

    // A fit without them is the same as ever, and needs no memory of its own the second time.
    await trainer.fit({ targets, weights: own, validation })
    const { liveBytes } = device.info()
    const again = await trainer.fit({ targets, weights: own, validation })
    expect(again.losses).toEqual(apart.losses)
    expect(device.info().liveBytes).toBeLessThanOrEqual(liveBytes)
    const plain = await trainer.fit({ targets, weights: own, numIterations: apart.rounds })
    expect(plain.losses.length).toBe(0)
    expect(toLightgbm(plain.model)).toBe(toLightgbm(apart.model))
  })

  it('give the same losses for any number of threads', async () => {
    const losses = async (threads: number) => {
      const own = openDevice({ threads })
      const matrix = await BinnedMatrix.from(own, { columns: trainColumns }, { categorical: [18] })
      const validation = { matrix: await matrix.like({ columns: heldColumns }), targets: halves(labels)[1] }
      const trainer = new GbrtTrainer(matrix, { numIterations: 10 })
      return (await trainer.fit({ targets: halves(labels)[0], validation })).losses
    }
    expect(await losses(3)).toEqual(await losses(1))
  })

  it('start from a model, or from scores of their own', async () => {
    const matrix = await binned()
    const held = await matrix.like({ columns: heldColumns })
    const [targets, heldTargets] = halves(labels)
    const trainer = new GbrtTrainer(matrix, { numIterations: 8 })
    const validation = { matrix: held, targets: heldTargets }
    const whole = await trainer.fit({ targets, validation })
    const first = await trainer.fit({ targets, validation, numIterations: 5 })
    const rest = await trainer.fit({ targets, validation, numIterations: 3, from: first.model })
    expect([...first.losses, ...rest.losses]).toEqual([...whole.losses])
    const raw = (rows: BinnedMatrix) => first.model.predictBinned(rows, { raw: true })
    const given = await trainer.fit({
      targets,
      scores: await raw(matrix),
      validation: { ...validation, scores: await raw(held) },
      numIterations: 3,
    })
    expect(given.losses).toEqual(rest.losses)
  })

  it('are refused where they do not fit', async () => {
    const matrix = await binned()
    const held = await matrix.like({ columns: heldColumns })
    const [targets, heldTargets] = halves(labels)
    const right: ValidationRows = { matrix: held, targets: heldTargets }
    const trainer = new GbrtTrainer(matrix, { numIterations: 2 })
    const refuse = async (validation: unknown, error: RegExp, more: object = {}) =>
      expect(trainer.fit({ targets, validation: validation as ValidationRows, ...more })).rejects.toThrow(error)
    await refuse({ ...right, targets: targets }, /4500 validation targets but received 5000/)
    await refuse({ ...right, weights: new Float32Array(3) }, /4500 validation weights but received 3/)
    await refuse({ ...right, weights: new Float32Array(HELD) }, /validation row with a weight above 0/)
    await refuse({ ...right, weights: new Float32Array(HELD).fill(-1) }, /weights to be finite and at least 0/)
    await refuse({ ...right, targets: heldTargets.map(label => label * 2) }, /targets in \[0, 1\]/)
    await refuse({ ...right, scores: new Float64Array(HELD) }, /scores of training and of validation rows/)
    await refuse({ ...right, scores: new Float64Array(2) }, /validation scores/, { scores: new Float64Array(TRAIN) })
    await refuse({ ...right, mask: targets }, /expected known options but received 'mask'/)
    await refuse({ ...right, matrix: columns }, /validation.matrix to be a BinnedMatrix/)
    await refuse({ ...right, matrix: await BinnedMatrix.from(device, { columns: heldColumns }) }, /the trainer's bins/)
    const narrow = await BinnedMatrix.from(device, { columns: heldColumns.slice(1) })
    await refuse({ ...right, matrix: narrow }, /the trainer's bins/)
    const elsewhere = await BinnedMatrix.from(openDevice(), { columns: trainColumns }, { categorical: [18] })
    await refuse({ matrix: elsewhere, targets }, /of the trainer's device/)
    const freed = await matrix.like({ columns: heldColumns })
    freed.dispose()
    await refuse({ ...right, matrix: freed }, /freed/)
    const custom = new GbrtTrainer(matrix, { objective: 'custom', numIterations: 1 })
    const fit = custom.fit({ custom: (_, __, hessians) => void hessians.fill(1), validation: right })
    await expect(fit).rejects.toThrow(/an objective with a loss/)
    // Equal bins are the same bins: a matrix made twice, or saved and read.
    const twin = await BinnedMatrix.from(device, { columns: trainColumns }, { categorical: [18] })
    expect((await trainer.fit({ targets, validation: { matrix: twin, targets } })).losses.length).toBe(2)
    expect((await trainer.fit({ targets, validation: right })).losses.length).toBe(2)
  })
})
