import { beforeAll, describe, expect, it } from 'vitest'
import { writeDemo } from '../../lib/demo/write.js'
import { Encoder } from '../../lib/encoder/encoder.js'
import { encodeSource, loadSchema, readEvents, readTable } from '../../lib/events/index.js'
import { aggregate, finetuneEncoded, pretrain, probe } from '../../lib/index.js'
import type { EpochRow } from '../../lib/pretrain/log.js'
import { auc as areaUnderRoc } from '../../lib/report/metrics.js'
import { pickLabel } from '../../lib/transfer/tables.js'
import { openDevice } from '../support/devices.js'
import { temporaryFolder } from '../support/folder.js'

// One run of the defaults over the embedded data: about a minute on two cores.
const MINUTES = 60_000

describe('pre-training on the embedded data, with defaults', () => {
  const device = openDevice({ threads: 2 })
  let last: EpochRow
  /** Share of the most frequent code of each input: what a model of single events can reach. */
  const unigram = new Map<string, number>()
  const auc = { trained: 0, untrained: 0, aggregates: 0 }
  /** Of `order` learnt from few labels: fine-tuned, and from scratch. */
  const few = { labels: 24, tuned: 0, scratch: 0 }

  beforeAll(async () => {
    const files = await writeDemo(temporaryFolder())
    const schema = await loadSchema(files.schema)
    const source = readEvents(files.events, schema)
    const { encoder, log } = await pretrain(source, { device })
    last = log.at(-1)!
    const encoded = await encodeSource(source, encoder.encoding)
    encoder.encoding.inputs.forEach(({ name, size }, i) => {
      const { codes, offsets } = encoded.inputs[i]
      const counts = new Int32Array(size)
      for (const code of codes) counts[code]++
      if (!offsets) unigram.set(name, Math.max(...counts) / codes.length)
    })
    const labels = pickLabel(await readTable(files.labels, { id: schema.entity }), 'order', 'fold')
    const features = await aggregate(source)
    const vectors = await encoder.encode(source)
    const untrained = await new Encoder(encoder.encoding, encoder.config, { device, seed: 1 }).encode(source)
    const { results } = await probe({ vectors, features, labels, label: 'order', device })
    auc.trained = results.vectors.mean
    auc.aggregates = results.features!.mean
    auc.untrained = (await probe({ vectors: untrained, labels, label: 'order', device })).results.vectors.mean
    const targets = Float64Array.from(encoded.ids, id => labels.values[labels.ids.indexOf(id)])
    const known = Int32Array.from(targets.keys()).filter(row => !Number.isNaN(targets[row]))
    const test = known.subarray(few.labels)
    const truth = Array.from(test, row => targets[row])
    for (const row of test) targets[row] = Number.NaN
    for (const [name, init] of Object.entries({
      tuned: encoder,
      scratch: { encoding: encoder.encoding, config: encoder.config },
    })) {
      const model = await finetuneEncoded(encoded, targets, { init, device, seed: 1 })
      few[name as 'tuned'] = areaUnderRoc(await model.scoreEncoded(encoded, test), truth)
      model.dispose()
    }
    await source.close()
  }, 8 * MINUTES)

  // Of users whom training never saw: about 700 masked events, so 0.054 is three standard errors of an accuracy.
  it.each([
    ['event', 0.25],
    ['channel', 0.054],
    ['category', 0.054],
  ])('fills in a masked %s better than a unigram model, by %d', (name, margin) => {
    expect(last.heldOutTerms[`masked.${name}`].accuracy).toBeGreaterThan(unigram.get(name)! + margin)
  })

  it('finds the other half of a user among about eighty', () => {
    expect(last.heldOutTerms.quick.accuracy).toBeGreaterThan(0.3)
  })

  it('tells the order of events that no aggregate and no untrained encoder can tell', () => {
    expect(auc.trained).toBeGreaterThan(0.9)
    // 1 400 users: the standard error of an AUC of 0.5 is 0.015.
    expect(auc.aggregates).toBeLessThan(0.57)
    expect(auc.untrained).toBeLessThan(0.57)
  })

  it('learns that order from two dozen labels, far better than the same encoder from scratch', () => {
    expect(few.tuned).toBeGreaterThan(0.9)
    expect(few.tuned).toBeGreaterThan(few.scratch + 0.1)
  })
})
