import { describe, expect, it } from 'vitest'
import { contributions, Encoder, encodeSource, finetuneEncoded, sliceBatch } from '../../lib/index.js'
import { openDevice } from '../support/devices.js'
import { plantedEvents } from '../support/planted.js'

const config = { width: 16, blocks: 1, heads: 2, attentionSize: 8 }
const { source, encoded, encoding, labels } = await plantedEvents(200)
const device = openDevice()
const init = new Encoder(encoding, config, { device, seed: 5 })
const options = { init, epochs: 10, learningRate: 0.003, seed: 1 }
const model = await finetuneEncoded(encoded, labels.kind, options)
const type = encoded.inputs.findIndex(({ name }) => name === 'type')
const input = encoding.inputs[type]
const values = input.kind === 'categorical' ? input.values : []

/** What an event of an entity is. */
function typeOf(entity: number, event: number): string {
  return values[encoded.inputs[type].codes[encoded.offsets[entity] + event] - 2]!
}

describe('contributions of events', () => {
  it('are the score less the score without the event', async () => {
    const entity = 7
    const { id, score, starts, values } = await contributions(model, encoded, entity, { batchEvents: 40 })
    const events = encoded.offsets[entity + 1] - encoded.offsets[entity]
    expect([id, starts.length, values.length]).toEqual(['user 7', events + 1, 3 * events])
    expect([...score]).toEqual([...(await model.scoreEncoded(encoded, Int32Array.of(entity)))])
    for (const event of [0, 2, events - 1]) {
      const pieces = [
        { sequence: entity, begin: 0, end: event },
        { sequence: entity, begin: event + 1, end: events },
      ]
      const rest = sliceBatch(encoded, pieces)
      const alone = await model.scoreEncoded({ ...rest, ids: ['rest'], offsets: Int32Array.of(0, events - 1) })
      expect([...values.subarray(3 * event, 3 * event + 3)]).toEqual([...score.map((value, k) => value - alone[k])])
    }
  })

  it('point at the events that the label hangs on', async () => {
    const sums = { own: 0, others: 0 }
    const counts = { own: 0, others: 0 }
    for (let entity = 0; entity < 60; entity++) {
      const kind = labels.kind[entity]
      const { values } = await contributions(model, encoded, entity)
      for (let event = 0; event < values.length / 3; event++) {
        const which = typeOf(entity, event) === `kind ${kind}` ? 'own' : 'others'
        sums[which] += values[3 * event + kind]
        counts[which]++
      }
    }
    expect(sums.own / counts.own).toBeGreaterThan(0.05)
    expect(sums.others / counts.others).toBeLessThan(0.2 * (sums.own / counts.own))
  })

  it('are those of windows, where events are many', async () => {
    const entity = 7
    const events = encoded.offsets[entity + 1] - encoded.offsets[entity]
    const { starts, values, score } = await contributions(model, encoded, entity, { window: events })
    expect([...starts]).toEqual([0, events])
    const none = await model.scoreEncoded({ ...sliceBatch(encoded, []), ids: ['none'], offsets: Int32Array.of(0, 0) })
    expect([...values]).toEqual([...score.map((value, k) => value - none[k])])
    const two = await contributions(model, encoded, entity, { window: 4 })
    expect(two.starts.at(-1)).toBe(events)
    expect(two.starts[1]).toBe(4)
  })

  it('explain the score of another present', async () => {
    const asOf = encoding.newest + 1000
    const entity = 7
    const { scores, width } = await model.score(source, { asOf })
    const later = await encodeSource(source, model.encoder.encoding, { asOf })
    const { score } = await contributions(model, later, entity)
    expect([...score]).toEqual([...scores.subarray(entity * width, (entity + 1) * width)])
    expect([...score]).not.toEqual([...(await contributions(model, encoded, entity)).score])
  })

  it('serve any function of vectors', async () => {
    // Its type follows from the call.
    const found = await contributions(
      {
        encoder: init,
        score: ({ vectors, width }) =>
          Array.from(
            vectors.filter((_, i) => i % width === 0),
            value => 2 * value,
          ),
      },
      encoded,
      3,
    )
    const whole = await init.encodeBlock(encoded)
    expect([...found.score]).toEqual([2 * whole.vectors[3 * init.width]])
    expect(found.values.some(value => value !== 0)).toBe(true)
  })

  it('refuse what cannot be, and can be cancelled', async () => {
    await expect(contributions(model, encoded, 200)).rejects.toThrow(/an entity in \[0, 200\) but received 200/)
    await expect(contributions(model, encoded, 0, { window: 0 })).rejects.toThrow(RangeError)
    await expect(contributions(model, encoded, 0, { windows: 2 } as never)).rejects.toThrow(/did you mean 'window'/)
    const signal = AbortSignal.abort(new Error('no more'))
    await expect(contributions(model, encoded, 0, { signal })).rejects.toThrow('no more')
  })
})
