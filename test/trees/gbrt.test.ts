import { describe, expect, it } from 'vitest'
import { fromLightgbm, toLightgbm } from '../../lib/export/lightgbm.js'
import { auc } from '../../lib/report/metrics.js'
import { BinnedMatrix } from '../../lib/runtime/binned_matrix.js'
import type { Device } from '../../lib/runtime/device.js'
import { type FitInput, type GbrtOptions, GbrtTrainer } from '../../lib/trees/gbrt.js'
import type { PredictManyOptions } from '../../lib/trees/model.js'
import { expectClose } from '../support/close.js'
import { everyVariant, everywhere, openDevice } from '../support/devices.js'
import { TestRandom } from '../support/random.js'
import { permutation, smallTable, takeRows } from '../support/tables.js'

type Columns = readonly (Float32Array | Float64Array | Int32Array)[]

async function train(
  device: Device,
  columns: Columns,
  input: FitInput,
  options: GbrtOptions = {},
  categorical: number[] = [],
) {
  const matrix = await BinnedMatrix.from(device, { columns }, { categorical })
  const trainer = new GbrtTrainer(matrix, { numIterations: 12, numLeaves: 15, ...options })
  const fit = await trainer.fit(input)
  const scores = await trainer.scores()
  trainer.dispose()
  matrix.dispose()
  return { ...fit, scores, text: toLightgbm(fit.model) }
}

const kept = (length: number, test: (i: number) => boolean) => Int32Array.from(Array(length).keys()).filter(test)

describe('boosted trees', () => {
  const { columns, labels } = smallTable(6000)
  const soft = Float32Array.from(labels, (label, r) => Math.min(1, Math.max(0, 0.8 * label + 0.1 * columns[3][r])))
  const classes = Float32Array.from(labels, (label, r) => label + (columns[4][r] > 0.5 ? 1 : 0))

  describe('the model is the same', () => {
    const cases: [string, Float32Array, GbrtOptions][] = [
      ['squared', soft, { objective: 'squared' }],
      ['logistic', labels, { objective: 'logistic' }],
      ['soft targets', soft, { objective: 'logistic', baggingFraction: 0.6, baggingFreq: 2, featureFraction: 0.5 }],
      ['softmax', classes, { objective: 'softmax', numClass: 3, numIterations: 5 }],
      ['L1 and L2', labels, { objective: 'logistic', lambdaL1: 3, lambdaL2: 2, maxDepth: 3, minGainToSplit: 0.5 }],
    ]
    const devices = everywhere()

    it.each(cases)('for every variant, number of threads and device: %s', async (_, targets, options) => {
      const texts: string[] = []
      for (const [, device] of devices) texts.push((await train(device, columns, { targets }, options)).text)
      expect(texts.length).toBeGreaterThan(2)
      for (const text of texts) expect(text).toBe(texts[0])
    })

    it.each(cases.filter(([, , options]) => !options.baggingFreq))(
      'for permuted rows: %s',
      async (_, targets, options) => {
        const device = openDevice()
        const order = permutation(6000, 5)
        const straight = await train(device, columns, { targets }, options)
        const mixed = await train(
          device,
          columns.map(column => takeRows(column, order)),
          { targets: takeRows(targets, order) },
          options,
        )
        expect(mixed.text).toBe(straight.text)
      },
    )

    it.each(cases.filter(([, , options]) => !options.baggingFreq))(
      'for k copies and weight k: %s',
      async (_, targets, options) => {
        const device = openDevice()
        const random = new TestRandom(3)
        const weights = Float32Array.from({ length: 6000 }, (_, r) => (r === 17 ? 700 : random.integer(0, 3)))
        const copies: number[] = []
        for (let r = 0; r < 6000; r++) for (let k = 0; k < weights[r]; k++) copies.push(r)
        // The same bins for both: they do not know of weights.
        const matrix = await BinnedMatrix.from(device, { columns })
        const copied = await matrix.like({ columns: columns.map(column => takeRows(column, copies)) })
        const settings = { numIterations: 8, ...options }
        const a = await new GbrtTrainer(matrix, settings).fit({ targets, weights })
        const b = await new GbrtTrainer(copied, settings).fit({ targets: takeRows(targets, copies) })
        expect(toLightgbm(a.model)).toBe(toLightgbm(b.model))
        expect(a.model.trees.numLeaves[0]).toBeGreaterThan(5)
      },
    )
  })

  it.each([
    ['squared', soft],
    ['logistic', labels],
    ['softmax', classes],
  ] as const)('scores after a fit are the predictions: %s', async (objective, targets) => {
    const device = openDevice()
    const numClass = objective === 'softmax' ? 3 : 1
    const { model, scores } = await train(device, columns, { targets }, { objective, numClass })
    const raw = await model.predict(device, { columns }, { raw: true })
    expect(raw.length).toBe(6000 * numClass)
    for (let r = 0; r < 6000; r++) {
      for (let k = 0; k < numClass; k++) {
        if (raw[r * numClass + k] !== scores[k * 6000 + r]) throw new Error(`row ${r}: ${raw[r]} not ${scores[r]}`)
      }
    }
    const row = columns.map(column => column[9])
    expect([...model.predictRow(row, { raw: true })]).toEqual([...raw.subarray(9 * numClass, 10 * numClass)])
    const shares = model.predictRow(row)
    if (objective === 'softmax') expect(shares.reduce((a, b) => a + b)).toBeCloseTo(1, 12)
    if (objective === 'logistic') expect(shares[0]).toBeCloseTo(1 / (1 + Math.exp(-raw[9])), 14)
  })

  const devices = everyVariant()

  it.each([31, 40, 64, 100])('predicts alike by rows and by batches, in every variant: %i leaves', async numLeaves => {
    const device = openDevice()
    const options = { numLeaves, minDataInLeaf: 5, numIterations: 6 }
    const mixed = [...columns, Int32Array.from(columns[3], value => Math.round(Math.abs(value) * 3))]
    const plain = await train(device, columns, { targets: labels }, options)
    const withCategories = await train(device, mixed, { targets: labels }, options, [5])
    for (const [{ model }, table] of [
      [plain, columns],
      [withCategories, mixed],
    ] as const) {
      expect(Math.max(...model.trees.numLeaves)).toBe(numLeaves)
      const rows = [0, 1, 3, 64, 77, 5999]
      const want = Float64Array.from({ length: 6000 }, (_, r) => model.predictRow(table.map(column => column[r]))[0])
      const wide = table.map(column => Float64Array.from(column))
      const flat = Float32Array.from(
        { length: 6000 * table.length },
        (_, i) => table[i % table.length][(i / table.length) | 0],
      )
      for (const [, own] of devices) {
        expect(await model.predict(own, { columns: table })).toEqual(want)
        expect(await model.predict(own, { columns: wide })).toEqual(want)
        expect(await model.predict(own, { values: flat, features: table.length })).toEqual(want)
        for (const count of rows) {
          const few = { columns: table.map(column => column.subarray(0, count)) }
          expect(await model.predict(own, few)).toEqual(want.subarray(0, count))
        }
      }
    }
  })

  it('follows large trees alike with values that training did not see: NaN and infinities', async () => {
    const whole = columns.map(column => column.map(value => (Number.isNaN(value) ? 0.25 : value)))
    const { model } = await train(openDevice(), whole, { targets: labels }, { numLeaves: 200, minDataInLeaf: 5 })
    expect(Math.max(...model.trees.numLeaves)).toBe(200)
    expect(model.trees.decision.every(decision => (decision & 12) === 0)).toBe(true)
    const strange = [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, -0]
    const table = whole.map((column, f) =>
      column.map((value, r) => (r > 999 && (r + f) % 7 === 0 ? strange[r % 4] : value)),
    )
    const want = Float64Array.from({ length: 6000 }, (_, r) => model.predictRow(table.map(column => column[r]))[0])
    const wide = table.map(column => Float64Array.from(column))
    for (const [, own] of devices) {
      expect(await model.predict(own, { columns: table })).toEqual(want)
      expect(await model.predict(own, { columns: wide })).toEqual(want)
    }
  })

  it('predicts from bins what it predicts from values', async () => {
    const device = openDevice()
    const mixed = [...columns, Int32Array.from(columns[3], value => Math.round(Math.abs(value) * 3))]
    const matrix = await BinnedMatrix.from(device, { columns: mixed }, { categorical: [5] })
    const other = smallTable(777, 5, 8).columns
    const unknown = [...other, Int32Array.from(other[3], (_, r) => (r % 40) - 2)]
    const binned = await matrix.like({ columns: unknown })
    for (const numLeaves of [31, 100]) {
      const options = { numLeaves, objective: 'softmax', numClass: 3, numIterations: 4, minDataInLeaf: 5 } as const
      const trainer = new GbrtTrainer(matrix, options)
      const { model } = await trainer.fit({ targets: classes })
      expect(model.trees.decision.includes(1)).toBe(true)
      expect(await model.predictBinned(matrix)).toEqual(await model.predict(device, { columns: mixed }))
      expect(await model.predictBinned(binned)).toEqual(await model.predict(device, { columns: unknown }))
    }
    const { model } = await train(device, other, { targets: smallTable(777, 5, 8).labels })
    await expect(model.predictBinned(matrix)).rejects.toThrow(/expected 5 features/)
    const five = await BinnedMatrix.from(device, { columns })
    await expect(model.predictBinned(five)).rejects.toThrow(/a matrix with bound/)
  })

  it('finds the label, and fits better with more rounds', async () => {
    const device = openDevice()
    const test = smallTable(6000, 5, 2)
    const { model } = await train(device, columns, { targets: labels }, { numIterations: 60 })
    const some = await model.predict(device, { columns: test.columns }, { iterations: 2 })
    const all = await model.predict(device, { columns: test.columns })
    expect(auc(all, test.labels)).toBeGreaterThan(auc(some, test.labels) + 0.01)
    // The label is a noisy threshold on two columns; knowing the score without its noise gives about 0.85.
    expect(auc(all, test.labels)).toBeGreaterThan(0.81)
    const importance = model.importance('gain')
    expect(importance[0] + importance[1]).toBeGreaterThan(importance[2] + importance[3] + importance[4])
  })

  it('a row that does not train changes nothing', async () => {
    const device = openDevice()
    const rows = kept(6000, r => r % 3 !== 0)
    const matrix = await BinnedMatrix.from(device, { columns })
    const part = await matrix.like({ columns: columns.map(column => takeRows(column, rows)) })
    const mask = Uint8Array.from({ length: 6000 }, (_, r) => (r % 3 ? 1 : 0))
    // Targets of rows that do not train may be anything.
    const targets = labels.map((label, r) => (r % 3 ? label : Number.NaN))
    const weights = Float32Array.from(mask)
    const want = toLightgbm((await new GbrtTrainer(part).fit({ targets: takeRows(labels, rows) })).model)
    const trainer = new GbrtTrainer(matrix)
    expect(toLightgbm((await trainer.fit({ targets, mask })).model)).toBe(want)
    // The others have scores all the same.
    const { model } = await trainer.fit({ targets: labels, weights })
    expect(toLightgbm(model)).toBe(want)
    expect(await model.predict(device, { columns }, { raw: true })).toEqual(await trainer.scores())
  })

  it('refits on the same bins as a fresh trainer would, in the same memory', async () => {
    const device = openDevice({ guard: false })
    const matrix = await BinnedMatrix.from(device, { columns })
    const trainer = new GbrtTrainer(matrix, { numIterations: 3 })
    const first = toLightgbm((await trainer.fit({ targets: labels })).model)
    const weights = Float32Array.from(labels, label => 1 + label)
    await trainer.fit({ targets: soft, weights })
    const { liveBytes, peakBytes } = device.info()
    for (let i = 0; i < 20; i++) await trainer.fit({ targets: soft, weights })
    expect(toLightgbm((await trainer.fit({ targets: labels })).model)).toBe(first)
    expect(device.info()).toMatchObject({ liveBytes, peakBytes })
  })

  it('takes no more memory for a thousand refits', { timeout: 60_000 }, async () => {
    const rows = 20_000
    const few = smallTable(rows, 3)
    const device = openDevice({ guard: false })
    const trainer = new GbrtTrainer(await BinnedMatrix.from(device, { columns: few.columns }), { numIterations: 1 })
    const refit = async (times: number) => {
      for (let i = 0; i < times; i++)
        await trainer.fit({ targets: i % 2 ? few.labels : few.labels.map(one => 1 - one) })
      return { ...device.info(), resident: process.memoryUsage().rss }
    }
    const early = await refit(100)
    const late = await refit(900)
    expect(late.peakBytes).toBe(early.peakBytes)
    expect(late.liveBytes).toBe(early.liveBytes)
    // A list of one byte a row that stays would be 18 MB, targets or scores 72 and 144; collections of garbage come late.
    expect(late.resident - early.resident).toBeLessThan(60e6)
  })

  it('learns from numbers near the largest there are, and from infinities beside them', async () => {
    const device = openDevice()
    const huge = Float64Array.from({ length: 200 }, (_, r) => (r === 199 ? Infinity : (r - 80) * 1.4e306))
    const matrix = await BinnedMatrix.from(device, { columns: [huge] }, { minDataInBin: 1 })
    const targets = huge.map((value, r) => (value > 1e308 ? 2 : value > -1e307 ? 1 : 0) + Number(r === 199))
    const options = { objective: 'squared', numIterations: 60, minDataInLeaf: 1 } as const
    const { model } = await new GbrtTrainer(matrix, options).fit({ targets })
    const file = fromLightgbm(toLightgbm(model))
    for (const one of [model, file]) {
      const predicted = await one.predict(device, { columns: [huge] })
      for (let r = 0; r < 200; r++) expect(Math.abs(predicted[r] - targets[r])).toBeLessThan(0.05)
    }
  })

  it('takes no giant steps where nearly all is sure', async () => {
    // Gradients of 7 · 10⁻⁷ round up to one unit and Hessians down to none: one row a side would bear all the others.
    const rows = 20_000
    const column = Float32Array.from({ length: rows }, (_, r) => Number(r % 4 === 0))
    const scores = new Float64Array(rows).fill(-14.2)
    scores[0] = scores[1] = -6.8
    const matrix = await BinnedMatrix.from(openDevice(), { columns: [column] })
    const trainer = new GbrtTrainer(matrix, { numIterations: 1, learningRate: 1, minDataInLeaf: 1 })
    const { model } = await trainer.fit({ targets: new Float32Array(rows), scores })
    // Newton's step for p near 0 is −1; coarse Hessians may halve it.
    expect(model.trees.leafValue.length).toBe(2)
    for (const value of model.trees.leafValue) expect(value > -1.1 && value < -0.4).toBe(true)
  })

  it('takes no step of more than 30 in log-odds', async () => {
    // A row that is 1 among forty that are sure to be 0: Newton's step of their leaf is 360.
    const rows = 20_000
    const column = Float32Array.from({ length: rows }, (_, r) => Number(r < 40))
    const targets = new Float32Array(rows).fill(1, 0, 1)
    const options = { numIterations: 1, learningRate: 1, minDataInLeaf: 1 }
    const matrix = await BinnedMatrix.from(openDevice(), { columns: [column] })
    const fit = (more: GbrtOptions, scores: number, classes = 1) =>
      new GbrtTrainer(matrix, { ...options, ...more }).fit({
        targets,
        scores: new Float64Array(rows * classes).map((_, i) => (i < rows ? scores : -scores)),
      })
    expect(Math.max(...(await fit({}, -9.6)).model.trees.leafValue)).toBe(30)
    const two = (await fit({ objective: 'softmax', numClass: 2 }, 4.8, 2)).model.trees.leafValue
    expect([Math.max(...two), Math.min(...two)]).toEqual([30, -30])
  })

  it('stops early on validation rows, and says their loss', async () => {
    const device = openDevice()
    const validation = Uint8Array.from({ length: 6000 }, (_, r) => (r % 2 ? 1 : 0))
    const options = { numIterations: 400, learningRate: 0.3, earlyStoppingRound: 5 }
    const { model, losses, rounds, scores } = await train(device, columns, { targets: labels, validation }, options)
    expect(losses.length).toBe(rounds + 5)
    expect(Math.min(...losses)).toBe(losses[rounds - 1])
    expect(model.iterations).toBe(rounds)
    let loss = 0
    for (let r = 1; r < 6000; r += 2) loss += Math.log(1 + Math.exp(labels[r] ? -scores[r] : scores[r]))
    expect(losses[rounds - 1]).toBeCloseTo(loss / 3000, 10)
    expect(await model.predict(device, { columns }, { raw: true })).toEqual(scores)
  })

  it('every bag has its own rows of custom gradients, not those of the bag before alone', async () => {
    const matrix = await BinnedMatrix.from(openDevice(), { columns })
    const options = { numIterations: 4, baggingFraction: 0.5, baggingFreq: 1, objective: 'custom' } as const
    const { model } = await new GbrtTrainer(matrix, options).fit({
      custom(scores, gradients, hessians) {
        for (let r = 0; r < scores.length; r++) gradients[r] = scores[r] - soft[r]
        hessians.fill(1)
      },
    })
    const { leafCount, leafWeight, numLeaves } = model.trees
    let leaf = 0
    for (const leaves of numLeaves) {
      let [rows, weight] = [0, 0]
      for (const end = leaf + leaves; leaf < end; leaf++) {
        rows += leafCount[leaf]
        weight += leafWeight[leaf]
      }
      expect(rows).toBeGreaterThan(2800)
      expect(weight).toBe(rows)
    }
    expect(leaf).toBeGreaterThan(40)
  })

  it('custom gradients of the squared loss give the trees of the squared loss', async () => {
    const device = openDevice()
    const matrix = await BinnedMatrix.from(device, { columns })
    const options = { numIterations: 6, boostFromAverage: false }
    const want = await new GbrtTrainer(matrix, { ...options, objective: 'squared' }).fit({ targets: soft })
    const got = await new GbrtTrainer(matrix, { ...options, objective: 'custom' }).fit({
      custom(scores, gradients, hessians) {
        for (let r = 0; r < scores.length; r++) gradients[r] = scores[r] - soft[r]
        hessians.fill(1)
      },
    })
    expect(got.model.trees.splitFeature).toEqual(want.model.trees.splitFeature)
    expect(got.model.trees.threshold).toEqual(want.model.trees.threshold)
    // 20 bits for a gradient instead of 30.
    expectClose(got.model.trees.leafValue, want.model.trees.leafValue, { absolute: 4e-6 })
  })

  it('starts from given scores', async () => {
    const device = openDevice()
    const matrix = await BinnedMatrix.from(device, { columns })
    const trainer = new GbrtTrainer(matrix, { numIterations: 4 })
    const first = await trainer.fit({ targets: labels })
    const more = await trainer.fit({ targets: labels, scores: await trainer.scores() })
    const both = await new GbrtTrainer(matrix, { numIterations: 8 }).fit({ targets: labels })
    const joined = [...first.model.trees.leafValue, ...more.model.trees.leafValue]
    expect(joined).toEqual([...both.model.trees.leafValue])
    const eight = await trainer.fit({ targets: labels, numIterations: 8 })
    expect(toLightgbm(eight.model)).toBe(toLightgbm(both.model))
    await expect(trainer.fit({ targets: labels, numIterations: 1.5 })).rejects.toThrow(/numIterations/)
  })

  it('obeys the limits on leaves', async () => {
    const device = openDevice()
    const options = { objective: 'squared', minDataInLeaf: 150, maxDepth: 4, numLeaves: 16 } as const
    const { model } = await train(device, columns, { targets: soft }, options)
    expect(Math.min(...model.trees.leafCount)).toBeGreaterThanOrEqual(150)
    expect(Math.max(...model.trees.numLeaves)).toBeLessThanOrEqual(16)
    for (let t = 0, node = 0; t < model.trees.numLeaves.length; node += model.trees.numLeaves[t++] - 1) {
      const depth = (n: number): number =>
        n < 0 ? 0 : 1 + Math.max(depth(model.trees.leftChild[node + n]), depth(model.trees.rightChild[node + n]))
      expect(depth(0)).toBeLessThanOrEqual(4)
    }
  })

  it('splits categories by their gradient', async () => {
    const device = openDevice()
    const random = new TestRandom(11)
    const good = new Set([3, 8, 11, 19])
    const codes = Int32Array.from({ length: 4000 }, () => random.integer(0, 20))
    const targets = Float32Array.from(codes, code => (good.has(code) ? 1 : 0))
    const options = { objective: 'squared', numIterations: 1, learningRate: 1, catL2: 0 } as const
    const { model, scores } = await train(device, [codes], { targets }, options, [0])
    expectClose(scores, targets, { absolute: 1e-6 })
    expect(await model.predict(device, { columns: [codes] })).toEqual(scores)
    const first = model.trees.categoryWords[0]
    expect([...good].every(code => (first >>> code) & 1) || [...good].every(code => !((first >>> code) & 1))).toBe(true)
    // Unknown categories and NaN go right.
    const [unknown, missing, negative] = [99, Number.NaN, -3].map(value => model.predictRow([value])[0])
    expect([missing, negative]).toEqual([unknown, unknown])
  })

  it('sends missing values to the better side', async () => {
    const device = openDevice()
    for (const missingIs of [0, 1]) {
      const x = Float32Array.from({ length: 900 }, (_, r) => (r % 3 === 0 ? Number.NaN : r % 2))
      const targets = x.map(value => (Number.isNaN(value) ? missingIs : value))
      const options = { objective: 'squared', numIterations: 1, learningRate: 1 } as const
      const { scores } = await train(device, [x], { targets }, options)
      expectClose(scores, targets, { absolute: 1e-6 })
    }
  })

  it('cancels and trains again', async () => {
    const device = openDevice()
    const matrix = await BinnedMatrix.from(device, { columns })
    const trainer = new GbrtTrainer(matrix, { numIterations: 100_000, minDataInLeaf: 1, numLeaves: 63 })
    const controller = new AbortController()
    const seen: number[] = []
    const running = trainer.fit({
      targets: labels,
      signal: controller.signal,
      onProgress: ({ done }) => {
        seen.push(done)
        if (done > 3) controller.abort()
      },
    })
    await expect(trainer.fit({ targets: labels })).rejects.toThrow(/one fit at a time/)
    await expect(running).rejects.toThrow(/abort/)
    expect(seen.at(-1)).toBeLessThan(100_000)
    const options = { numIterations: 3 }
    const again = new GbrtTrainer(matrix, options)
    device.cancel()
    const fit = await again.fit({ targets: labels })
    expect(toLightgbm(fit.model)).toBe(
      toLightgbm((await new GbrtTrainer(matrix, options).fit({ targets: labels })).model),
    )
  })

  it('rejects with what a callback of progress throws, and trains again', async () => {
    const device = openDevice()
    const matrix = await BinnedMatrix.from(device, { columns })
    const trainer = new GbrtTrainer(matrix, { numIterations: 100_000, minDataInLeaf: 1, numLeaves: 63 })
    let calls = 0
    const onProgress = () => {
      calls++
      throw new Error('a slip of the caller')
    }
    await expect(trainer.fit({ targets: labels, onProgress })).rejects.toThrow('a slip of the caller')
    expect(calls).toBe(1)
    const small = new GbrtTrainer(matrix, { numIterations: 1 })
    await expect(small.fit({ targets: labels, onProgress })).rejects.toThrow('a slip of the caller')
    await small.fit({ targets: labels })
  })

  describe('predictions of many rows', () => {
    const times = 50
    const many = columns.map(column => {
      const long = new Float32Array(column.length * times)
      for (let i = 0; i < times; i++) long.set(column, i * column.length)
      return long
    })
    const total = many[0].length

    // Other processes may keep this one from the cores for as long: hence the further tries.
    it.each(['rows', 'bins'])('of %s stop when told, and the device works on', { retry: 4 }, async kind => {
      const device = openDevice({ threads: 1 })
      const matrix = await BinnedMatrix.from(device, { columns })
      const options = { numIterations: 300, minDataInLeaf: 1 }
      const { model } = await new GbrtTrainer(matrix, options).fit({ targets: labels })
      const long = await matrix.like({ columns: many })
      const predict = (control: PredictManyOptions) =>
        kind === 'rows' ? model.predict(device, { columns: many }, control) : model.predictBinned(long, control)
      const begun = performance.now()
      const seen: number[] = []
      const all = await predict({ onProgress: ({ done }) => void seen.push(done) })
      const whole = performance.now() - begun
      expect(seen.at(-1)).toBe(total)
      const told = new AbortController()
      const late: number[] = []
      const onProgress = ({ done }: { done: number }) => void (told.signal.aborted && late.push(done))
      const running = predict({ signal: told.signal, onProgress })
      await new Promise(resolve => setTimeout(resolve, whole / 20))
      const then = performance.now()
      told.abort(new Error('enough'))
      await expect(running).rejects.toThrow('enough')
      expect(performance.now() - then).toBeLessThan(whole / 2)
      await expect(predict({ signal: AbortSignal.abort(new Error('before')) })).rejects.toThrow('before')
      expect(await predict({})).toEqual(all)
      expect(late).toEqual([])
    })
  })

  it('large weights and real ones are near to what they should be', async () => {
    const device = openDevice()
    const small = Float32Array.from({ length: 6000 }, (_, r) => 0.25 * ((r % 4) + 1))
    const large = small.map(weight => weight * 40_000)
    const options = { minSumHessianInLeaf: 0, numIterations: 3 }
    const a = await train(device, columns, { targets: labels, weights: small }, options)
    const b = await train(device, columns, { targets: labels, weights: large }, options)
    expectClose(b.scores, a.scores, { absolute: 1e-4 })
    const whole = await train(device, columns, { targets: labels, weights: small.map(w => w * 4) }, options)
    expectClose(whole.scores, a.scores, { absolute: 1e-4 })
  })
})
