// Events in memory to a score: an encoder trained for two steps, vectors, boosted trees on them. Nothing but the package.

import { BinnedMatrix, Device, defineSchema, fromRows, GbrtTrainer, pretrain } from 'seqrisk'

const schema = defineSchema({
  entity: 'user',
  time: 'time',
  fields: { event: { kind: 'categorical' }, amount: { kind: 'numeric' } },
})

// 200 users of 5 … 24 events; every fifth pays ever larger amounts.
const DAY = 86_400_000
const rows = []
const isRisky = user => user % 5 === 0
for (let user = 0; user < 200; user++) {
  const events = 5 + (user % 20)
  for (let i = 0; i < events; i++) {
    const amount = isRisky(user) ? 10 * (i + 1) : 10 * (1 + ((i * 7 + user) % 5))
    const event = (i + user) % 3 === 0 ? 'login' : 'payment'
    rows.push({ user: `u${user}`, time: i * DAY + user * 1000, event, amount: event === 'login' ? null : amount })
  }
}

const device = new Device({ kind: 'cpu', threads: 2 })
const source = fromRows(schema, rows)
const { encoder, log } = await pretrain(source, {
  ...{ width: 16, blocks: 1, heads: 2 },
  ...{ epochs: 1, batchEvents: 1600, device },
})
console.log(`trained ${log[0].steps} steps, loss ${log[0].loss.toFixed(3)}`)

const { ids, width, vectors } = await encoder.encode(source)
const targets = Float64Array.from(ids, id => Number(isRisky(Number(id.slice(1)))))
const matrix = await BinnedMatrix.from(device, { values: vectors, features: width })
const trainer = new GbrtTrainer(matrix, { numIterations: 40, numLeaves: 7 })
const { model } = await trainer.fit({ targets })
const scores = await model.predict(device, { values: vectors, features: width })

const mean = label => {
  const own = [...scores].filter((_, i) => targets[i] === label)
  return own.reduce((sum, score) => sum + score, 0) / own.length
}
console.log(
  `${ids.length} users, ${width} numbers each; mean score ${mean(1).toFixed(2)} of risky ones, ${mean(0).toFixed(2)} of others`,
)
encoder.dispose()
device.close()
