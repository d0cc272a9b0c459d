// A small source of events for tests of the encoder and of training: two kinds of users, uneven lengths, all field kinds.

import { fromRows } from '../../lib/events/rows.js'
import { defineSchema } from '../../lib/events/schema.js'
import { TestRandom } from './random.js'

const schema = defineSchema({
  entity: 'user',
  time: 'time',
  fields: {
    type: { kind: 'categorical' },
    amount: { kind: 'numeric', buckets: 8 },
    note: { kind: 'text', hash: 64 },
    words: { kind: 'text', hash: 64, aggregate: 'conv' },
  },
})

/** 80 users with 1 … 40 events; what happens follows from what happened before. */
export function smallSource(users = 80) {
  const random = new TestRandom(11)
  const rows = []
  for (let user = 0; user < users; user++) {
    const length = random.integer(1, 40)
    const offset = random.integer(0, 5)
    for (let t = 0; t < length; t++) {
      const kind = (t + offset) % 6
      const isOdd = user % 2 === 1
      rows.push({
        user: `user ${user}`,
        time: 1_600_000_000_000 + t * 3_600_000 * random.integer(1, 30),
        type: random.next() < 0.1 ? null : `type ${kind}`,
        amount: random.next() < 0.1 ? Number.NaN : kind * 10 + random.normal() + (isOdd ? 5 : 0),
        note: random.next() < 0.2 ? '' : `note ${kind} of ${isOdd ? 'odd' : 'even'}`,
        words: `${isOdd ? 'red' : 'blue'} ${kind}`,
      })
    }
  }
  return fromRows(schema, rows)
}
