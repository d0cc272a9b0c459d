import { describe, expect, it, vi } from 'vitest'
import { Encoder, type FineTuned, type FinetuneOptions, finetuneEncoded } from '../../../lib/index.js'
import { binding } from '../../../lib/native.js'
import { accuracy, auc } from '../../../lib/report/metrics.js'
import { defaultValidation } from '../../../lib/transfer/finetune/options.js'
import { depthOf } from '../../../lib/transfer/finetune/rates.js'
import { expectSameBits } from '../../support/close.js'
import { openDevice } from '../../support/devices.js'
import { plantedEvents } from '../../support/planted.js'

const config = { width: 16, blocks: 2, heads: 2, attentionSize: 8 }
const { encoded, encoding, labels } = await plantedEvents(240)
const device = openDevice()
const untrained = new Encoder(encoding, config, { device, seed: 5 })
const small = { init: untrained, epochs: 3, batchSize: 16, seed: 1, validation: 0 }

/** Labels of the first `count` users, NaN behind them. */
function first(values: Float64Array, count: number): Float64Array {
  return values.map((value, row) => (row < count ? value : Number.NaN))
}
const tests = Int32Array.from({ length: 120 }, (_, i) => 120 + i)
const truth = (values: Float64Array) => Float64Array.from(tests, row => values[row])

async function encoderWeights(encoder: Encoder): Promise<Float32Array> {
  const all = await Promise.all(encoder.parameters.map(({ value }) => value.read()))
  return Float32Array.from(all.flatMap(values => [...values]))
}

async function allWeights(model: FineTuned): Promise<Float32Array> {
  const head = [...(await model.readHead()).values()].flatMap(({ values }) => [...values])
  return Float32Array.from([...(await encoderWeights(model.encoder)), ...head])
}

async function run(targets: Float64Array, options: Partial<FinetuneOptions> = {}): Promise<FineTuned> {
  return finetuneEncoded(encoded, targets, { ...small, ...options })
}

describe('fine-tuning', () => {
  it('keeps rows out in turn where that is affordable, else once', () => {
    expect(defaultValidation(9999, 1_000_000)).toBe('cross')
    expect(defaultValidation(5113, 2_200_000)).toBe(0.15)
    expect(defaultValidation(20_000, 40_000)).toBe(0.15)
    expect(defaultValidation(100_000, 200_000)).toBe(0.1)
  })

  it('improves on the head alone where the encoder does not know the label', async () => {
    const targets = first(labels.order, 120)
    const head = await run(targets, { epochs: 0 })
    const tuned = await run(targets, { epochs: 30, learningRate: 0.003 })
    const alone = auc(await head.scoreEncoded(encoded, tests), truth(labels.order))
    const all = auc(await tuned.scoreEncoded(encoded, tests), truth(labels.order))
    expect(alone).toBeLessThan(0.9)
    expect(all).toBeGreaterThan(alone + 0.05)
  })

  it('leaves the encoder as it is while the head is fitted, and never changes the one it started from', async () => {
    const before = await encoderWeights(untrained)
    const head = await run(first(labels.kind, 120), { epochs: 0 })
    expectSameBits(await encoderWeights(head.encoder), before)
    const scores = await head.scoreEncoded(encoded, tests)
    expect(scores.length).toBe(3 * tests.length)
    const tuned = await run(first(labels.kind, 120))
    expect(await encoderWeights(tuned.encoder)).not.toEqual(before)
    expectSameBits(await encoderWeights(untrained), before)
  })

  it('learns deeper layers slower, each by its share', async () => {
    const before = new Map<string, Float32Array>()
    for (const { name, value } of untrained.parameters) before.set(name, await value.read())
    // One step of Adam moves every weight that has a gradient by the learning rate, whatever the gradient.
    const options = { epochs: 1, batchSize: 240, batchEvents: 1e6, warmup: 0, weightDecay: 0, layerDecay: 0.5 }
    const model = await run(labels.order, { ...options, learningRate: 0.001 })
    const steps = new Map<number, number>()
    for (const { name, value } of model.encoder.parameters) {
      const depth = depthOf(name, config.blocks)
      const after = await value.read()
      const old = before.get(name)!
      const moved = after.reduce((most, one, i) => Math.max(most, Math.abs(one - old[i])), 0)
      steps.set(depth, Math.max(moved, steps.get(depth) ?? 0))
    }
    // Half way through the only epoch the cosine stands at a half.
    for (const [depth, moved] of steps) expect(moved / (0.0005 * 0.5 ** depth)).toBeCloseTo(1, 2)
    expect([...steps.keys()].sort()).toEqual([0, 1, 2])
  })

  it('stops early and restores the best weights', async () => {
    const validation = Int32Array.from({ length: 60 }, (_, i) => 120 + i)
    // Labels at random: whatever is learnt of them makes the rows kept out worse.
    const random = labels.order.map((_, row) => (row < 180 ? ((row * 7919) % 31) % 2 : Number.NaN))
    const options = { epochs: 40, validation, patience: 3, learningRate: 0.01, stopOn: 'loss' as const }
    const model = await run(random, options)
    const { best, log } = model
    const losses = log.map(row => row.validation!.loss)
    expect(best!.quality.loss).toBe(Math.min(...losses))
    expect(log.length).toBeLessThan(41)
    expect(log.at(-1)!.epoch - best!.epochs).toBe(3)
    const scores = await model.scoreEncoded(encoded, validation)
    const loss = validation.reduce((sum, row, i) => {
      const chance = random[row] === 1 ? scores[i] : 1 - scores[i]
      return sum - Math.log(chance)
    }, 0)
    expect(loss / validation.length).toBe(best!.quality.loss)
  })

  it('puts the threshold where class weights say', async () => {
    // A tenth of the labels is 1, at random: nothing but their share can be learnt.
    const rare = Float64Array.from(labels.ids, (_, row) => Number(row % 10 === 0))
    const mean = async (classWeights: FinetuneOptions['classWeights'], warmHead: boolean) => {
      const model = await run(rare, { classWeights, warmHead, epochs: 2 })
      const scores = await model.scoreEncoded(encoded)
      return scores.reduce((sum, score) => sum + score, 0) / scores.length
    }
    for (const warmHead of [true, false]) {
      expect(await mean('none', warmHead)).toBeCloseTo(0.1, 1)
      expect(await mean('balanced', warmHead)).toBeCloseTo(0.5, 1)
      expect(await mean([1, 3], warmHead)).toBeCloseTo(0.25, 1)
    }
  })

  it('lets classes count alike that most batches have none of', async () => {
    // Six of 240, in batches of 8; at random, so that half is the best score there is. Weights that count within a batch alone end
    // at the share that ones have.
    const rare = Float64Array.from(labels.ids, (_, row) => Number(row % 40 === 0))
    for (const warmHead of [true, false]) {
      const model = await run(rare, { classWeights: 'balanced', warmHead, epochs: 6, batchSize: 8 })
      const scores = await model.scoreEncoded(encoded)
      const mean = scores.reduce((sum, score) => sum + score, 0) / scores.length
      // Six cases are a rough guide.
      expect(Math.abs(mean - 0.5)).toBeLessThan(0.2)
    }
  })

  it('tells more than two classes apart', async () => {
    const model = await run(first(labels.kind, 120), { epochs: 10, learningRate: 0.002 })
    expect(model.classes).toEqual([0, 1, 2])
    expect(model.scoreNames).toEqual(['score_0', 'score_1', 'score_2'])
    const scores = await model.scoreEncoded(encoded, tests)
    const guesses = tests.map((_, i) => {
      const own = scores.subarray(3 * i, 3 * i + 3)
      expect(own[0] + own[1] + own[2]).toBeCloseTo(1, 12)
      return own.indexOf(Math.max(...own))
    })
    // A third by chance; the standard error of 120 is 0.03.
    expect(accuracy(guesses, truth(labels.kind))).toBeGreaterThan(0.8)
  })

  it('regresses a number, in its own units', async () => {
    const model = await run(first(labels.size, 160), { epochs: 10, validation: 0.25, learningRate: 0.002 })
    expect(model.task).toBe('regression')
    const { score, rmse, metric } = model.best!.quality
    expect(metric).toBe('r2')
    const values = await model.scoreEncoded(encoded, tests)
    const wanted = truth(labels.size)
    const squares = values.reduce((sum, value, i) => sum + (value - wanted[i]) ** 2, 0)
    // Amounts tell a size of deviation 20 within 20 / 3 / √events.
    expect(Math.sqrt(squares / tests.length)).toBeLessThan(8)
    expect(score).toBeGreaterThan(0.8)
    expect(rmse).toBeLessThan(9)
  })

  it('ends in the same bits for 1 and 2 threads', async () => {
    const bits = []
    for (const threads of [1, 2]) {
      const own = openDevice({ threads })
      const options = { device: own, dropout: 0.2, encoderDropout: 0.2, validation: 0.2 }
      bits.push(await allWeights(await run(first(labels.order, 150), options)))
    }
    expectSameBits(bits[1], bits[0])
  })

  it('scores a sequence alike alone and among others, and as rows and as a whole', async () => {
    const model = await run(labels.order)
    const all = await model.scoreEncoded(encoded)
    const rows = Int32Array.of(200, 3, 77)
    const some = await model.scoreEncoded(encoded, rows, { batchEvents: 7 })
    expect([...some]).toEqual([...rows].map(row => all[row]))
    const { vectors, ids, width } = await model.encodeEncoded(encoded, rows)
    expect([ids, width]).toEqual([[...rows].map(row => `user ${row}`), model.encoder.width])
    const whole = await model.encoder.encodeBlock(encoded)
    expectSameBits(vectors.subarray(width, 2 * width), whole.vectors.subarray(3 * width, 4 * width))
  })

  it.each([
    [32, 128],
    [128, 512],
  ])('has from scratch, at width %i, a sketch of %i columns, as any new encoder', async (width, sketch) => {
    const model = await run(labels.order, { init: { encoding, config: { width, blocks: 0 } }, device, epochs: 0 })
    expect(model.encoder.config.sketch).toBe(sketch)
    expect(model.encoder.config).toEqual(new Encoder(encoding, { width, blocks: 0 }, { device }).config)
  })

  it('opens no device for sizes that cannot be', async () => {
    const opened = vi.spyOn(binding, 'stream_open')
    const wrong = { encoding, config: { kernel: 4 } }
    await expect(run(labels.order, { init: wrong, epochs: 0 })).rejects.toThrow(/kernel to be odd/)
    expect(opened).not.toHaveBeenCalled()
    opened.mockRestore()
  })

  it('learns from few labels of a class, with as many classes as there are', async () => {
    const few = first(labels.order, 0)
    for (const row of [0, 1, 2, 3]) few[row] = row % 2
    const model = await run(few)
    expect(model.classes).toEqual([0, 1])
    expect((await model.scoreEncoded(encoded)).every(score => score > 0 && score < 1)).toBe(true)
  })
})
