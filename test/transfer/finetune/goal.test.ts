import { describe, expect, it } from 'vitest'
import { bestOf } from '../../../lib/transfer/finetune/cross.js'
import { classWeightsOf, deviceTargets, finishScores, goalOf, qualityOf } from '../../../lib/transfer/finetune/goal.js'
import { isBetter } from '../../../lib/transfer/finetune/log.js'
import type { FinetuneOptions } from '../../../lib/transfer/finetune/options.js'
import { scheduleAt } from '../../../lib/transfer/finetune/options.js'
import { Pace } from '../../../lib/util/pace.js'

const pace = new Pace()
const given = (options: Partial<FinetuneOptions> = {}) => options as FinetuneOptions

function goal(values: readonly number[], options: Partial<FinetuneOptions> = {}) {
  const targets = Float64Array.from(values)
  const rows = Int32Array.from(targets.keys()).filter(row => !Number.isNaN(targets[row]))
  return goalOf(targets, rows, given(options), [])
}

describe('the goal of fine-tuning', () => {
  it('is classes for few different whole numbers, else a number', () => {
    expect(goal([3, 1, Number.NaN, 1, 3])).toEqual({ task: 'classification', classes: [1, 3], mean: 0, deviation: 1 })
    expect(goal([0.5, 1, 1, 0.5]).task).toBe('regression')
    expect(goal(Array.from({ length: 50 }, (_, i) => i % 25)).task).toBe('regression')
    expect(goal([1, 1, 3, 3], { task: 'regression' })).toEqual({
      task: 'regression',
      classes: [],
      mean: 2,
      deviation: 1,
    })
    expect(goal([0.5, 1, 1, 0.5], { task: 'classification' }).classes).toEqual([0.5, 1])
  })

  it('turns labels into what is learnt, and outputs back into scores', async () => {
    const two = goal([7, -2, 7, -2])
    expect([...deviceTargets(two, Float64Array.of(7, Number.NaN, -2))]).toEqual([1, -1, 0])
    const scores = await finishScores(two, Float32Array.of(0, 0, 1, 3), pace)
    expect([...scores]).toEqual([0.5, 1 / (1 + Math.exp(-2))])
    const three = goal([0, 1, 2, 0, 1, 2])
    const all = await finishScores(three, Float32Array.of(1000, 1000, 1000), pace)
    expect([...all]).toEqual([1 / 3, 1 / 3, 1 / 3])
    const number = goal([10, 30], { task: 'regression' })
    expect([...deviceTargets(number, Float64Array.of(10, 40))]).toEqual([-1, 2])
    expect([...(await finishScores(number, Float32Array.of(-1, 2), pace))]).toEqual([10, 40])
  })

  it('weighs classes so that all count alike', () => {
    const labels = [0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1]
    const two = goal(labels)
    const learnt = Float64Array.from(labels)
    const rows = Int32Array.from(labels.keys())
    const balanced = classWeightsOf(two, learnt, rows, given({ classWeights: 'balanced' }))!
    expect(3 * balanced[0]).toBe(9 * balanced[1])
    expect(3 * balanced[0] + 9 * balanced[1]).toBe(12)
    // Those that are given keep their ratio, and have mean 1 over the rows too.
    const own = classWeightsOf(two, learnt, rows, given({ classWeights: [6, 2] }))!
    expect(own[0]).toBe(3 * own[1])
    expect(3 * own[0] + 9 * own[1]).toBe(12)
    expect(classWeightsOf(two, learnt, rows, given())).toBeNull()
  })

  it('judges scores by AUC, macro AUC or R²', async () => {
    const two = await qualityOf(goal([0, 0, 1, 1]), Float64Array.of(0.1, 0.6, 0.4, 0.9), Float64Array.of(0, 0, 1, 1))
    expect(two).toMatchObject({ metric: 'auc', score: 0.75 })
    // Logarithms are added in the order of the rows: to the same bits.
    expect(two.loss).toBe(-(Math.log(0.9) + Math.log(0.4) + Math.log(0.4) + Math.log(0.9)) / 4)
    const three = goal([0, 1, 2, 0, 1, 2])
    const right = Float64Array.of(0.8, 0.1, 0.1, 0.2, 0.7, 0.1, 0.5, 0.1, 0.4)
    const many = await qualityOf(three, right, Float64Array.of(0, 1, 2))
    expect(many).toMatchObject({ metric: 'macroAuc', score: 1, accuracy: 2 / 3 })
    expect(many.loss).toBe(-(Math.log(0.8) + Math.log(0.7) + Math.log(0.4)) / 3)
    // A probability of 0 for what is true costs as much as one of 1e-15.
    const wrong = await qualityOf(goal([0, 0, 1, 1]), Float64Array.of(0, 1), Float64Array.of(1, 0))
    expect(wrong.loss).toBe(-Math.log(1e-15))
    const number = goal([10, 30], { task: 'regression' })
    const found = await qualityOf(number, Float64Array.of(12, 28), Float64Array.of(10, 30))
    expect(found).toEqual({ metric: 'r2', score: 1 - 8 / 200, loss: 4 / 100 / 2, rmse: 2 })
  })
})

describe('the best of several qualities', () => {
  const quality = (loss: number, score: number) => ({ metric: 'auc', loss, score }) as const

  it('is what serves the parts best, in proportion to their rows', () => {
    const curves = [
      { rows: 10, qualities: [quality(0.5, 0.6), quality(0.4, 0.7), quality(0.3, 0.8)] },
      // Stopped early: stays at what it had when it stopped.
      { rows: 30, qualities: [quality(0.5, 0.9), quality(0.45, 0.8)] },
    ]
    const byLoss = bestOf(curves, 'loss')
    expect(byLoss.index).toBe(2)
    expect(byLoss.quality.loss).toBe((10 / 40) * 0.3 + (30 / 40) * 0.45)
    expect(bestOf(curves, 'score').index).toBe(0)
  })

  it('lets the loss decide between equal scores', () => {
    const best = { epochs: 1, quality: quality(0.5, 0.8) }
    expect(isBetter(quality(0.4, 0.8), best, 'score')).toBe(true)
    expect(isBetter(quality(0.6, 0.8), best, 'score')).toBe(false)
    expect(isBetter(quality(0.6, 0.9), best, 'score')).toBe(true)
    expect(isBetter(quality(0.6, 0.9), best, 'loss')).toBe(false)
  })
})

it('learning rates rise, then fall to zero', () => {
  // The cosine of a half turn's half is not 0 to the last bit.
  const rates = [0, 0.05, 0.1, 0.55, 1].map(done => scheduleAt(done, 0.1))
  expect(rates).toEqual([0, 0.5, 1, 0.5, 0].map(rate => expect.closeTo(rate, 12)))
  expect(scheduleAt(0.5, 0)).toBeCloseTo(0.5, 12)
})
