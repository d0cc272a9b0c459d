// An option that is undefined is as good as one that is missing: callers pass theirs on without looking at each.

import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { encoderConfig } from '../../lib/encoder/config.js'
import {
  type ActiveOptions,
  AdamW,
  aggregate,
  BinnedMatrix,
  bandsOf,
  Device,
  defineSchema,
  Encoder,
  exportEncoder,
  fitEncoding,
  GbrtTrainer,
  IsolationForest,
  isolationPu,
  kmeans,
  labellingPlan,
  mapVectors,
  nearest,
  onePu,
  Parameter,
  probe,
  RandomForestTrainer,
  runActive,
  supervisedPu,
  Tensor,
  twoStepPu,
  volumeAtEqualPrecision,
} from '../../lib/index.js'
import { checkOptions, resolveOptions } from '../../lib/pretrain/options.js'
import * as finetuning from '../../lib/transfer/finetune/options.js'
import { openDevice } from '../support/devices.js'
import { knownOf, plantedTable } from '../support/pu_table.js'
import { smallSource } from '../support/small_source.js'

// Which options a function knows, it says itself when it looks for others.
const known = vi.hoisted(() => new Map<string, readonly string[]>())
vi.mock('../../lib/util/errors.js', async original => {
  const errors = await original<typeof import('../../lib/util/errors.js')>()
  const expectOptions: typeof errors.expectOptions = (where, options, names) => {
    // Its own options come first, then those of what it was given.
    if (!known.has(where)) known.set(where, names)
    errors.expectOptions(where, options, names)
  }
  return { ...errors, expectOptions }
})

const device = openDevice({ threads: 1 })
const source = smallSource(40)
const planted = plantedTable(400)
const { columns } = planted
const labels = [...planted.truth]
const targets = Float32Array.from(labels)
const positives = knownOf(planted, 12)
const table = {
  ids: Array.from({ length: 60 }, (_, row) => `row ${row}`),
  width: 4,
  vectors: Float32Array.from({ length: 240 }, (_, i) => Math.sin(i)),
}
const values = Float64Array.from(table.ids, (_, row) => row % 2)
const few = { gbrt: { numIterations: 3 } }
const small = { width: 16, blocks: 1, heads: 2 }
let matrix: BinnedMatrix
let encoder: Encoder
beforeAll(async () => {
  matrix = await BinnedMatrix.from(device, { columns })
  encoder = new Encoder(await fitEncoding(source), small, { device })
})
afterAll(() => {
  matrix.dispose()
  encoder.dispose()
})

/** By what each calls itself in errors. What a case needs itself comes after the blank options. */
const cases: Record<string, (blank: object) => unknown> = {
  Device: blank => {
    const own = new Device(blank)
    own.close()
    return { kind: own.kind, variant: own.variant, threads: own.threads, activations: own.activations }
  },
  AdamW: async blank => {
    const value = Tensor.from(device, Float32Array.of(1, 2), [2, 1])
    const gradient = Tensor.from(device, Float32Array.of(3, 4), [2, 1])
    const optimizer = new AdamW([new Parameter('p', value, { gradient })], blank)
    optimizer.step(0.1)
    return [...(await value.read())]
  },
  BinnedMatrix: async blank => (await BinnedMatrix.from(device, { columns }, blank)).columns,
  GbrtTrainer: blank => new GbrtTrainer(matrix, blank).options,
  RandomForest: blank => new RandomForestTrainer(matrix, blank).options,
  IsolationForest: async blank => (await IsolationForest.fit(device, { columns }, blank)).score({ columns }),
  kmeans: async blank => kmeans(device, { values: table.vectors, features: 4 }, { ...blank, clusters: 3 }),
  twoStepPu: async blank => (await twoStepPu({ matrix, positives, data: { columns } }, { ...blank, ...few })).scores,
  onePu: async blank => (await onePu({ matrix, positives }, { ...blank, ...few })).scores,
  supervisedPu: async blank => (await supervisedPu({ matrix, positives }, { ...blank, ...few })).scores,
  isolationPu: async blank => (await isolationPu({ matrix, positives, data: { columns } }, blank)).scores,
  runActive: async blank => {
    const options: ActiveOptions = { ...blank, rounds: 1, batch: 5, twoStep: { start: undefined, gbrt: undefined } }
    return (await runActive({ matrix, positives }, rows => Array.from(rows, () => 0), options)).scores
  },
  encoder: blank => new Encoder(encoder.encoding, { ...small, kernel: undefined }, { ...blank, device }).config,
  exportEncoder: blank => exportEncoder(encoder, blank),
  encode: blank => encoder.encode(source, blank),
  fitEncoding: blank => fitEncoding(source, blank),
  aggregate: blank => aggregate(source, blank),
  pretrain: blank => {
    checkOptions(blank)
    return resolveOptions(blank, 1000)
  },
  finetune: blank => {
    const options = { ...blank, init: encoder }
    finetuning.checkOptions(options)
    return finetuning.resolveOptions(options, 100, true)
  },
  nearest: blank => nearest(table, table.vectors.subarray(0, 8), { ...blank, device }),
  mapVectors: blank => mapVectors(table, { ...blank, device }),
  probe: blank =>
    probe({
      ...blank,
      vectors: { ids: table.ids, columns: { x: values.map(Math.exp) } },
      labels: { ids: table.ids, values },
    }),
  bands: blank => bandsOf(labels, labels, blank),
  volume: blank => volumeAtEqualPrecision(labels, labels, labels, blank),
  plan: blank => labellingPlan(1000, { ...blank, budget: 20 }),
}

describe('options that are undefined are missing', () => {
  it.each(Object.keys(cases))('to %s', async where => {
    const want = await cases[where]({})
    const blank = Object.fromEntries(known.get(where)!.map(option => [option, undefined]))
    expect(await cases[where](blank)).toEqual(want)
  })

  it('to a fit, to the trees of a PU learner, to the sizes of a new encoder, and to a field of a schema', async () => {
    const trainer = new GbrtTrainer(matrix, few.gbrt)
    const blank = { weights: undefined, mask: undefined, validation: undefined, scores: undefined, from: undefined }
    const [bare, full] = [await trainer.fit({ targets }), await trainer.fit({ ...blank, targets, custom: undefined })]
    expect(full.model.trees).toEqual(bare.model.trees)
    const problem = { matrix, positives }
    const blankTrees = { ...few.gbrt, numLeaves: undefined, learningRate: undefined, seed: undefined }
    const scores = (await twoStepPu({ ...problem, mask: undefined }, { gbrt: blankTrees })).scores
    expect(scores).toEqual((await twoStepPu(problem, few)).scores)
    const config = { ...small, kernel: undefined, sketch: undefined }
    expect(encoderConfig(config)).toEqual(encoderConfig(small))
    const field = { kind: 'categorical', hash: undefined, minCount: undefined } as const
    expect(defineSchema({ entity: 'u', time: 't', fields: { field } }).fields.field.kind).toBe('categorical')
  })
})
