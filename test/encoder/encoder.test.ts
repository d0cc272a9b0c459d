import { copyFile, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { toDevice } from '../../lib/encoder/batch.js'
import { type EncoderConfig, gruConfig, transformerConfig } from '../../lib/encoder/config.js'
import { Encoder } from '../../lib/encoder/encoder.js'
import { loadEncoder, saveEncoder } from '../../lib/encoder/model_files.js'
import { sliceBatch } from '../../lib/events/batch.js'
import { encodeSource } from '../../lib/events/encode_source.js'
import { fitEncoding } from '../../lib/events/encoding.js'
import { fromRows } from '../../lib/events/rows.js'
import { readSafetensors, writeSafetensors } from '../../lib/export/safetensors.js'
import { AdamW } from '../../lib/runtime/optimizer.js'
import { expectSameBits } from '../support/close.js'
import { openDevice } from '../support/devices.js'
import { temporaryFolder } from '../support/folder.js'
import { queueLongWork } from '../support/long_work.js'
import { smallSource } from '../support/small_source.js'
import { unhandledRejections } from '../support/unhandled.js'

const source = smallSource()
const encoding = await fitEncoding(source)

const kinds: [string, Partial<EncoderConfig>][] = [
  ['block', {}],
  ['fixed', { attention: 'fixed', attentionSize: 8 }],
  ['full', { attention: 'full' }],
  ['transformer', transformerConfig(16)],
  ['gru', { ...gruConfig(16), pooling: 'last' }],
  ['gru among others', { recurrence: 'gru' }],
  ['dense', { convolution: 'dense' }],
  ['pointwise', { gate: 'pointwise' }],
  ['concat', { merge: 'concat', pooling: 'max', attention: 'none' }],
  ['last', { pooling: 'last' }],
  ['last layer alone', { skip: false, sketch: 0 }],
  ['no sketch', { sketch: 0 }],
  ['extremes', { extremes: true }],
]

function small(config: Partial<EncoderConfig>): Partial<EncoderConfig> {
  return { width: 16, blocks: 2, heads: 2, attentionSize: 8, ...config }
}

describe('Encoder', () => {
  it.each(kinds)('%s: a vector depends on its own entity alone, bit for bit', async (_, config) => {
    const encoder = new Encoder(encoding, small(config), { device: openDevice(), seed: 3 })
    const all = await encoder.encode(source, { batchEvents: 64 })
    const alone = await encoder.encode(source, { batchEvents: 1 })
    expect(all.ids.length).toBeGreaterThan(20)
    expect(all.vectors.every(Number.isFinite)).toBe(true)
    expectSameBits(all.vectors, alone.vectors)
    const threads = new Encoder(encoding, small(config), { device: openDevice({ threads: 1 }), seed: 3 })
    expectSameBits((await threads.encode(source)).vectors, all.vectors)
    encoder.dispose()
    threads.dispose()
  })

  it('encodes with the weights of now, whatever it prepared before', async () => {
    const encoder = new Encoder(encoding, small({}), { device: openDevice(), seed: 3 })
    const before = await encoder.encode(source)
    for (const { gradient } of encoder.parameters) gradient.fill(1)
    new AdamW(encoder.parameters).step(0.01)
    const after = await encoder.encode(source)
    expect(after.vectors).not.toEqual(before.vectors)
    const weights = new Map<string, { shape: readonly number[]; values: Float32Array }>()
    for (const { name, value } of encoder.parameters)
      weights.set(name, { shape: value.shape, values: await value.read() })
    for (const [name, table] of await encoder.readSketch()) weights.set(name, table)
    const fresh = new Encoder(encoding, small({}), { device: openDevice(), weights })
    const keep = (vectors: Float32Array) => vectors.filter((_, i) => i % encoder.width < 2 * encoder.config.width)
    expectSameBits(keep(after.vectors), keep((await fresh.encode(source)).vectors))
  })

  it.each(['mean', 'max', 'last'] as const)(
    'has the %s of the last layer, and behind it two means of its events alone',
    async pooling => {
      const [D, S] = [16, 24]
      const config = small({ pooling, sketch: S })
      const whole = new Encoder(encoding, config, { device: openDevice(), seed: 3 })
      const last = new Encoder(encoding, { ...config, skip: false, sketch: 0 }, { device: openDevice(), seed: 3 })
      const width = 2 * D + S
      expect([whole.width, last.width]).toEqual([width, D])
      const encoded = await encodeSource(source, encoding)
      const { vectors } = await whole.encodeBlock(encoded)
      const context = await last.encodeBlock(encoded)
      const { offsets } = encoded
      const pieces = encoded.ids.flatMap((_, sequence) => {
        const length = offsets[sequence + 1] - offsets[sequence]
        return Array.from({ length }, (_, t) => ({ sequence, begin: t, end: t + 1 }))
      })
      const alone = await whole.encodeBlock({ ...sliceBatch(encoded, pieces), ids: pieces.map((_, t) => `${t}`) })
      for (let i = 0; i + 1 < offsets.length; i++) {
        const own = vectors.subarray(width * i, width * (i + 1))
        expectSameBits(own.subarray(0, D), context.vectors.subarray(D * i, D * (i + 1)))
        for (let column = D; column < width; column++) {
          let sum = 0
          for (let t = offsets[i]; t < offsets[i + 1]; t++) sum += alone.vectors[width * t + column]
          // Float32 sums of some tens of terms near one.
          expect(own[column]).toBeCloseTo(sum / (offsets[i + 1] - offsets[i]), 5)
        }
      }
      whole.dispose()
      last.dispose()
    },
  )

  it('gives other vectors for another seed', async () => {
    const device = openDevice()
    const [a, b] = [1, 2].map(seed => new Encoder(encoding, small({}), { device, seed }))
    expect((await a.encode(source)).vectors).not.toEqual((await b.encode(source)).vectors)
  })

  it('counts ages back from asOf; without it from the newest event of training', async () => {
    const encoder = new Encoder(encoding, small({}), { device: openDevice(), seed: 3 })
    const { vectors } = await encoder.encode(source)
    expectSameBits((await encoder.encode(source, { asOf: encoding.newest })).vectors, vectors)
    const later = await encoder.encode(source, { asOf: new Date(encoding.newest + 1e10) })
    expect(later.vectors).not.toEqual(vectors)
    await expect(encoder.encode(source, { asOf: Number.NaN })).rejects.toThrow(/\[encode\] expected asOf to be a time/)
    encoder.dispose()
  })

  describe('asOf in units of its own', () => {
    const fields = { type: { kind: 'categorical' } } as const
    const encodeFrom = async (times: (number | Date)[], asOf: number | Date) => {
      const rows = times.map(at => ({ user: 'u', at, type: 'a' }))
      const own = fromRows({ entity: 'user', time: 'at', fields }, rows)
      const encoder = new Encoder(await fitEncoding(own), small({}), { device: openDevice() })
      return encoder.encode(own, { asOf }).finally(() => encoder.dispose())
    }
    it.each([
      ['seconds', 1_719_792_000],
      ['a date of seconds', new Date(1_719_792_000)],
      ['a day in digits', 20_240_701],
      ['a second in digits', 20_240_701_120_000],
      ['microseconds', 1_719_792_000_000_000],
    ])('is refused: %s', async (_, asOf) => {
      const times = [new Date('2024-01-01'), new Date('2024-06-30')]
      await expect(encodeFrom(times, asOf)).rejects.toThrow(
        /^\[encode\] expected asOf in milliseconds since 1970, as 1719705600000 is, but received \d+; did you give seconds\?/,
      )
      expect((await encodeFrom(times, new Date('2014-07-01'))).ids).toEqual(['u'])
    })

    it('is refused: a date where times are plain numbers', async () => {
      await expect(encodeFrom([5, 6, 7], new Date('2024-07-01'))).rejects.toThrow(
        "[encode] expected asOf as a number, as the times of the events are, but received '2024-07-01T00:00:00.000Z'; " +
          'say the present in their unit',
      )
    })

    it('is taken where times are plain numbers, or of another era', async () => {
      expect((await encodeFrom([1, 2], 20_240_701)).ids).toEqual(['u'])
      expect((await encodeFrom([new Date('1920-01-01'), new Date('1965-06-30')], 20_240_701)).ids).toEqual(['u'])
    })
  })

  it('refuses sizes that cannot be, and names the right spelling', () => {
    expect(() => new Encoder(encoding, { widht: 8 } as never)).toThrow(/did you mean 'width'/)
    expect(() => new Encoder(encoding, { kernel: 4 })).toThrow(/kernel to be odd/)
    expect(() => new Encoder(encoding, { sketch: -1 })).toThrow(/sketch to be a whole number in \[0, 65536\]/)
    expect(() => new Encoder(encoding, { width: 10, heads: 4 })).toThrow(/heads to divide/)
    expect(() => new Encoder(encoding, { attention: 'blocks' as never })).toThrow(RangeError)
    expect(() => new Encoder(encoding, { recurrence: 'lstm' as never })).toThrow(/one of none, gru/)
  })

  it('says that it was disposed, whatever is asked of it', async () => {
    const device = openDevice()
    const encoder = new Encoder(encoding, small({}), { device })
    const encoded = await encodeSource(source, encoding)
    encoder.dispose()
    const disposed = {
      code: 'CLOSED',
      message: expect.stringMatching(/^\[encoder\] expected an encoder in use but received a disposed one; .* again$/),
    }
    const unread = { schema: source.schema, summary: () => Promise.reject(new Error('read')) } as never
    await expect(encoder.encode(unread)).rejects.toMatchObject(disposed)
    await expect(encoder.encodeBlock(encoded)).rejects.toMatchObject(disposed)
    await expect(saveEncoder(temporaryFolder(), encoder, source.schema)).rejects.toMatchObject(disposed)
    const batch = toDevice(device, encoded)
    expect(() => encoder.forward(batch)).toThrow(expect.objectContaining(disposed))
    expect(() => encoder.vectors(batch)).toThrow(expect.objectContaining(disposed))
    encoder.dispose()
  })

  it('stops when asked to', async () => {
    const encoder = new Encoder(encoding, small({}), { device: openDevice() })
    const controller = new AbortController()
    controller.abort(new Error('enough'))
    await expect(encoder.encode(source, { signal: controller.signal })).rejects.toThrow('enough')
  })

  // Other processes may keep this one from the cores for as long: hence the further tries.
  it('stops at once, and leaves the other calls on its device alone', { retry: 4 }, async () => {
    const device = openDevice({ guard: false })
    const encoded = await encodeSource(source, encoding)
    const alone = new Encoder(encoding, small({}), { device, seed: 3 })
    const { vectors } = await alone.encodeBlock(encoded)
    queueLongWork(device, 10)
    // Their weights and sketches are still to be filled in when the first call is aborted.
    const [first, second] = [3, 3].map(seed => new Encoder(encoding, small({}), { device, seed }))
    const controller = new AbortController()
    const aborted = expect(first.encodeBlock(encoded, { signal: controller.signal })).rejects.toThrow('enough')
    const other = second.encodeBlock(encoded)
    await new Promise(resolve => setImmediate(resolve))
    const begun = performance.now()
    controller.abort(new Error('enough'))
    await aborted
    expect(performance.now() - begun).toBeLessThan(100)
    expectSameBits((await other).vectors, vectors)
    expectSameBits((await first.encodeBlock(encoded)).vectors, vectors)
  })

  it('leaves no batch unwatched that fails while others are prepared', async () => {
    const device = openDevice({ guard: false })
    const encoder = new Encoder(encoding, small({}), { device })
    const encoded = await encodeSource(source, encoding)
    const vectors = encoder.vectors.bind(encoder)
    let batches = 0
    encoder.vectors = batch => {
      batches++
      if (batches === 1) queueLongWork(device, 10)
      if (batches === 2) setImmediate(() => device.cancel())
      // The loop rests behind a batch that was slow to prepare: behind the third the first two have failed.
      const slow = batches === 3 ? 100 : 6
      for (const begun = performance.now(); performance.now() - begun < slow; );
      return vectors(batch)
    }
    const unhandled = await unhandledRejections(() =>
      expect(encoder.encodeBlock(encoded, { batchEvents: 64 })).rejects.toMatchObject({ code: 'ABORTED' }),
    )
    expect(batches).toBeGreaterThan(2)
    expect(unhandled).toEqual([])
  })
})

describe('model files', () => {
  it('load what was saved, to the same bits', async () => {
    const folder = temporaryFolder()
    const device = openDevice()
    const encoder = new Encoder(encoding, small({}), { device, seed: 5 })
    await saveEncoder(folder, encoder, source.schema)
    const { encoder: loaded, schema } = await loadEncoder(folder, { device })
    expect(schema).toEqual(source.schema)
    expect(loaded.config).toEqual(encoder.config)
    expectSameBits((await loaded.encode(source)).vectors, (await encoder.encode(source)).vectors)
  })

  it('refuses damaged models with one clear error', async () => {
    const folder = temporaryFolder()
    const device = openDevice()
    await saveEncoder(folder, new Encoder(encoding, small({}), { device }), source.schema)
    const path = join(folder, 'config.json')
    const good = await readFile(path, 'utf8')
    const config = JSON.parse(good)
    const broken: [string, string][] = [
      ['no JSON', good.slice(0, 50)],
      ['another format', JSON.stringify({ ...config, format: 'other' })],
      ['a newer version', JSON.stringify({ ...config, version: 99 })],
      ['sizes unlike the weights', JSON.stringify({ ...config, encoder: { ...config.encoder, width: 32 } })],
      ['an unknown size', JSON.stringify({ ...config, encoder: { ...config.encoder, extra: 1 } })],
      [
        'inputs without sizes',
        JSON.stringify({ ...config, encoding: { ...config.encoding, inputs: [{ name: 'a' }] } }),
      ],
      ['a schema without entity', JSON.stringify({ ...config, schema: { fields: {} } })],
      ['null', 'null'],
    ]
    for (const [what, text] of broken) {
      await writeFile(path, text)
      await expect(loadEncoder(folder, { device }), what).rejects.toMatchObject({ code: 'MODEL_INVALID' })
    }
    const refusals: [string, string, RegExp][] = [
      [join(folder, 'none'), 'FILE_NOT_FOUND', /an existing folder but received '.*none'; check the path/],
      [temporaryFolder(), 'FILE_NOT_FOUND', /a readable config\.json .* give a folder that pretrain or finetune wrote/],
      [path, 'FILE_NOT_FOUND', /a readable config\.json/],
    ]
    for (const [given, code, message] of refusals) {
      await expect(loadEncoder(given)).rejects.toMatchObject({ code, message: expect.stringMatching(message) })
    }
  })

  it('refuses weights of another model, as a kill between two files would leave them', async () => {
    const [older, newer] = [temporaryFolder(), temporaryFolder()]
    const device = openDevice()
    for (const [seed, folder] of [older, newer].entries()) {
      await saveEncoder(folder, new Encoder(encoding, small({}), { device, seed }), source.schema)
    }
    await copyFile(join(newer, 'weights.safetensors'), join(older, 'weights.safetensors'))
    await expect(loadEncoder(older, { device })).rejects.toMatchObject({
      code: 'MODEL_INVALID',
      message: expect.stringMatching(
        /^\[model\] expected the weights that belong to config.json but received others; /,
      ),
    })
    // Models of before do not say what belongs to them.
    const path = join(newer, 'config.json')
    const { weights, ...config } = JSON.parse(await readFile(path, 'utf8'))
    expect(weights).toMatch(/^[0-9a-f]{64}$/)
    await writeFile(path, JSON.stringify(config))
    const { encoder } = await loadEncoder(newer, { device })
    // The order of tensors says nothing.
    const stored = await readSafetensors(join(newer, 'weights.safetensors'))
    await writeSafetensors(join(newer, 'weights.safetensors'), {
      ...stored,
      tensors: new Map([...stored.tensors].reverse()),
    })
    await writeFile(path, JSON.stringify({ ...config, weights }))
    const { encoder: reordered } = await loadEncoder(newer, { device })
    expectSameBits((await reordered.encode(source)).vectors, (await encoder.encode(source)).vectors)
  })

  it('refuses damaged weights, and names the tensor', async () => {
    const folder = temporaryFolder()
    const device = openDevice()
    await saveEncoder(folder, new Encoder(encoding, small({}), { device }), source.schema)
    const path = join(folder, 'weights.safetensors')
    const whole = await readFile(path)
    const { tensors, metadata } = await readSafetensors(path)
    const bytesBefore = device.info().liveBytes
    const refused = (message: RegExp) =>
      expect(loadEncoder(folder, { device })).rejects.toMatchObject({
        code: 'MODEL_INVALID',
        message: expect.stringMatching(message),
      })
    for (const value of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]) {
      for (const [name, { shape, values }] of tensors) {
        const damaged = values.slice()
        damaged[damaged.length - 1] = value
        await writeSafetensors(path, { tensors: new Map([...tensors, [name, { shape, values: damaged }]]), metadata })
        const place = values.length - 1
        await refused(
          new RegExp(`finite weights in '${name.replace(/[.|]/g, '.')}' but received ${value} at place ${place};`),
        )
      }
    }
    for (const length of [0, 7, 100, whole.length >> 1, whole.length - 1]) {
      await writeFile(path, whole.subarray(0, length))
      await refused(/weights\.safetensors; the file is damaged/)
    }
    const fewer = new Map([...tensors].slice(1))
    await writeSafetensors(path, { tensors: fewer, metadata })
    await refused(new RegExp(`weights '${[...tensors.keys()][0]}' .* but received no such tensor`))
    // What was made before the fault is freed; the collector may free more.
    expect(device.info().liveBytes).toBeLessThanOrEqual(bytesBefore)
  })
})
