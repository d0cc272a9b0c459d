// Exported encoders: well-formed graphs, and the vectors that onnxruntime computes from them.

import { describe, expect, test } from 'vitest'
import { INSTALL, loadOnnxruntime } from '../../bench/peers/onnxruntime.js'
import { type EncoderConfig, gruConfig, transformerConfig } from '../../lib/encoder/config.js'
import { Encoder } from '../../lib/encoder/encoder.js'
import type { EncodedEvents, InputColumn } from '../../lib/events/encode.js'
import type { EventEncoding, InputSpec } from '../../lib/events/inputs.js'
import { FIRST_VALUE } from '../../lib/events/inputs.js'
import { exportEncoder, exportFinetuned, type OnnxOptions } from '../../lib/export/onnx.js'
import { padInputs } from '../../lib/export/onnx_inputs.js'
import { Device } from '../../lib/runtime/device.js'
import { finetuneEncoded } from '../../lib/transfer/finetune/finetune.js'
import { FineTuned } from '../../lib/transfer/finetune/finetuned.js'
import { Head } from '../../lib/transfer/finetune/head.js'
import { Philox } from '../../lib/util/philox.js'
import { expectClose } from '../support/close.js'
import { field, messages, parseProto, texts } from '../support/proto.js'
import { TestRandom } from '../support/random.js'

const ort = loadOnnxruntime()

const part = 'field'
const SPECS: InputSpec[] = [
  { name: 'type', field: 'type', part, kind: 'categorical', size: 9, values: [], hash: 6 },
  { name: 'amount', field: 'amount', part, kind: 'numeric', size: 6, edges: [0, 1, 2, 5, 9] },
  { name: 'note', field: 'note', part, kind: 'text', size: 12, hash: 10, ngrams: null, aggregate: 'mean' },
  { name: 'memo', field: 'memo', part, kind: 'text', size: 9, hash: 7, ngrams: null, aggregate: 'conv' },
  {
    name: 'amount|type',
    field: 'amount',
    by: 'type',
    part,
    kind: 'cells',
    size: 4,
    groups: [{ value: 'a', starts: [0, 1] }],
  },
]
const LENGTHS = [13, 1, 0, 8, 5, 2, 7]
const SMALL: Partial<EncoderConfig> = { width: 16, blocks: 2, kernel: 3, heads: 2, attentionSize: 4 }

function encodingOf(inputs: readonly InputSpec[] = SPECS): EventEncoding {
  return { version: 1, time: 'number', inputs, newest: 0, lastEvents: 64_000, entities: 1, events: 1 }
}

function events(encoding: EventEncoding, lengths: readonly number[], seed = 1): EncodedEvents {
  const random = new Philox(seed)
  const offsets = Int32Array.from([0, ...lengths])
  for (let i = 0; i < lengths.length; i++) offsets[i + 1] += offsets[i]
  const total = offsets[lengths.length]
  const draw = (count: number, from: number, to: number) =>
    Int32Array.from({ length: count }, () => from + random.below(to - from))
  const inputs = encoding.inputs.map(({ name, field, kind, size }): InputColumn => {
    if (kind === 'categorical' || kind === 'cells') {
      return { name, field, kind: 'categorical', codes: draw(total, 0, size) }
    }
    if (kind === 'numeric') {
      const codes = draw(total, 0, size)
      const fraction = Float32Array.from(codes, code => (code < FIRST_VALUE ? 0 : random.uniform()))
      return { name, field, kind, codes, fraction }
    }
    const words = new Int32Array(total + 1)
    for (let t = 0; t < total; t++) words[t + 1] = words[t] + random.below(4)
    return { name, field, kind, codes: draw(words[total], 1, size), offsets: words }
  })
  return { ids: lengths.map((_, i) => `user ${i}`), offsets, time: new Float64Array(total), inputs }
}

/** Our vectors and onnxruntime's, of the same weights and events. */
async function compare(
  config: Partial<EncoderConfig>,
  options: OnnxOptions = {},
  given: { lengths?: number[]; length?: number } = {},
) {
  const device = new Device({ threads: 1 })
  const encoding = encodingOf()
  const encoder = new Encoder(encoding, { ...SMALL, ...config }, { device, seed: 3 })
  await shake(encoder)
  const batch = events(encoding, given.lengths ?? LENGTHS)
  const want = (await encoder.encodeBlock(batch)).vectors
  const session = await ort!.session(await exportEncoder(encoder, options), 1)
  const inputs = padInputs(encoding, batch, given.length)
  for (const array of Object.values(inputs)) spoilPadding(array.values, array.shape, inputs.lengths.values)
  const { vectors } = await session.run(ort!.feeds(session, inputs))
  await session.release()
  encoder.dispose()
  device.close()
  expect(vectors.dims).toEqual([batch.ids.length, encoder.width])
  // Sums of some dozen products of numbers near 1, in another order.
  expectClose(vectors.data, want, { absolute: 1e-5 })
}

/** Biases and gains start as zeros and ones, which would hide a mistake. */
async function shake(encoder: Encoder) {
  const random = new Philox(11)
  for (const { value } of encoder.parameters) {
    const values = await value.read()
    value.write(values.map(v => v + 0.3 * random.normal()))
  }
}

/** What stands behind a sequence's end must not matter. */
function spoilPadding(values: Int32Array | Float32Array, shape: readonly number[], lengths: ArrayLike<number>) {
  if (shape.length === 1) return
  const [users, length, each = 1] = shape
  for (let i = 0; i < users; i++) values.fill(1, (i * length + lengths[i]) * each, (i + 1) * length * each)
}

describe.skipIf(!ort)(`in onnxruntime-node${ort ? '' : `, which is not installed (${INSTALL})`}`, () => {
  const configs: Record<string, Partial<EncoderConfig>> = {
    'the default layers': {},
    'without a shift': { shift: false },
    'blocks of an odd size': { attentionSize: 5, blocks: 3 },
    'blocks longer than the sequences': { attentionSize: 64 },
    'half a block shorter than the sequences': { attentionSize: 20 },
    'causal, dilated': { causal: true, dilation: 2, kernel: 5 },
    'a pointwise gate': { gate: 'pointwise' },
    'a dense convolution': { convolution: 'dense' },
    'fixed attention': { attention: 'fixed' },
    'full attention': { attention: 'full' },
    'a Transformer': transformerConfig(16),
    'convolution alone': { attention: 'none' },
    'concatenated fields': { merge: 'concat' },
    'last layer alone': { skip: false, sketch: 0 },
    'no sketch': { sketch: 0 },
    extremes: { extremes: true },
    'last layer and sketch': { skip: false },
    maximum: { pooling: 'max' },
    'last event': { pooling: 'last' },
    'no blocks': { blocks: 0 },
    'a GRU': gruConfig(16),
    'a GRU among the other layers': { recurrence: 'gru', attention: 'full' },
  }
  for (const [name, config] of Object.entries(configs)) {
    test.each(['standard', 'onnxruntime'] as const)(`${name}: equals ours (%s operators)`, operators =>
      compare(config, { operators }),
    )
  }

  // Every choice of layers with every other one: 4 convolutions, 4 attentions, 2 merges, 3 poolings, with and without a
  // feed-forward layer and a recurrent one.
  const convolutions = [
    { convolution: 'depthwise', gate: 'depthwise' },
    { convolution: 'depthwise', gate: 'pointwise' },
    { convolution: 'dense' },
    { convolution: 'none' },
  ] as const
  const attentions = ['block', 'fixed', 'full', 'none'] as const
  const layers = convolutions.flatMap(convolution => attentions.map(attention => ({ ...convolution, attention })))
  test.each(layers)('every variant with %o: equals ours', async layer => {
    let compared = 0
    for (const merge of ['add', 'concat'] as const) {
      for (const pooling of ['mean', 'max', 'last'] as const) {
        for (const feedForward of [0, 24]) {
          for (const recurrence of ['none', 'gru'] as const) {
            // Half of the variants by either set of operators, whatever else they have.
            const isStandard = (compared ^ (compared >> 1)) % 2 === 0
            const operators = isStandard ? 'standard' : 'onnxruntime'
            compared++
            await compare({ ...layer, merge, pooling, feedForward, recurrence }, { operators })
          }
        }
      }
    }
    expect(compared).toBe(24)
  })

  test.each(['mean', 'max', 'last'] as const)('fixed sizes, without padding: equals ours (%s)', async pooling => {
    const options = { users: 3, length: 10, padded: false }
    await compare({ pooling }, { ...options, operators: 'onnxruntime' }, { lengths: [10, 10, 10] })
    await compare({ pooling, attentionSize: 5 }, options, { lengths: [10, 10, 10] })
    await compare({ pooling, attention: 'full' }, options, { lengths: [10, 10, 10] })
  })

  test('any sizes, without padding: equals ours', () => compare({}, { padded: false }, { lengths: [10, 10, 10] }))

  test.each([
    ['two classes', [0, 1, 0, 1, 0, 1, 1]],
    ['three classes', [0, 1, 2, 0, 1, 2, 2]],
    ['a number', [10, 11.5, -3, 8, 7, 20, 1]],
  ])('the head of a fine-tuned model: equals ours (%s)', async (_, labels) => {
    const device = new Device({ threads: 1 })
    const encoding = encodingOf()
    const init = { encoding, config: SMALL }
    const options = { init, device, epochs: 3, validation: 0, learningRate: 0.01, headLearningRate: 0.1 }
    const batch = events(encoding, LENGTHS)
    const model = await finetuneEncoded(batch, Float64Array.from(labels), options)
    const want = await model.scoreEncoded(batch)
    const session = await ort!.session(await exportFinetuned(model), 1)
    const { scores, vectors } = await session.run(ort!.feeds(session, padInputs(encoding, batch)))
    await session.release()
    expect([scores.dims, vectors.dims]).toEqual([
      [LENGTHS.length, model.width],
      [LENGTHS.length, model.encoder.width],
    ])
    expectClose(scores.data, want, { absolute: 1e-5, relative: 1e-5 })
    model.dispose()
    device.close()
  })

  test('a head with curves: equals ours', async () => {
    const device = new Device({ threads: 1 })
    const encoding = encodingOf()
    const batch = events(encoding, LENGTHS)
    const encoder = new Encoder(encoding, SMALL, { device, seed: 3 })
    const { width } = encoder
    const random = new TestRandom(4)
    const values = (count: number, size: number) => Float32Array.from(random.normals(count), value => size * value)
    const tensor = (shape: number[], values: Float32Array) => ({ shape, values })
    const goal = { task: 'regression', classes: [], mean: 1, deviation: 2 } as const
    for (const count of [1, 2, 33]) {
      // Knots about where the vectors are; a third of the columns as they come.
      const [knots, slopes, offset] = [values(count * width, 0.5), values((count + 1) * width, 1), values(width, 1)]
      for (let c = 0; c < width; c++) {
        const own = Array.from({ length: count }, (_, k) => knots[k * width + c]).sort((a, b) => a - b)
        const isBent = c % 3 > 0
        for (let k = 0; k < count; k++) knots[k * width + c] = isBent ? own[k] : 0
        for (let k = 0; k <= count && !isBent; k++) slopes[k * width + c] = 1
        if (!isBent) offset[c] = 0
      }
      const stored = new Map([
        ['head.weight', tensor([1, width], values(width, width ** -0.5))],
        ['head.bias', tensor([1], values(1, 1))],
        ['head.scale', tensor([width], values(width, 1))],
        ['head.shift', tensor([width], values(width, 1))],
        ['head.knots', tensor([count, width], knots)],
        ['head.slopes', tensor([count + 1, width], slopes)],
        ['head.offset', tensor([width], offset)],
      ])
      const model = new FineTuned(encoder, new Head(encoder, 1, stored), goal)
      const want = await model.scoreEncoded(batch)
      expect(new Set(want).size).toBeGreaterThan(3)
      const session = await ort!.session(await exportFinetuned(model), 1)
      const { scores } = await session.run(ort!.feeds(session, padInputs(encoding, batch)))
      await session.release()
      expectClose(scores.data, want, { absolute: 1e-5, relative: 1e-5 })
    }
    encoder.dispose()
    device.close()
  })

  test('more padding changes nothing', () => compare({}, {}, { length: 40 }))
})

describe('the file', () => {
  test('every value is computed before it is used, under a name of its own', async () => {
    const device = new Device({ threads: 1 })
    // Two fields with names such as the graph gives to what has none.
    const encoding = encodingOf([...SPECS, ...['Shape_0', 'int64_2'].map(name => ({ ...SPECS[0], name }))])
    const encoder = new Encoder(encoding, SMALL, { device })
    const model = parseProto(await exportEncoder(encoder, { operators: 'onnxruntime' }))
    encoder.dispose()
    device.close()
    const graph = parseProto(field(model, 7))
    const known = new Set<string>()
    const define = (name: string) => {
      expect(known).not.toContain(name)
      known.add(name)
    }
    for (const input of messages(graph, 11)) define(texts(input, 1)[0])
    for (const constant of messages(graph, 5)) define(texts(constant, 8)[0])
    const nodes = messages(graph, 1)
    expect(nodes.length).toBeGreaterThan(50)
    for (const node of nodes) {
      for (const input of texts(node, 1)) if (input !== '') expect(known).toContain(input)
      for (const output of texts(node, 2)) define(output)
    }
    for (const output of messages(graph, 12)) expect(known).toContain(texts(output, 1)[0])
    // Opset 17 of ONNX, 1 of onnxruntime's own.
    expect(messages(model, 8).map(set => [texts(set, 1)[0], set.get(2)])).toEqual([
      ['', [17n]],
      ['com.microsoft', [1n]],
    ])
  })

  test.each(['lengths', 'vectors', 'amount.fraction', 'norm.weight'])('refuses a field of the name %s', async name => {
    const device = new Device({ threads: 1 })
    const encoder = new Encoder(encodingOf([...SPECS, { ...SPECS[0], name }]), SMALL, { device })
    const error = new RangeError(
      `[onnx] expected fields of other names than '${name}', which the model has already, but received '${name}'; rename the field`,
    )
    await expect(exportEncoder(encoder)).rejects.toThrow(error)
    encoder.dispose()
    device.close()
  })

  test('refuses options that cannot be', async () => {
    const device = new Device({ threads: 1 })
    const encoder = new Encoder(encodingOf(), SMALL, { device })
    await expect(exportEncoder(encoder, { length: 0 })).rejects.toThrow('length to be a whole number ≥ 1')
    await expect(exportEncoder(encoder, { operators: 'all' as never })).rejects.toThrow("'standard' or 'onnxruntime'")
    await expect(exportEncoder(encoder, { lenght: 3 } as never)).rejects.toThrow("did you mean 'length'?")
    encoder.dispose()
    device.close()
  })
})

describe('padInputs', () => {
  test('codes, fractions and words stand at the start, fillers behind', () => {
    const encoding = encodingOf(SPECS.slice(0, 3))
    const fraction = Float32Array.of(0.5, 1, 0.25)
    const inputs: InputColumn[] = [
      { name: 'type', field: 'type', kind: 'categorical', codes: Int32Array.of(3, 4, 5) },
      { name: 'amount', field: 'amount', kind: 'numeric', codes: Int32Array.of(2, 3, 4), fraction },
      { name: 'note', field: 'note', kind: 'text', codes: Int32Array.of(7, 8, 9), offsets: Int32Array.of(0, 2, 2, 3) },
    ]
    const padded = padInputs(encoding, { offsets: Int32Array.of(0, 1, 3), inputs })
    expect(padded).toEqual({
      lengths: { type: 'int32', shape: [2], values: Int32Array.of(1, 2) },
      type: { type: 'int32', shape: [2, 2], values: Int32Array.of(3, 0, 4, 5) },
      amount: { type: 'int32', shape: [2, 2], values: Int32Array.of(2, 0, 3, 4) },
      'amount.fraction': { type: 'float32', shape: [2, 2], values: Float32Array.of(0.5, 0, 1, 0.25) },
      note: { type: 'int32', shape: [2, 2, 2], values: Int32Array.of(7, 8, 12, 12, 12, 12, 9, 12) },
    })
  })

  test.each(['lengths', 'amount.fraction'])('refuses a field of the name %s', name => {
    const encoding = encodingOf([SPECS[1], { ...SPECS[0], name }])
    expect(() => padInputs(encoding, events(encoding, [3, 9]))).toThrow(
      `[padInputs] expected fields of other names than '${name}'`,
    )
  })

  test('refuses a length that is too short', () => {
    const encoding = encodingOf(SPECS.slice(0, 1))
    expect(() => padInputs(encoding, events(encoding, [3, 9]), 8)).toThrow('≥ 9, the longest sequence')
  })
})
